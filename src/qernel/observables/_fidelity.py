"""How fast a conditioned wavefunction changes with its Hamiltonian."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from qernel.ansatz import Ansatz
from qernel.hamiltonian import Family

from ._estimate import Estimate
from ._slope import along_first_varying
from ._walker_means import walker_means


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
) -> Estimate:
    r"""The fidelity susceptibility of every Hamiltonian of a family,

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

    rows = [walker_means(Partial(_moments, ansatz, family, family.select(h)), x) for h, x in enumerate(samples)]
    found = [row.jackknife(lambda moments: moments[2] - moments[0] ** 2 - moments[1] ** 2) for row in rows]
    return Estimate(np.array([x.value for x in found]), np.array([x.error for x in found]))


def _moments(ansatz, family, parameters, r):
    """Logarithmic derivatives of modulus and phase, and the sum of their squares."""
    scores = log_derivative(ansatz, family)(r, parameters)
    return jnp.concatenate([scores, jnp.sum(scores**2, keepdims=True)])
