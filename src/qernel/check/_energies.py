"""Local energies of a batch of configurations: one program for all the checks that need them."""

import jax
import jax.numpy as jnp

from qernel.compilation import compiled
from qernel.gradient import local_energy


@compiled
def energies(ansatz, hamiltonian, parameters, r):
    """Kinetic and potential energy of every configuration (real parts), in effective Hartree."""

    def of_one(x):
        terms = local_energy(ansatz, hamiltonian, x, parameters)
        return terms.kinetic.real, sum(terms.potentials.values(), jnp.zeros((), x.dtype))

    return jax.vmap(of_one)(r)
