"""Stochastic reconfiguration in sample space (minSR) with SPRING momentum."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Inexact, Int, PyTree

from ._contract import AbstractOptimiser, LogPsiDerivatives, Update


class SpringState(eqx.Module):
    """Last direction (before the learning rate) and step number."""

    direction: Float[Array, " parameters"]
    step: Int[Array, ""]


def gram_matrix(rows: Float[Array, "rows parameters"], block: int = 65536) -> Float[Array, "rows rows"]:
    """$O O^T$, products in the scores' dtype, sums over blocks of parameters in the widest enabled one.

    Blocks bound the length of a float32 sum, and with it the rounding that could cost a float32 Gram matrix its
    positive-definiteness, at the cost of float32 products.
    """
    total = jnp.zeros((rows.shape[0], rows.shape[0]), float)
    for start in range(0, rows.shape[1], block):
        piece = rows[:, start : start + block]
        total = total + jnp.matmul(piece, piece.T, precision="highest").astype(total.dtype)
    return total


def solve_positive(
    matrix: Float[Array, "n n"], right: Float[Array, " n"], floor: Float[Array, ""]
) -> tuple[Float[Array, " n"], Bool[Array, ""]]:
    """Solve with a symmetric positive matrix by Cholesky; where that fails, by eigenvalues no smaller than `floor`.

    **Returns:** solution and whether the fallback was used.
    """
    factor = jnp.linalg.cholesky(matrix)
    solution = jax.scipy.linalg.cho_solve((factor, True), right)
    failed = ~jnp.all(jnp.isfinite(solution))

    def by_eigenvalues(_):
        values, vectors = jnp.linalg.eigh(matrix)
        return vectors @ ((vectors.T @ right) / jnp.maximum(values, floor))

    return jax.lax.cond(failed, by_eigenvalues, lambda x: x, solution), failed


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
    from dominating; `balance=False` sets them to one.

    - `learning_rate`: η in inverse effective Hartree (imaginary time), a number or a schedule of the step.
    - `damping`: ε, relative to the mean diagonal of $O O^T$.
    - `trust_region`: largest allowed $\eta\,\|O\delta\|$, the root-mean-square change of log ψ in one step; s
      shrinks the step.
    - The system is factorised in float64 where it is enabled, by Cholesky with an eigenvalue fallback.

    **Source:** minSR arXiv:2302.01941; SPRING arXiv:2401.10190.
    """

    learning_rate: float | Callable = eqx.field(static=True, default=1.0)
    damping: float = eqx.field(static=True, default=1e-3)
    momentum: float = eqx.field(static=True, default=0.9)
    trust_region: float = eqx.field(static=True, default=0.3)
    balance: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        if self.damping <= 0:
            raise ValueError(f"damping must be positive, got {self.damping}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {self.momentum}")
        if self.trust_region <= 0:
            raise ValueError(f"trust_region must be positive, got {self.trust_region}")

    def init(self, trained: PyTree) -> SpringState:
        flat, _ = ravel_pytree(trained)
        return SpringState(jnp.zeros_like(flat), jnp.zeros((), jnp.int32))

    def update(
        self,
        derivatives: LogPsiDerivatives,
        residuals: Inexact[Array, "hamiltonians walkers"],
        mask: Bool[Array, "hamiltonians walkers"],
        state: Any,
    ) -> Update:
        rows, right = sample_space_system(derivatives.scores(), residuals, mask, self.balance)
        flat, unravel = ravel_pytree(derivatives.trained)
        right = right - self.momentum * jnp.matmul(rows, state.direction, precision="highest")
        gram = gram_matrix(rows)
        shift = self.damping * jnp.mean(jnp.diagonal(gram)) + jnp.finfo(gram.dtype).tiny
        damped = gram + shift * jnp.eye(gram.shape[0], dtype=gram.dtype)
        solution, fallback = solve_positive(damped, right.astype(gram.dtype), shift)
        direction = jnp.matmul(solution.astype(rows.dtype), rows, precision="highest")
        direction = direction + self.momentum * state.direction
        rate = self.learning_rate
        rate = jnp.asarray(rate(state.step) if callable(rate) else rate, flat.dtype)
        moved = jnp.linalg.norm(jnp.matmul(rows, direction, precision="highest"))
        distance = rate * moved
        shrink = jnp.minimum(1, self.trust_region / jnp.maximum(distance, jnp.finfo(flat.dtype).tiny))
        step = rate * shrink * direction
        return Update(
            unravel(flat - step),
            SpringState(direction, state.step + 1),
            jnp.linalg.norm(step),
            distance * shrink,
            shrink,
            fallback,
        )


def sample_space_system(
    scores: Float[Array, "hamiltonians walkers parts parameters"],
    residuals: Inexact[Array, "hamiltonians walkers"],
    mask: Bool[Array, "hamiltonians walkers"],
    balance: bool,
) -> tuple[Float[Array, "rows parameters"], Float[Array, " rows"]]:
    """Centred, weighted rows O and right-hand side ε of the least-squares problem O δ = ε."""
    dtype = scores.dtype
    valid = mask & jnp.all(jnp.isfinite(scores), axis=(2, 3))
    keep = valid[:, :, None, None]
    count = jnp.maximum(jnp.sum(valid, axis=1), 1).astype(dtype)[:, None, None, None]
    scores = jnp.where(keep, scores, 0)
    mean = jnp.sum(scores, axis=1, keepdims=True) / count
    centred = jnp.where(keep, scores - mean, 0)
    parts = [residuals.real, residuals.imag] if scores.shape[2] == 2 else [residuals.real]
    right = jnp.where(valid[:, :, None], jnp.stack(parts, axis=-1).astype(dtype), 0)
    if balance:
        spread = jnp.sqrt(jnp.sum(right**2, axis=(1, 2), keepdims=True) / count[..., 0])
        # A nearly exact eigenstate must not take over: no weight above that of a tenth of the mean spread.
        floor = jnp.maximum(0.1 * jnp.mean(spread), jnp.finfo(dtype).tiny ** 0.25)
        weight = 1 / jnp.maximum(spread, floor)
        weight = weight / jnp.mean(weight)
    else:
        weight = jnp.ones((scores.shape[0], 1, 1), dtype)
    scale = jnp.sqrt(weight / (count[..., 0] * scores.shape[0]))
    rows = (centred * scale[..., None]).reshape(-1, scores.shape[-1])
    return rows, (right * scale).reshape(-1)
