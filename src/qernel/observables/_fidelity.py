"""Rate at which a conditioned wavefunction changes with its Hamiltonian."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from qernel.ansatz import Ansatz
from qernel.hamiltonian import Coordinate, Family

from ._estimate import Estimate
from ._walker_means import walker_means


def log_derivative(ansatz: Ansatz, coordinate: Coordinate) -> Callable[[Float[Array, "electrons dim"], Any], Array]:
    r"""Derivatives $\partial_\lambda\log|\psi|$ and $\partial_\lambda\arg\psi$ by one Jacobian-vector product.

    The function takes positions and the parameters of one Hamiltonian; λ is in the coordinate's own unit.
    """

    def derivative(r, parameters):
        def log_psi(parameters):
            value = ansatz(r, parameters)
            phase = jnp.zeros_like(value.log_magnitude) if value.real else value.phase
            return jnp.stack([value.log_magnitude, phase])

        return jax.jvp(log_psi, (parameters,), (coordinate.tangent(parameters),))[1]

    return derivative


def fidelity_susceptibility(
    ansatz: Ansatz,
    family: Family,
    samples: Float[np.ndarray, "members walkers records electrons dim"],
    coordinate: Coordinate | None = None,
) -> Estimate:
    r"""The fidelity susceptibility of every member of a family,

    $$ \chi(\lambda) = \langle|\partial_\lambda\log\psi|^2\rangle - |\langle\partial_\lambda\log\psi\rangle|^2 . $$

    The fidelity of neighbouring states is $|\langle\psi(\lambda)|\psi(\lambda+\delta)\rangle|^2 = 1 - \chi\delta^2$:
    χ peaks at a transition of any kind, without an order parameter. It is the variance of one Jacobian-vector product,
    in units of 1/λ², with λ in its own unit. The error is a jackknife over walkers.

    **Arguments:** `samples`: positions drawn from |ψ|² at every member, as in
    [`Evaluation.samples`][qernel.evaluation.Evaluation]; `coordinate`: λ, by default the first one that varies.

    **Raises:** `ValueError` for a family without a coordinate.

    **Source:** arXiv:0811.3127.
    """
    if coordinate is None:
        if not family.varying:
            raise ValueError("a derivative along the family needs a coordinate: name one when the family is made")
        coordinate = family.varying[0]
    observe = lambda h: Partial(_moments, ansatz, coordinate, family.select(h))
    rows = [walker_means(observe(h), x) for h, x in enumerate(samples)]
    found = [row.jackknife(lambda moments: moments[2] - moments[0] ** 2 - moments[1] ** 2) for row in rows]
    return Estimate(np.array([x.value for x in found]), np.array([x.error for x in found]))


def _moments(ansatz, coordinate, parameters, r):
    """Logarithmic derivatives of modulus and phase, and the sum of their squares."""
    scores = log_derivative(ansatz, coordinate)(r, parameters)
    return jnp.concatenate([scores, jnp.sum(scores**2, keepdims=True)])
