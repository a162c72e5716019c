"""The metric of one array of parameters as a Kronecker product, with its eigenvalues measured."""

from collections import defaultdict
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._contract import OuterProducts

# The eigenvectors of a longer axis would cost more than the rest of a step: it keeps its own basis.
LONGEST = 1024
# Vectors of one eigenvalue, zero above all, are told apart by this share of the mean eigenvalue: rounding, which
# depends on the number of devices, would choose others each time.
SEPARATION = 1e-4


class KroneckerMetric(eqx.Module):
    r"""Metric $U\,\mathrm{diag}(v)\,U^T$, $U = U_m \otimes U_n$, of an array whose leading axis is m and all others n.

    **Fields:**

    - `rows`, `columns`: second moments of the two factors of the scores.
    - `row_basis`, `column_basis`: $U_m$ and $U_n$, their eigenvectors when these were last computed.
    - `variance`: v, that of the scores in this basis.

    An axis of length one, or longer than 1024, has neither moments nor a basis.
    """

    rows: Float[Array | np.ndarray, "m m"] | None
    columns: Float[Array | np.ndarray, "n n"] | None
    row_basis: Float[Array | np.ndarray, "m m"] | None
    column_basis: Float[Array | np.ndarray, "n n"] | None
    variance: Float[Array | np.ndarray, "m n"]

    @staticmethod
    def empty(array: Float[Array, "..."]) -> "KroneckerMetric":
        """Metric of an array before anything was measured, in NumPy's arrays (JAX's would compile for each shape)."""
        shape = jax.eval_shape(_matrix, array).shape
        moments = [np.zeros((size, size), array.dtype) if 1 < size <= LONGEST else None for size in shape]
        bases = [None if moment is None else np.eye(len(moment), dtype=array.dtype) for moment in moments]
        return KroneckerMetric(moments[0], moments[1], bases[0], bases[1], np.zeros(shape, array.dtype))

    def solve(self, slope: Float[Array, "*shape"], damping: Float[Array, ""]) -> Float[Array, "*shape"]:
        r"""Multiply an array of slopes by $(U\,\mathrm{diag}(v)\,U^T + \epsilon)^{-1}$, ε the `damping`."""
        inside = _in_basis(_in_basis(_matrix(slope), self.row_basis, -2), self.column_basis, -1)
        inside = inside / (self.variance + damping.astype(slope.dtype))
        bases = [None if basis is None else basis.T for basis in (self.row_basis, self.column_basis)]
        return _in_basis(_in_basis(inside, bases[0], -2), bases[1], -1).reshape(slope.shape)

    def with_moments(
        self, scores: OuterProducts, shares: Float[Array, "hamiltonians walkers"], keep: Float[Array, ""]
    ) -> "KroneckerMetric":
        """Replace the moments by `keep` times the last and (1 - keep) times those of new scores.

        **Arguments:** `scores`, zero where a walker does not count; `shares`, weights of the walkers, of sum one.
        """

        def moment(last, factor, axes):
            if last is None:
                return None
            weighted = factor * shares[..., None, None, None]
            return keep * last + (1 - keep) * jnp.einsum(axes, weighted, factor, precision="highest")

        rows, columns = scores.rows, scores.columns
        # Without columns, the terms of the rows are the columns.
        across = (rows, "hwkmt,hwknt->mn") if columns is None else (columns, "hwktm,hwktn->mn")
        moments = moment(self.rows, rows, "hwktm,hwktn->mn"), moment(self.columns, *across)
        return KroneckerMetric(*moments, self.row_basis, self.column_basis, self.variance)

    def with_variance(
        self,
        scores: OuterProducts,
        seen: Bool[Array, "hamiltonians walkers"],
        shares: Float[Array, "hamiltonians walkers"],
        keep: Float[Array, ""],
    ) -> "KroneckerMetric":
        """Replace the variance by `keep` times the last and (1 - keep) times that of new scores.

        **Arguments:** `scores`, to be centred per Hamiltonian over the walkers `seen`, zero at the others; `shares`,
        weights of the walkers, of sum one.
        """
        rows = _in_basis(scores.rows, self.row_basis, -1)
        if scores.columns is None:
            values = jnp.swapaxes(_in_basis(rows, self.column_basis, -2), -1, -2)
        else:
            columns = _in_basis(scores.columns, self.column_basis, -1)
            values = jnp.einsum("hwktm,hwktn->hwkmn", rows, columns, precision="highest")
        count = jnp.maximum(jnp.sum(seen, axis=1), 1).astype(values.dtype)
        mean = jnp.sum(values, axis=1, keepdims=True) / count[:, None, None, None, None]
        values = jnp.where(seen[..., None, None, None], values - mean, 0)
        # The mean is that of the same walkers; about its own, one has no spread.
        shares = shares * (count / jnp.maximum(count - 1, 1))[:, None]
        new = jnp.sum(values**2 * shares[..., None, None, None], axis=(0, 1, 2))
        return eqx.tree_at(lambda metric: metric.variance, self, keep * self.variance + (1 - keep) * new)


def refreshed(metrics: list[KroneckerMetric]) -> list[KroneckerMetric]:
    """Turn metrics, in stacks, into the eigenvectors of their moments."""
    moments = [moment for metric in metrics for moment in (metric.rows, metric.columns)]
    sizes = defaultdict(list)
    for number, moment in enumerate(moments):
        if moment is not None:
            sizes[moment.shape[-1]].append(number)
    bases: list[Any] = [None] * len(moments)
    done = jnp.asarray(True)
    for numbers in sizes.values():
        together = _without_degeneracy(jnp.concatenate([moments[number] for number in numbers]))
        # One size waits for another: two batched factorisations at once can deadlock XLA's CPU pool.
        together = jnp.where(done, together, jnp.nan)
        vectors = jnp.linalg.eigh(together).eigenvectors
        done = jnp.isfinite(jnp.sum(vectors))
        ends = np.cumsum([len(moments[number]) for number in numbers])
        for number, basis in zip(numbers, jnp.split(vectors, ends[:-1]), strict=True):
            bases[number] = basis

    def in_new_basis(metric, row_basis, column_basis):
        # The diagonal there of what is diagonal in the old one.
        variance = metric.variance
        if row_basis is not None:
            variance = _in_basis(variance, _overlap(metric.row_basis, row_basis), -2)
        if column_basis is not None:
            variance = _in_basis(variance, _overlap(metric.column_basis, column_basis), -1)
        return KroneckerMetric(metric.rows, metric.columns, row_basis, column_basis, variance)

    return [jax.vmap(in_new_basis)(metric, *bases[2 * n : 2 * n + 2]) for n, metric in enumerate(metrics)]


def _without_degeneracy(moments):
    size = moments.shape[-1]
    mean = jnp.trace(moments, axis1=-2, axis2=-1)[:, None, None] / size
    return moments + SEPARATION * mean * jnp.diag(jnp.arange(1, size + 1, dtype=moments.dtype) / size)[None]


def _matrix(array):
    return array.reshape(len(array) if array.ndim else 1, -1)


def _overlap(old, new):
    return jnp.matmul(old.T, new, precision="highest") ** 2


def _in_basis(values, basis, axis):
    """Turn the last axis but one, or the last, into a basis; without one leave it."""
    if basis is None:
        return values
    if axis == -2:
        return jnp.matmul(basis.T, values, precision="highest")
    return jnp.matmul(values, basis, precision="highest")
