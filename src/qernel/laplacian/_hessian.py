"""The exact slow reference: the trace of the Hessian, one column at a time."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.ansatz import Derivatives, LogPsi

from ._derivatives import AbstractLaplacian


class HessianTrace(AbstractLaplacian):
    r"""Trace of the Hessian, $\nabla^2\log\psi = \sum_k e_k^T \,\partial^2\log\psi\, e_k$, by forward-over-reverse
    differentiation, one coordinate after the other.

    Works for any ansatz that JAX differentiates twice; costs several times the forward Laplacian.
    """

    def __call__(
        self,
        log_psi: Callable[[Float[Array, "electrons dim"]], LogPsi],
        r: Float[Array, "electrons dim"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Derivatives:
        del key
        shape, size = r.shape, r.size

        def second_order(function):
            gradient_of = jax.grad(lambda flat: function(flat.reshape(shape)))

            def add_column(total, direction):
                gradient, column = jax.jvp(gradient_of, (r.reshape(-1),), (direction,))
                return total + column @ direction, gradient

            laplacian, gradients = jax.lax.scan(add_column, jnp.zeros((), r.dtype), jnp.eye(size, dtype=r.dtype))
            return gradients[0].reshape(shape), laplacian

        value = log_psi(r)
        gradient, laplacian = second_order(lambda x: log_psi(x).log_magnitude)
        if not value.real:
            # The phase waits for the modulus (`where` makes it depend on it, and changes nothing): two batched
            # factorisations at once can deadlock XLA's CPU pool.
            r = jnp.where(jnp.isnan(laplacian), r + laplacian, r)
            phase_gradient, phase_laplacian = second_order(lambda x: log_psi(x).phase)
            gradient = jax.lax.complex(gradient, phase_gradient)
            laplacian = jax.lax.complex(laplacian, phase_laplacian)
        return Derivatives(value, gradient, laplacian)
