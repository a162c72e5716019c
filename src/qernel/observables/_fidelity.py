"""How fast a conditioned wavefunction changes with its Hamiltonian."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qernel.ansatz import Ansatz
from qernel.hamiltonian import Family

from ._jackknife import jackknife
from ._slope import along_first_varying


def log_derivative(ansatz: Ansatz, family: Family) -> Callable[[Float[Array, "electrons dim"], Any], Array]:
    r"""$\partial_\lambda\log|\psi|$ and $\partial_\lambda\arg\psi$ of one configuration by one Jacobian-vector product.

    λ is the first varying parameter of the family. The function takes positions and the parameters of one Hamiltonian.
    """

    def derivative(r, parameters):
        def log_psi(parameters):
            value = ansatz(r, parameters)
            phase = jnp.zeros_like(value.log_magnitude) if value.real else value.phase
            return jnp.stack([value.log_magnitude, phase])

        return jax.jvp(log_psi, (parameters,), (along_first_varying(family, parameters),))[1]

    return derivative


def fidelity_susceptibility(
    ansatz: Ansatz, family: Family, samples: Float[np.ndarray, "hamiltonians walkers records electrons dim"]
) -> tuple[Float[np.ndarray, " hamiltonians"], Float[np.ndarray, " hamiltonians"]]:
    r"""The fidelity susceptibility and its error, for every Hamiltonian of a family,

    $$ \chi(\lambda) = \langle|\partial_\lambda\log\psi|^2\rangle - |\langle\partial_\lambda\log\psi\rangle|^2 . $$

    The fidelity of neighbouring states is $|\langle\psi(\lambda)|\psi(\lambda+\delta)\rangle|^2 = 1 - \chi\delta^2$:
    χ peaks at a transition of any kind, without an order parameter. It is the variance of one Jacobian-vector product,
    in units of 1/λ², with λ the first varying parameter in the Hamiltonian's own unit. The error is a jackknife over
    walkers.

    **Arguments:** `samples`: positions drawn from |ψ|² at every Hamiltonian, as in
    [`Evaluation.samples`][qernel.observables.Evaluation].

    **Raises:** `ValueError` if no scalar parameter varies.

    **Source:** arXiv:0811.3127.
    """

    @eqx.filter_jit
    def of_record(ansatz, parameters, r):
        return jax.vmap(jax.vmap(log_derivative(ansatz, family), in_axes=(0, None)))(r, parameters)

    records = [np.asarray(of_record(ansatz, family.parameters, jnp.asarray(r))) for r in np.moveaxis(samples, 2, 0)]
    # hamiltonians walkers records (modulus, phase)
    scores = np.stack(records, axis=2).astype(np.float64)
    first, second = np.nanmean(scores, axis=2), np.nanmean(np.sum(scores**2, axis=-1), axis=2)
    rows = [jackknife(lambda o, oo: oo - np.sum(o**2), first[h], second[h]) for h in range(len(scores))]
    value, error = np.array(rows).T
    return value, error
