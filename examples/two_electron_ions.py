"""Atoms with two electrons, over the charge of their nucleus: nuclei, and both kinds of cusps."""

from functools import partial

import jax
import numpy as np

from qernel.ansatz import qernel
from qernel.hamiltonian import Coordinate, Coulomb, Family, Hamiltonian, Kinetic, Nuclei
from qernel.layers import OpenEmbedding
from qernel.orbitals import HarmonicOrbitals, OpenPairJastrow, SpinBlocks
from qernel.sampling import Sampler, initial_positions, langevin
from qernel.training import Method, burn_in, initial_state, train


# --8<-- [start:family]
def charge(parameters):
    return parameters["Z"]


def ions(charges):
    potentials = {"nucleus": Nuclei([[0.0, 0.0, 0.0]], [1.0], strength=charge), "repulsion": Coulomb()}
    hamiltonian = Hamiltonian(Kinetic(), potentials, (1, 1), dim=3)
    return Family.of(hamiltonian, {"Z": 2.0}, [Coordinate("Z", "Z", label="nuclear charge", linear=True)], charges)
    # --8<-- [end:family]


# --8<-- [start:ansatz]
def length(parameters):
    return 1.5 / parameters["Z"]


def frequency(parameters):
    return length(parameters) ** -2


def wavefunction(family, **sizes):
    hamiltonian = family.hamiltonian
    # A smooth orbital: the factors of the cusps make it one of an atom.
    orbital = HarmonicOrbitals([(0, 0, 0)], frequency)
    return qernel(
        family.parameters,
        hamiltonian.electrons,
        OpenEmbedding(3, length),
        (SpinBlocks(orbital, orbital),),
        key=jax.random.key(0),
        cusp_strength=hamiltonian.cusp,
        nuclear_cusp=hamiltonian.nuclear_cusp,
        pair=partial(OpenPairJastrow, dim=3, length=length),
        **sizes,
    )
    # --8<-- [end:ansatz]


# --8<-- [start:train]
def main(charges=(2.0,), steps=300, walkers=256, **sizes):
    family = ions(list(charges))
    method = Method(sampler=Sampler(langevin))
    cloud = initial_positions(family.hamiltonian, family.size, walkers, key=jax.random.key(1), width=0.6)
    start = initial_state(wavefunction(family, **sizes), method, cloud, key=jax.random.key(2))
    energies = []
    for state, report in train(burn_in(start, family, method, 20), family, method, steps):
        energies.append(np.asarray(report.statistics.energy))
        if int(state.step) % 20 == 0:
            print(int(state.step), np.mean(energies[-20:], axis=0))
    return state, family, report
    # --8<-- [end:train]


if __name__ == "__main__":
    main()
