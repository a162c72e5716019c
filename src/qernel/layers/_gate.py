import abc
import math
import warnings
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qernel.propagation import Jet, elementwise, multiply, softmax, sum_features

from ._check import check_sizes


class AbstractGate(eqx.Module):
    """Turns the logits of a router into the weights of the experts.

    A gate of one's own maps the last axis of the logits, experts, to non-negative weights of order one in
    sum. It must be continuous with a continuous gradient: where a wavefunction jumps or kinks, the local
    energy misses a delta function and is no longer variational.
    """

    @abc.abstractmethod
    def __call__(self, logits: Float[Array, "*electrons experts"]) -> Float[Array, "*electrons experts"]:
        """Weights of the experts, an array of the shape of the logits."""


@runtime_checkable
class SparseGate(Protocol):
    """A gate of which at most `in_use` weights are not zero: the other experts need not be worked out."""

    @property
    def in_use(self) -> int:
        """Largest number of weights that are not zero."""
        ...


class Softmax(AbstractGate):
    r"""Dense gate: $g_e = \exp(\ell_e) / \sum_{e'} \exp(\ell_{e'})$. Every expert always contributes.

    **Shapes:** `(..., experts) -> (..., experts)`, sums to 1.
    """

    def __call__(self, logits: Float[Array, "*electrons experts"]) -> Float[Array, "*electrons experts"]:
        with jax.named_scope("qernel.layers.Softmax"):
            return jax.nn.softmax(logits, axis=-1)

    def propagate(self, logits: Jet) -> Jet:
        """Apply the gate to a [`Jet`][qernel.propagation.Jet], logits with their first and second derivatives."""
        return softmax(logits)


class SquaredReLU(AbstractGate):
    r"""Sparse and smooth gate,

    $$g_e = \frac{a_e}{\epsilon + \sum_{e'} a_{e'}}, \qquad a_e = \max(\ell_e + b, 0)^2 .$$

    An expert switches off exactly, and with zero slope: $g$ has a continuous gradient, so that the local
    energy steps but misses no delta function. If every expert is off the gates are all zero
    ($\epsilon > 0$: never 0/0), and their sum is otherwise between 0 and 1.

    **Arguments:**

    - `offset`: $b$, which has most experts on at the start: with logits of unit variance and $b = 1$, 84 %.
    - `epsilon`: $\epsilon$; with $b = 1$ and $\epsilon = 1/2$ the sum of four gates is at the start about 0.9.

    **Shapes:** `(..., experts) -> (..., experts)`.

    **Raises:** `ValueError` if `epsilon` is not positive.

    **Source:** ReLU routing arXiv:2412.14711; squared here, for a continuous gradient.
    """

    offset: float = eqx.field(static=True, default=1.0)
    epsilon: float = eqx.field(static=True, default=0.5)

    def __check_init__(self):
        if not self.epsilon > 0:
            raise ValueError(f"SquaredReLU: epsilon must be positive, got {self.epsilon}.")

    def __call__(self, logits: Float[Array, "*electrons experts"]) -> Float[Array, "*electrons experts"]:
        with jax.named_scope("qernel.layers.SquaredReLU"):
            active = jnp.square(jnp.maximum(logits + self.offset, 0))
            return active / (jnp.sum(active, axis=-1, keepdims=True) + self.epsilon)

    def propagate(self, logits: Jet) -> Jet:
        """Apply the gate to a [`Jet`][qernel.propagation.Jet], logits with their first and second derivatives."""
        active = elementwise(lambda x: jnp.square(jnp.maximum(x + self.offset, 0)), logits)
        return multiply(active, elementwise(lambda x: 1 / (x + self.epsilon), sum_features(active)))


class Spline(AbstractGate):
    r"""Smooth gate with `k` experts in use: neighbours on a line, of which the logits choose the place,

    $$g_e = B_k(p - e), \qquad p = \tfrac k2 - 1 + (E - k + 1)\,\bar e, \qquad
      \bar e = \tfrac{1}{E-1}\sum_e e\,\mathrm{softmax}(\ell)_e , $$

    with the centred cardinal B-spline of order k, which has $k - 2$ continuous derivatives and vanishes for
    $|x| \ge k/2$. Weights come and go one after the other as p moves, and with them experts, smoothly. Routed by the
    condition, as the one mixture of a Hamiltonian that changes along the family, the others cost nothing.

    **Arguments:**

    - `k`: order of the spline and number of experts in use. The default 3 is the lowest without kinks.

    **Shapes:** `(..., experts) -> (..., experts)`, sums to 1, at most `k` entries not zero.

    **Raises:** `ValueError` for `k` below 3, whose weights have kinks, or (at the call) more than there are experts.

    **Source:** C. de Boor, A Practical Guide to Splines (1978).
    """

    k: int = eqx.field(static=True, default=3)

    def __check_init__(self):
        check_sizes("Spline", k=self.k)
        if self.k < 3:
            raise ValueError(f"Spline: weights of order {self.k} have kinks or jump: k must be at least 3.")

    @property
    def in_use(self) -> int:
        """Largest number of weights that are not zero, `k`."""
        return self.k

    def __call__(self, logits: Float[Array, "*electrons experts"]) -> Float[Array, "*electrons experts"]:
        experts, k = logits.shape[-1], self.k
        if k > experts:
            raise ValueError(f"Spline: cannot use {k} of {experts} experts.")
        with jax.named_scope("qernel.layers.Spline"):
            places = jnp.arange(experts, dtype=logits.dtype).reshape((1,) * (logits.ndim - 1) + (-1,))
            mean = jnp.sum(jax.nn.softmax(logits, axis=-1) * places, axis=-1, keepdims=True) / max(experts - 1, 1)
            # Within the support truncated powers are small numbers: they cancel to zero at its end.
            x = jnp.clip(k / 2 - 1 + (experts - k + 1) * mean - places, -k / 2, k / 2)
            weights = jnp.zeros_like(x)
            for j in range(k):
                weights = weights + (-1) ** j * math.comb(k, j) * jnp.maximum(x + (k / 2 - j), 0) ** (k - 1)
            return weights / math.factorial(k - 1)


class TopK(AbstractGate):
    r"""Hard gate: a softmax over the `k` largest logits, zero elsewhere. **Not for wavefunctions** as a rule.

    Where the choice of experts changes, the output jumps. If the logits depend on the electrons the
    wavefunction jumps with them, the local energy misses a delta function, and the "variational" energy can
    fall below the ground state; if they depend on the Hamiltonian only, the jump looks like a phase
    transition.
    `SquaredReLU` is sparse too, and smooth.

    Ties go to the expert that comes first.

    **Arguments:**

    - `k`: number of experts in use.

    **Shapes:** `(..., experts) -> (..., experts)`, sums to 1, `k` entries not zero.

    **Warns:** `UserWarning` at construction, for the reason above.

    **Raises:** `ValueError` if `k` is not positive, or (at the call) exceeds the number of experts.

    **Source:** arXiv:2101.03961 (k = 1) and earlier.
    """

    k: int = eqx.field(static=True)

    def __check_init__(self):
        check_sizes("TopK", k=self.k)
        warnings.warn(
            "TopK makes the wavefunction jump where the choice of experts changes: the kinetic energy misses "
            "delta functions there and the energy is not variational. SquaredReLU is sparse and smooth.",
            UserWarning,
            stacklevel=2,
        )

    @property
    def in_use(self) -> int:
        """Largest number of weights that are not zero, `k`."""
        return self.k

    def __call__(self, logits: Float[Array, "*electrons experts"]) -> Float[Array, "*electrons experts"]:
        experts = logits.shape[-1]
        if self.k > experts:
            raise ValueError(f"TopK: cannot pick {self.k} of {experts} experts.")
        with jax.named_scope("qernel.layers.TopK"):
            # by comparison, not by sorting or gathering: a forward Laplacian passes through
            mine, other = logits[..., :, None], logits[..., None, :]
            first = jnp.tri(experts, k=-1, dtype=bool).reshape((1,) * (logits.ndim - 1) + (experts, experts))
            better = (other > mine) | ((other == mine) & first)
            kept = jnp.sum(better, axis=-1) < self.k
            weights = jnp.exp(logits - jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True)))
            weights = jnp.where(kept, weights, 0)
            return weights / jnp.sum(weights, axis=-1, keepdims=True)
