"""Three fermions that attract one another in a trap: a wavefunction without a cell, put together from the blocks."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from qernel.ansatz import qernel
from qernel.exact import filling_energy, filling_widths, ground_fillings
from qernel.hamiltonian import Family, Hamiltonian, Harmonic, HarmonicPair, Kinetic
from qernel.layers import OpenEmbedding
from qernel.orbitals import HarmonicOrbitals, OpenPairJastrow
from qernel.sampling import Sampler, langevin
from qernel.training import Method, burn_in, initial_state, train


# --8<-- [start:family]
def frequencies(parameters):
    return parameters["frequencies"]


def strength(parameters):
    return parameters["kappa"]


def traps(frequencies_, kappa, electrons=3):
    potentials = {"trap": Harmonic(frequencies), "interaction": HarmonicPair(strength)}
    hamiltonian = Hamiltonian(Kinetic(), potentials, (electrons, 0), dim=np.shape(frequencies_)[1])
    return Family(hamiltonian, {"frequencies": jnp.asarray(frequencies_), "kappa": jnp.asarray(kappa)})
    # --8<-- [end:family]


# --8<-- [start:ansatz]
def length(parameters):
    return parameters["frequencies"] ** -0.5


def wavefunction(family, filling, **sizes):
    dim = family.hamiltonian.dim
    return qernel(
        family.parameters,
        family.hamiltonian.electrons,
        OpenEmbedding(dim, length),
        (HarmonicOrbitals(filling, frequencies),),
        key=jax.random.key(0),
        cusp_strength=None,
        pair=partial(OpenPairJastrow, dim=dim, length=length),
        **sizes,
    )
    # --8<-- [end:ansatz]


# --8<-- [start:train]
def main(steps=100, walkers=64, **sizes):
    omega, kappa = np.array([[1.0, 1.2], [1.0, 1.6], [1.0, 2.0]]), np.array([0.1, 0.2, 0.3])
    family = traps(omega, kappa)
    (filling,) = ground_fillings(3, omega, kappa)
    method = Method(sampler=Sampler(langevin))
    clouds = np.random.default_rng(1).standard_normal((3, walkers, 3, 2))
    positions = jnp.asarray(clouds * filling_widths(filling, omega, kappa)[:, None, None], jnp.float32)
    start = initial_state(wavefunction(family, filling, **sizes), method, positions, key=jax.random.key(2))
    for state, report in train(burn_in(start, family, method, 10), family, method, steps):
        if int(state.step) % 10 == 0:
            print(int(state.step), report.statistics.energy, "exact", filling_energy(filling, omega, kappa))
    return state, family, report
    # --8<-- [end:train]


if __name__ == "__main__":
    main()
