"""Derivatives of log ψ in the trained parameters: sample-space Gram matrix, products, gradient."""

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, PyTree

from qernel.chunks import map_walkers

from . import _gram
from ._alike import alike, finite_walkers, small_factors, without_others
from ._factored_products import factored_products
from ._factors import OuterProducts, factorised, outer_products
from ._gram import centred_gram


class Gram(eqx.Module):
    r"""Gram matrix of the centred scores, rows in the order (part, Hamiltonian, walker).

    **Fields:**

    - `matrix`: $\bar O\bar O^T$.
    - `valid`: the walkers whose scores are all finite and that were asked for; the rows of the others are zero.
    - `forward`, `transpose`: the two linear maps of O before centring, like those of
      [`products`][qernel.gradient.LogDerivatives.products].
    """

    matrix: Float[Array, "rows rows"]
    valid: Bool[Array, "hamiltonians walkers"]
    forward: Callable[[PyTree], Float[Array, "hamiltonians walkers parts"]]
    transpose: Callable[[Float[Array, "hamiltonians walkers parts"]], PyTree]


class LogDerivatives(eqx.Module):
    r"""Lazy $O_{hw,p} = \partial\log\psi(r_{hw};\lambda_h)/\partial\theta_p$ at a set of walkers.

    An optimiser takes what it needs: [`gram`][qernel.gradient.LogDerivatives.gram] and
    [`products`][qernel.gradient.LogDerivatives.products] for a solve in sample space,
    [`gradient`][qernel.gradient.LogDerivatives.gradient], the product with residuals, for any first-order
    optimiser. [`scores`][qernel.gradient.LogDerivatives.scores] is the matrix itself.

    **Arguments:**

    - `trained`, `static`: the two parts of the ansatz (`equinox.partition` by
      [`trainable`][qernel.layers.trainable]).
    - `positions`: of the walkers, in effective Bohr radii.
    - `parameters`: the parameter pytree with a leading axis of Hamiltonians.
    - `chunk`: number of walkers of each Hamiltonian that are differentiated at once (all by default), which bounds the
      memory of the network's activations.
    """

    trained: PyTree
    static: PyTree
    positions: Float[Array, "hamiltonians walkers electrons dim"]
    parameters: Any
    chunk: int | None = eqx.field(static=True, default=None)

    def _outputs(self, trained, r, parameters):
        """Log-modulus and, for complex ψ, phase."""
        value = eqx.combine(trained, self.static)(r, parameters)
        return jnp.stack([value.log_magnitude] if value.real else [value.log_magnitude, value.phase])

    def _map(self, function, *arrays):
        """Apply `function(parameters, *one walker's)` to all walkers of all Hamiltonians, in chunks."""
        return map_walkers(function, self.parameters, arrays, self.positions.shape[1], self.chunk)

    def _map_outputs(self, trained, positions):
        """Outputs of all walkers. If they come in chunks, their derivatives work them out again, chunk by chunk:
        otherwise the activations of all walkers would be kept for them."""

        def one(parameters, r):
            return self._outputs(trained, r, parameters)

        return self._map(one if self.chunk is None else jax.checkpoint(one), positions)

    def scores(self) -> PyTree:
        """Scores of log-modulus and, for complex ψ, phase: one array `(hamiltonians, walkers, parts, *shape)` for
        each trained array (`parts` is 1 or 2)."""

        return self._map(partial(self._scores, self.trained), self.positions)

    def _scores(self, trained, parameters, r):
        """Scores of one walker."""
        value, pullback = jax.vjp(lambda trained: self._outputs(trained, r, parameters), trained)
        return jax.vmap(lambda seed: pullback(seed)[0])(jnp.eye(len(value), dtype=value.dtype))

    def gram(self, mask: Bool[Array, "hamiltonians walkers"]) -> Gram:
        r"""Gram matrix $\bar O\bar O^T$ of the scores, centred per Hamiltonian over the walkers of `mask`, and the two
        linear maps of O, both from one evaluation of the network.

        Summed over blocks of parameters, each made from its factors; only scores that are no sum of a few outer
        products (of large systems, or of unusual layers) are held whole.
        """
        # Parameters that fill fewer than four blocks of the matrix are not worth a loop of their own.
        few = _gram.few_for(2 * mask.size)
        scores = alike(self._map(partial(factorised(self._scores), self.trained), self.positions), few=few)
        valid = mask & finite_walkers(scores)
        scores = without_others(scores, valid)
        return Gram(centred_gram(scores, valid), valid, *factored_products(scores, self.trained))

    def finite(self, mask: Bool[Array, "hamiltonians walkers"]) -> Bool[Array, "hamiltonians walkers"]:
        """Mask of the walkers of `mask` whose scores, and their squares, are all finite; no score is kept."""
        factors = factorised(self._scores)

        def one(parameters, r):
            return small_factors(factors(self.trained, parameters, r))

        return mask & self._map(one, self.positions)

    def outer_products(self, stride: int = 1) -> list[OuterProducts]:
        """Scores of every `stride`-th walker as sums of outer products, for a Kronecker-factored metric.

        **Returns:** one entry for each trained array, in the order of `jax.tree.leaves`, held whole for these walkers.
        """
        outer = outer_products(self._scores)
        positions = self.positions[:, ::stride]
        chunk = None if self.chunk is None else min(self.chunk, positions.shape[1])
        return map_walkers(partial(outer, self.trained), self.parameters, (positions,), positions.shape[1], chunk)

    def products(
        self, valid: Bool[Array, "hamiltonians walkers"]
    ) -> tuple[
        Callable[[PyTree], Float[Array, "hamiltonians walkers parts"]],
        Callable[[Float[Array, "hamiltonians walkers parts"]], PyTree],
    ]:
        """Linear map O, `trained -> (hamiltonians, walkers, parts)`, and its transpose, without the matrix.

        Walkers that are not `valid` stand in with the positions of another one, so that no NaN of theirs spreads;
        what belongs to them must be given weight zero.
        """
        flat = self.positions.reshape(-1, *self.positions.shape[2:])
        substitute = flat[jnp.argmax(valid.reshape(-1))]
        positions = jnp.where(valid[..., None, None], self.positions, substitute)

        _, forward = jax.linearize(lambda trained: self._map_outputs(trained, positions), self.trained)
        transpose = jax.linear_transpose(forward, self.trained)
        return forward, lambda weights: transpose(weights)[0]

    def gradient(self, residuals: Inexact[Array, "hamiltonians walkers"]) -> PyTree:
        r"""Energy gradient $2\,\mathrm{Re}\,\langle (E_\mathrm{loc}-\bar E)^* O\rangle$, averaged over all walkers.

        For real parameters and complex ψ: the real part of the residual multiplies the score of the log-modulus and
        the imaginary part that of the phase. `residuals` must be centred per Hamiltonian, which makes centring the
        scores unnecessary.
        """
        weights = jax.lax.stop_gradient(residuals) * (2 / residuals.size)
        weights = jnp.stack([weights.real, weights.imag], axis=-1)

        def objective(trained):
            outputs = self._map_outputs(trained, self.positions)
            return jnp.sum(weights[..., : outputs.shape[-1]] * outputs)

        return jax.grad(objective)(self.trained)
