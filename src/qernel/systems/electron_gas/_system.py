"""The homogeneous electron gas: liquid and Wigner crystal."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.hamiltonian import Family
from qernel.lattice import Lattice, PeriodicDistance
from qernel.orbitals import AbstractOrbitals, ExpandedOrbitals, LowestPlaneWaves, SiteOrbitals, of_both_spins
from qernel.sampling import initial_positions
from qernel.systems import OrderParameter, Phase, System
from qernel.units import Units

from ._crystal import WignerCrystal, crystal_width, wigner_crystal
from ._family import GAS_CELLS, gas_cell, gas_twist, gas_values
from ._filling import PlaneWaveFilling, plane_wave_filling
from ._known_values import gas_known_values
from ._observables import BraggPeak, FiniteSizeCorrections


def gas_system(family: Family) -> System:
    r"""The electron gas, a family of [`gas_family`][qernel.systems.electron_gas.gas_family].

    The phase `liquid` has a determinant of plane waves of each spin, `crystal`, where one fits the cell, Gaussians on
    the sites of a Wigner crystal, told from the liquid by the structure factor at its shortest reciprocal vectors.
    Energies in Hartree, lengths in $r_s$. Beside the standard observables corrections for the finite cell, and the
    published energy of the infinite gas.

    **Source:** G. F. Giuliani and G. Vignale, Quantum Theory of the Electron Liquid (2005).
    """
    hamiltonian = family.hamiltonian
    cell, electrons, dim = hamiltonian.cell, hamiltonian.electrons, hamiltonian.dim
    assert cell is not None
    cells = {name: gas_cell(name, sum(electrons)) for name in GAS_CELLS}
    name = next(n for n, c in cells.items() if c.dim == dim and np.allclose(c.matrix, cell.matrix))
    values = gas_values(family)
    twists = tuple(dict.fromkeys(tuple(row) for row in values[:, 1:].tolist()))
    fillings = tuple(plane_wave_filling(cell, electrons, twist) for twist in twists)
    crystal = wigner_crystal(cell, electrons)
    phases = [
        Phase(
            "liquid",
            functools.partial(_plane_waves, fillings),
            about=_words(fillings),
            complex=not all(filling.real for filling in fillings),
        )
    ]
    orders = ()
    if crystal is not None:
        about = "Gaussians on the sites of a Wigner crystal"
        phases.append(Phase("crystal", functools.partial(_gaussians, cell, electrons, crystal), about=about))
        orders = (OrderParameter(_bragg_peak(crystal), "bragg_peak", "liquid", "crystal", smallest=0.3),)
    facts = [("Cell", f"{name}, of {sum(electrons)} electrons"), ("Filled plane waves", _words(fillings))]
    if len(twists) == 1 and any(twists[0]):
        facts.append(("Twist", f"{list(twists[0])} turns"))
    if crystal is not None:
        facts.append(("Wigner crystal", f"Madelung energy {crystal.madelung:.6f}/r_s Ha per electron"))
    return System(
        "electron_gas",
        family,
        Units("Ha", 1.0, "r_s", 1.0),
        phases=tuple(phases),
        order_parameters=orders,
        observables=(FiniteSizeCorrections(),),
        known=functools.partial(gas_known_values, name),
        walkers=functools.partial(_walkers, crystal),
        span=_corners(family),
        words=(
            f"{electrons[0]} electrons with spin up and {electrons[1]} with spin down on a neutralising background in "
            f"{'the plane' if dim == 2 else 'space'}, in a periodic {name} cell. Lengths are in units of r_s, the "
            f"radius of the {'circle' if dim == 2 else 'sphere'} that one electron has for itself in Bohr radii. The "
            "repulsion is an Ewald sum, each electron's own images (the Madelung constant) included."
        ),
        facts=tuple(facts),
    )


def _corners(family: Family) -> Family:
    """Members at the ends of the range of each coordinate."""
    points = family.points
    with jax.enable_x64(True):
        return family.at(np.stack([points.min(axis=0), points.max(axis=0)]))


def _words(fillings: Sequence[PlaneWaveFilling]) -> str:
    """Words for the filled waves."""
    if len(fillings) > 1:
        return "the lowest plane waves of each twist"
    filling = fillings[0]
    if filling.closed:
        return "closed shells of plane waves"
    spins = " and ".join(f"{filled} of {size}" for filled, size in filling.shells if filled < size)
    ways = f"the best of {filling.ways} ways" if filling.ways else "the first members"
    return f"plane waves with {spins} of the last shell, {ways}, total momentum {list(filling.momentum)}"


def _plane_waves(fillings: tuple[PlaneWaveFilling, ...], dtype: DTypeLike, solve: bool) -> AbstractOrbitals:
    del solve
    first = fillings[0]
    if len(fillings) > 1:
        counts = [len(table) for table in first.integers]
        of_spins = [LowestPlaneWaves(first.cell, count, gas_twist) for count in counts if count]
        return of_both_spins(of_spins)
    waves, tables = first.tables()
    dtype = jnp.dtype(dtype) if first.real else np.result_type(jnp.dtype(dtype), np.complex64)
    angles = [2 * np.pi * turns for turns in first.twist]
    with jax.enable_x64(True):
        found = [ExpandedOrbitals(waves, jnp.asarray(table, dtype), angles) for table in tables if table.shape[1]]
    return of_both_spins(found)


def _gaussians(
    cell: Lattice, electrons: tuple[int, int], crystal: WignerCrystal, dtype: DTypeLike, solve: bool
) -> AbstractOrbitals:
    del dtype, solve
    up, width, distance = electrons[0], crystal_width(cell.dim), PeriodicDistance(cell)
    of_spins = [
        SiteOrbitals(sites, width, distance) for sites in (crystal.sites[:up], crystal.sites[up:]) if len(sites)
    ]
    return of_both_spins(of_spins)


def _bragg_peak(crystal: WignerCrystal) -> BraggPeak:
    shortest = Lattice(crystal.primitive.reciprocal).shortest_translation()
    return BraggPeak(tuple(map(tuple, crystal.primitive.reciprocal_vectors(1.001 * shortest).tolist())))


def _walkers(
    crystal: WignerCrystal | None,
    family: Family,
    walkers: int,
    phases: Sequence[str],
    key: PRNGKeyArray,
    dtype: DTypeLike,
) -> Float[Array, "members walkers electrons dim"]:
    """Walkers of a liquid uniform, those of a crystal near its sites."""
    near = np.array([phase == "crystal" for phase in phases])
    if crystal is None or not near.any():
        return initial_positions(family.hamiltonian, family.size, walkers, key=key, dtype=dtype)
    return initial_positions(
        family.hamiltonian, family.size, walkers, key=key, sites=crystal.sites, crystal=jnp.asarray(near), dtype=dtype
    )
