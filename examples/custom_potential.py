"""A potential of one's own, with parameters of one's own: electrons and a pinning centre of varying depth."""

import jax
import jax.numpy as jnp

from qernel.ansatz import qernel
from qernel.evaluation import evaluate, format_table, results
from qernel.hamiltonian import AbstractPotential, Ewald, Family, Hamiltonian, Kinetic
from qernel.lattice import PeriodicDistance, triangular
from qernel.orbitals import PlaneWaves, plane_wave_orbitals
from qernel.sampling import Sampler, initial_positions
from qernel.training import Method, burn_in, initial_state, train


# --8<-- [start:potential]
class Pinning(AbstractPotential):
    """V = -depth Σ_i exp(-d(r_i)² / 2w²), with the smooth periodic distance d to the corner of the cell."""

    boundary = "any"  # with the cell of the distance, or none
    squared_distance: PeriodicDistance
    width: float

    def __call__(self, r, parameters):
        wells = jnp.exp(-self.squared_distance(r) / (2 * self.width**2))
        return -parameters["depth"].astype(r.dtype) * jnp.sum(wells)


def pinned_electrons(depths, cell, electrons=(7, 0)):
    potentials = {"pinning": Pinning(PeriodicDistance(cell), width=2.0), "interaction": Ewald(cell)}
    hamiltonian = Hamiltonian(Kinetic(), potentials, electrons, cell=cell)
    return Family(hamiltonian, {"depth": jnp.asarray(depths, float)}, "depth")
    # --8<-- [end:potential]


# --8<-- [start:train]
def main(steps=100, walkers=64, rounds=100, depths=(0.0, 0.1, 0.2), **sizes):
    cell = triangular(20.0)
    family = pinned_electrons(depths, cell)
    waves, orbitals = PlaneWaves(cell, 0.65).vectors, plane_wave_orbitals(cell, 7)
    ansatz = qernel(
        family.parameters,
        family.hamiltonian.electrons,
        waves,
        (orbitals,),
        key=jax.random.key(0),
        cusp_strength=family.hamiltonian.cusp,
        squared_distance=PeriodicDistance(cell),
        pair=waves,
        **sizes,
    )
    method = Method(sampler=Sampler(cell=cell))
    positions = initial_positions(family.hamiltonian, family.size, walkers, key=jax.random.key(1))
    start = initial_state(ansatz, method, positions, key=jax.random.key(2))
    for state, report in train(burn_in(start, family, method, 20), family, method, steps):
        if int(state.step) % 10 == 0:
            print(int(state.step), report.statistics.energy)
    # --8<-- [end:train]
    # --8<-- [start:evaluate]
    evaluation = evaluate(
        state.ansatz,
        family,
        state.positions,
        sampler=method.sampler,
        key=jax.random.key(3),
        step_size=state.step_size,
        rounds=rounds,
    )
    table = results(evaluation, family)
    print(format_table(table))
    return table
    # --8<-- [end:evaluate]


if __name__ == "__main__":
    main()
