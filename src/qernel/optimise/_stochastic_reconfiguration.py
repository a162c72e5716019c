"""Stochastic reconfiguration in sample space (minSR) with SPRING momentum."""

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
from ._solver import AbstractSolver, Cholesky, System


class SpringState(eqx.Module):
    """Memory of [`StochasticReconfiguration`][qernel.optimise.StochasticReconfiguration].

    **Fields:**

    - `direction`: the last one, before the learning rate.
    - `step`: number of steps taken.
    """

    direction: PyTree[Float[Array, "..."]]
    step: Int[Array, ""]


class StochasticReconfiguration(AbstractOptimiser):
    r"""Natural-gradient descent solved in the space of samples, one system over all Hamiltonians,

    $$ \delta = O^T (O O^T + \epsilon)^{-1} (\varepsilon - \mu\,O\,\delta_\mathrm{prev})
       + \mu\,\delta_\mathrm{prev}, \qquad \theta \leftarrow \theta - \eta_t\,s\,\delta , $$

    with rows $O_{hw} = \sqrt{a_h / n}\,(\partial_\theta\log\psi - \langle\cdot\rangle_h)$, centred per
    Hamiltonian, for the log-modulus and (complex ψ) the phase, so that
    $O^T O = \mathrm{Re}\langle\bar O^\dagger\bar O\rangle$; and
    $\varepsilon_{hw} = \sqrt{a_h / n}\,(E_\mathrm{loc} - \bar E_h)$. With `momentum` μ = 0 this is minSR; with
    μ > 0 SPRING.
    The weights $a_h \propto 1/\sigma_h$ (mean one; σ the spread of the residuals) keep one hard Hamiltonian
    from dominating.

    **Arguments:**

    - `learning_rate`: η, an imaginary time, in the inverse unit of the energies that it is given
      ([`Method`][qernel.training.Method] says which); a number or a schedule of the step.
    - `damping`: ε, relative to the mean diagonal of $O O^T$ over the walkers in use.
    - `momentum`: μ, the share of the last direction that is kept.
    - `trust_region`: largest allowed $\eta\,\|O\delta\|$, the root-mean-square change of log ψ in one step; s
      shrinks the step.
    - `balance`: False sets all weights $a_h$ to one.
    - `solver`: [`Cholesky`][qernel.optimise.Cholesky] or, for very many walkers,
      [`ConjugateGradients`][qernel.optimise.ConjugateGradients].

    **Raises:** `ValueError` for numbers out of range.

    **Source:** minSR arXiv:2302.01941; SPRING arXiv:2401.10190.

    **Example:**

    ```python
    from qernel.optimise import StochasticReconfiguration

    optimiser = StochasticReconfiguration(learning_rate=lambda step: 0.2 / (1 + step / 200), momentum=0.95)
    ```
    """

    # The trust region is what bounds early steps: ψ may change by a third in one, where norm constraints of 1e-3 are
    # usual and train far too slowly. The rate is an imaginary time, in the unit of the inverse energy.
    learning_rate: float | Callable = eqx.field(static=True, default=1.0)
    damping: float = eqx.field(static=True, default=1e-2)
    momentum: float = eqx.field(static=True, default=0.9)
    trust_region: float = eqx.field(static=True, default=0.3)
    balance: bool = eqx.field(static=True, default=True)
    solver: AbstractSolver = Cholesky()

    def __check_init__(self):
        check_positive(learning_rate=self.learning_rate, damping=self.damping)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        # Infinite where no step is to be shrunk.
        if not self.trust_region > 0:
            raise ValueError(f"trust_region must be positive, got {self.trust_region}")

    def init(self, trained: PyTree) -> SpringState:
        # Zeros of NumPy's: those of JAX compile a program for each shape.
        zeros = jax.tree.map(lambda x: jnp.asarray(np.zeros(x.shape, x.dtype)), trained)
        return SpringState(zeros, jnp.zeros((), jnp.int32))

    def update(
        self,
        derivatives: LogPsiDerivatives,
        residuals: Inexact[Array, "hamiltonians walkers"],
        mask: Bool[Array, "hamiltonians walkers"],
        state: Any,
    ) -> Update:
        prepared, valid, (forward, transpose) = self.solver.prepare(derivatives, mask)
        remembered = jax.tree.map(lambda x: self.momentum * x, state.direction)
        known = forward(remembered)
        scale, targets = self._targets(residuals, valid, parts=known.shape[-1])

        def rows(values):
            """Make rows of the system of values (hamiltonians, walkers, parts): centred, weighted."""
            return jnp.moveaxis(centred(values, valid) * scale, -1, 0).reshape(-1)

        def parameters(rows):
            """Transpose `rows` after O: from rows of the system to changes of the parameters."""
            weighted = jnp.moveaxis(rows.reshape(-1, *mask.shape), 0, -1) * scale
            return transpose(centred(weighted, valid).astype(known.dtype))

        expected = rows(known)
        right = rows(targets) - expected
        # The factorisation must wait for the network's own (two at once can deadlock XLA's CPU pool).
        done = jnp.isfinite(jnp.sum(expected))
        weights = jnp.where(valid & done, scale[..., 0], 0).reshape(-1)
        weights = jnp.tile(weights, known.shape[-1])
        product = lambda x: rows(forward(parameters(x))).astype(x.dtype)
        solution = self.solver.solve(prepared, System(product, weights, right, self.damping))
        direction = jax.tree.map(jnp.add, parameters(solution.x.astype(targets.dtype)), remembered)
        rate = self.learning_rate
        rate = jnp.asarray(rate(state.step) if callable(rate) else rate, targets.dtype)
        # O δ from what is known: O O^T x + μ O δ_prev.
        distance = rate * jnp.linalg.norm(solution.product + expected.astype(solution.product.dtype)).astype(rate.dtype)
        shrink = jnp.minimum(1, self.trust_region / jnp.maximum(distance, jnp.finfo(rate.dtype).tiny))
        rate = rate * shrink
        return Update(
            jax.tree.map(lambda x, change: x - rate.astype(x.dtype) * change, derivatives.trained, direction),
            SpringState(direction, state.step + 1),
            rate * jnp.linalg.norm(as_one(direction)).astype(rate.dtype),
            distance * shrink,
            shrink,
            solution.fallback,
        )

    def _targets(self, residuals, valid, parts):
        r"""Factors $\sqrt{a_h / n}$ of each Hamiltonian, and centred residuals as (hamiltonians, walkers, parts)."""
        stacked = [residuals.real, residuals.imag] if parts == 2 else [residuals.real]
        targets = centred(jnp.stack(stacked, axis=-1), valid)
        count = jnp.maximum(jnp.sum(valid, axis=1), 1).astype(targets.dtype)[:, None, None]
        weight = balanced_weights(targets, valid)[:, None, None] if self.balance else jnp.ones_like(count)
        return jnp.sqrt(weight / (count * valid.shape[0])), targets
