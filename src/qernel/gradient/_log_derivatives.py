"""Derivatives of log ψ in the trained parameters, as scores or as a product with weights."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Inexact, PyTree


class LogDerivatives(eqx.Module):
    r"""Lazy $O_{hw,p} = \partial\log\psi(r_{hw};\lambda_h)/\partial\theta_p$ at a set of walkers.

    An optimiser takes what it needs: [`scores`][qernel.gradient.LogDerivatives.scores], the whole matrix for a solve
    in sample space, or [`gradient`][qernel.gradient.LogDerivatives.gradient], the product with residuals that any
    first-order optimiser needs.

    `trained` and `static` are the two parts of the ansatz (`equinox.partition` by
    [`trainable`][qernel.layers.trainable]).
    """

    trained: PyTree
    static: PyTree
    positions: Float[Array, "hamiltonians walkers electrons dim"]
    parameters: Any
    chunk: int | None = eqx.field(static=True, default=None)

    def _pair(self, trained, r, parameters):
        value = eqx.combine(trained, self.static)(r, parameters)
        return value.log_magnitude, value.phase

    @property
    def is_complex(self) -> bool:
        """Whether ψ is complex (a static fact)."""
        ansatz = eqx.combine(self.trained, self.static)
        first = jax.tree.map(lambda x: x[0], self.parameters)
        return not eqx.filter_eval_shape(ansatz, self.positions[0, 0], first).real

    def scores(self) -> Float[Array, "hamiltonians walkers parts parameters"]:
        """Scores of log-modulus and, for complex ψ, phase (`parts` is 1 or 2), at the parameters' dtype."""
        complex_ = self.is_complex
        flat, unravel = ravel_pytree(self.trained)

        def one(parameters, r):
            def outputs(theta):
                magnitude, phase = self._pair(unravel(theta), r, parameters)
                return jnp.stack([magnitude, phase]) if complex_ else magnitude[None]

            value, pullback = jax.vjp(outputs, flat)
            return jax.vmap(lambda seed: pullback(seed)[0])(jnp.eye(len(value), dtype=value.dtype))

        def of_one_hamiltonian(parameters, walkers):
            if self.chunk is None or self.chunk >= walkers.shape[0]:
                return jax.vmap(lambda r: one(parameters, r))(walkers)
            return jax.lax.map(lambda r: one(parameters, r), walkers, batch_size=self.chunk)

        return jax.vmap(of_one_hamiltonian)(self.parameters, self.positions)

    def gradient(self, residuals: Inexact[Array, "hamiltonians walkers"]) -> PyTree:
        r"""Energy gradient $2\,\mathrm{Re}\,\langle (E_\mathrm{loc}-\bar E)^* O\rangle$, averaged over all walkers.

        For real parameters and complex ψ: the real part of the residual multiplies the score of the log-modulus and
        the imaginary part that of the phase. `residuals` must be centred per Hamiltonian, which makes centring the
        scores unnecessary.
        """
        weights = jax.lax.stop_gradient(residuals) * (2 / residuals.size)

        def objective(trained):
            def one(parameters, r, weight):
                magnitude, phase = self._pair(trained, r, parameters)
                if jnp.iscomplexobj(weight):
                    return weight.real * magnitude + weight.imag * phase
                return weight * magnitude

            per_walker = jax.vmap(one, in_axes=(None, 0, 0))
            return jnp.sum(jax.vmap(per_walker)(self.parameters, self.positions, weights))

        return jax.grad(objective)(self.trained)
