"""Kronecker-factored approximation of stochastic reconfiguration, in the space of parameters."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

from qernel.compilation import as_one

from ._balance import balanced_weights, centred
from ._checked import check_positive
from ._contract import AbstractOptimiser, LogPsiDerivatives, Update
from ._kronecker_metric import KroneckerMetric, refreshed
from ._shapes import Shapes


class KFACState(eqx.Module):
    """Memory of [`KFAC`][qernel.optimise.KFAC].

    **Fields:**

    - `metrics`: those of the trained arrays, arrays of one shape stacked.
    - `direction`: the last one, before the learning rate, stacked likewise.
    - `step`: number of steps taken.
    """

    metrics: list[KroneckerMetric]
    direction: list[Float[Array, "..."]]
    step: Int[Array, ""]


class KFAC(AbstractOptimiser):
    r"""Natural-gradient descent with a metric that is a Kronecker product for each array of parameters,

    $$ \delta_t = \mu\,\delta_{t-1} + (1 - \mu)\,(F + \epsilon)^{-1}\,O^T \varepsilon, \qquad
       \theta \leftarrow \theta - \eta_t\,s\,\delta_t , $$

    with O and ε those of [`StochasticReconfiguration`][qernel.optimise.StochasticReconfiguration] and
    $F \approx O^T O$. The scores of a weight are $\sum_t g_t \otimes b_t$, one term an electron. F is diagonal in the
    eigenvectors of $\langle g g^T\rangle \otimes \langle b b^T\rangle$, and its diagonal there is the variance of
    the scores themselves, centred for each Hamiltonian (an *eigenvalue-corrected* factorisation): the products of the
    eigenvalues, which other programs take, know nothing of the mean of a score, which can be much larger than its
    spread.

    A step costs little more than a gradient, where stochastic reconfiguration multiplies all scores with one another
    and factorises a matrix of all walkers; and the metric remembers many steps, which makes them quieter. It takes no
    account of how different arrays act together. `momentum` μ averages directions; SPRING's is of another kind. Until
    step $\mu/(1-\mu)$ the average is a plain mean of all directions, and that of the metric likewise.

    **Arguments:**

    - `learning_rate`: η, an imaginary time, in the inverse unit of the energies that it is given
      ([`Method`][qernel.training.Method] says which); a number or a schedule of the step.
    - `damping`: ε, relative to the mean eigenvalue of F.
    - `momentum`: μ.
    - `trust_region`: largest allowed $\eta\,\|O\delta\|$, the root-mean-square change of log ψ in one step at the
      walkers of the `sample`; s shrinks the step.
    - `balance`: weights $1/\sigma_h$ of the Hamiltonians, as for stochastic reconfiguration.
    - `memory`: what is left of the metric after one step, of which each adds what it measures.
    - `refresh`: steps between two computations of the eigenvectors (and one at every power of two).
    - `sample`: walkers of each Hamiltonian, at least, with which the metric is measured in a step.

    **Raises:** `ValueError` for numbers out of range.

    **Source:** arXiv:1503.05671; eigenvalues arXiv:1806.03884; for wavefunctions arXiv:1909.02487.

    **Example:**

    ```python
    from qernel.optimise import KFAC

    optimiser = KFAC(learning_rate=lambda step: 0.3 / (1 + step / 1000), trust_region=0.1)
    ```
    """

    learning_rate: float | Callable = eqx.field(static=True, default=0.3)
    damping: float = eqx.field(static=True, default=1.0)
    momentum: float = eqx.field(static=True, default=0.9)
    trust_region: float = eqx.field(static=True, default=0.3)
    balance: bool = eqx.field(static=True, default=True)
    # The metric is that of the last 1 / (1 - 0.95) = 20 steps, of 16 walkers each: hundreds of each Hamiltonian. Its
    # eigenvectors change slowly, and cost more than the rest of a step.
    memory: float = eqx.field(static=True, default=0.95)
    refresh: int = eqx.field(static=True, default=50)
    sample: int = eqx.field(static=True, default=16)

    def __check_init__(self):
        check_positive(learning_rate=self.learning_rate, damping=self.damping)
        # Infinite where no step is to be shrunk.
        if not self.trust_region > 0:
            raise ValueError(f"trust_region must be positive, got {self.trust_region}")
        for name in ("momentum", "memory"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.refresh < 1 or self.sample < 2:
            raise ValueError(
                "the metric is refreshed after at least one step and measured with at least two walkers, "
                f"got {self.refresh} and {self.sample}"
            )

    def init(self, trained: PyTree) -> KFACState:
        arrays = jax.tree.leaves(trained)
        shapes = Shapes.of(arrays)
        metrics = shapes.stacked([KroneckerMetric.empty(array) for array in arrays])
        zeros = shapes.stacked([np.zeros(array.shape, array.dtype) for array in arrays])
        metrics, zeros = jax.tree.map(jnp.asarray, (metrics, zeros))
        return KFACState(metrics, zeros, jnp.zeros((), jnp.int32))

    def update(
        self,
        derivatives: LogPsiDerivatives,
        residuals: Inexact[Array, "hamiltonians walkers"],
        mask: Bool[Array, "hamiltonians walkers"],
        state: Any,
    ) -> Update:
        stride = max(1, mask.shape[1] // self.sample)
        scores = derivatives.outer_products(stride)
        seen = mask[:, ::stride] & _finite(scores)
        parts = [residuals.real, residuals.imag][: scores[0].rows.shape[2]]
        valid = mask.at[:, ::stride].set(seen)
        targets = centred(jnp.stack(parts, axis=-1), valid)
        weights = balanced_weights(targets, valid) if self.balance else jnp.ones(len(mask), targets.dtype)
        shapes = Shapes.of(jax.tree.leaves(derivatives.trained))
        metrics = self._metrics(state, shapes, scores, weights, seen)

        # Two batched factorisations that do not depend on each other can deadlock XLA's CPU pool: the network's own
        # wait for those of the metric.
        trace = jnp.sum(jnp.stack([jnp.sum(metric.variance) for metric in metrics]))
        _, transpose = derivatives.products(valid & jnp.isfinite(trace))
        share = _shares(weights, valid, targets.dtype)[..., None]
        slope, structure = jax.tree.flatten(transpose((targets * share).astype(scores[0].rows.dtype)))

        damping = self.damping * trace / sum(metric.variance.size for metric in metrics)
        # Where nothing was measured, no division by zero.
        damping = damping + jnp.finfo(damping.dtype).tiny
        natural = shapes.map(lambda metric, leaf: metric.solve(leaf, damping), metrics, slope)
        keep = _decay(self.momentum, state.step, damping.dtype)
        average = lambda new, last: (keep * last + (1 - keep) * new).astype(last.dtype)
        direction = [average(*each) for each in zip(natural, state.direction, strict=True)]

        rate = self.learning_rate
        rate = jnp.asarray(rate(state.step) if callable(rate) else rate, targets.dtype)
        changes = [jnp.sum(change, axis=0) for change in shapes.map(_change, direction, scores)]
        change = centred(jnp.sum(jnp.stack(changes), axis=0).astype(targets.dtype), seen)
        distance = rate * jnp.sqrt(jnp.sum(_shares(weights, seen, rate.dtype)[..., None] * change**2))
        shrink = jnp.minimum(1, self.trust_region / jnp.maximum(distance, jnp.finfo(rate.dtype).tiny))
        steps = [(rate * shrink).astype(each.dtype) * each for each in direction]
        return Update(
            jax.tree.map(jnp.subtract, derivatives.trained, structure.unflatten(shapes.split(steps))),
            KFACState(metrics, direction, state.step + 1),
            jnp.linalg.norm(as_one(steps)),
            distance * shrink,
            shrink,
            jnp.zeros((), bool),
        )

    def _metrics(self, state, shapes, scores, weights, seen):
        """Update the metrics of all arrays with the scores of this step."""
        dtype = state.metrics[0].variance.dtype
        keep, shares = _decay(self.memory, state.step, dtype), _shares(weights, seen, dtype)
        scores = jax.tree.map(lambda x: jnp.where(seen[..., None, None, None], x, 0), scores)

        def moments(metric, scores):
            return metric.with_moments(scores, shares, keep)

        def variance(metric, scores):
            return metric.with_variance(scores, seen, shares, keep)

        metrics = shapes.map(moments, state.metrics, scores)
        # The first moments are those of few walkers: after 1, 2, 4, 8 ... steps, too.
        due = (state.step % self.refresh == 0) | (state.step & (state.step - 1) == 0)
        metrics = jax.lax.cond(due, refreshed, lambda metrics: metrics, metrics)
        return shapes.map(variance, metrics, scores)


def _decay(decay, step, dtype):
    """Share of the past in an average that starts with nothing, after `step` steps."""
    step = step.astype(dtype)
    return jnp.minimum(decay, step / (step + 1))


def _shares(weights, seen, dtype):
    """Share of each walker in a mean over the walkers of a Hamiltonian and over the weighted Hamiltonians."""
    count = jnp.maximum(jnp.sum(seen, axis=1, keepdims=True), 1).astype(dtype)
    return jnp.where(seen, weights[:, None].astype(dtype) / (count * len(seen)), 0)


def _finite(scores):
    """Mask of the walkers whose scores, and the squares of their factors, are all finite."""
    finite = jnp.asarray(True)
    for factor in jax.tree.leaves(scores):
        finite = finite & jnp.isfinite(jnp.sum(factor**2, axis=(-3, -2, -1)))
    return finite


def _change(direction, scores):
    """Change O δ by one array, at the walkers of the sample: (hamiltonians, walkers, parts)."""
    matrix = direction.reshape(scores.rows.shape[-1], -1)
    if scores.columns is None:
        return jnp.sum(scores.rows * matrix.T[None, None, None], axis=(-2, -1))
    return jnp.sum(jnp.matmul(scores.rows, matrix, precision="highest") * scores.columns, axis=(-2, -1))
