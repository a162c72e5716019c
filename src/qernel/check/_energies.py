"""Local energies of a batch of configurations: one program for all the checks that need them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from qernel.ansatz import Ansatz
from qernel.compilation import compiled
from qernel.gradient import local_energy
from qernel.hamiltonian import Hamiltonian


@compiled
def energies(
    ansatz: Ansatz, hamiltonian: Hamiltonian, parameters: PyTree, r: Float[Array, "walkers electrons dim"]
) -> tuple[Float[Array, " walkers"], Float[Array, " walkers"]]:
    """Kinetic and potential energy of every configuration (real parts), in effective Hartree."""

    def of_one(x):
        terms = local_energy(ansatz, hamiltonian, x, parameters)
        return terms.kinetic.real, sum(terms.potentials.values(), jnp.zeros((), x.dtype))

    return jax.vmap(of_one)(r)
