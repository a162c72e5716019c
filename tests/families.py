"""Small systems that several tests share."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from qernel.ansatz import Qernel, qernel
from qernel.hamiltonian import Family
from qernel.lattice import PeriodicDistance
from qernel.orbitals import AbstractOrbitals, ExpandedOrbitals, PlaneWaves, SpinBlocks
from qernel.systems.moire import Material, moire_family

MATERIAL = Material()


@eqx.filter_jit
def compiled_call(function, *arguments):
    """`function(*arguments)` as one program: outside of one, each operation is compiled by itself."""
    return function(*arguments)


def small_family(electrons=(3, 0), depths=(0.0, 10.0, 30.0)) -> Family:
    return moire_family(MATERIAL, 3, electrons, np.array(depths))


def plane_waves(family: Family, count: int | None = None) -> AbstractOrbitals:
    """The lowest plane waves for the electrons of each spin; of one spin, `count` of them."""
    waves = PlaneWaves(family.hamiltonian.cell, 1.0)
    lowest = lambda n: ExpandedOrbitals(waves, np.eye(waves.size)[:, :n])
    up, down = family.hamiltonian.electrons
    if count is not None or not up or not down:
        return lowest(count or up + down)
    return SpinBlocks(lowest(up), lowest(down))


def small_qernel(family: Family, *, complex=False, dtype=jnp.float64, seed=0, **options) -> Qernel:
    cell = family.hamiltonian.cell
    waves = PlaneWaves(cell, 0.42).vectors
    settings = dict(width=8, layers=1, query_heads=2, key_value_heads=1, experts=2, determinants=2, condition_size=4)
    return qernel(
        family.parameters,
        family.hamiltonian.electrons,
        waves,
        (plane_waves(family),),
        key=jax.random.key(seed),
        cusp_strength=family.hamiltonian.cusp,
        squared_distance=PeriodicDistance(cell),
        pair=waves,
        complex=complex,
        dressing_scale=0.5,
        dtype=dtype,
        **{**settings, **options},
    )


def random_positions(family: Family, walkers: int, seed: int = 1, dtype=jnp.float64):
    shape = (family.size, walkers, family.hamiltonian.n_electrons, 2)
    fractional = jax.random.uniform(jax.random.key(seed), shape, dtype)
    return fractional @ jnp.asarray(family.hamiltonian.cell.matrix, dtype)
