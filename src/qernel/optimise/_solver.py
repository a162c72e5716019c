"""Linear system of stochastic reconfiguration, solved by factorising its matrix or by products with it alone."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from ._contract import LogPsiDerivatives, Products


class System(NamedTuple):
    r"""Linear equations $(A + \epsilon)\,x = b$, one for each row (part, Hamiltonian, walker).

    **Fields:**

    - `product`: x -> A x, by O and its transpose.
    - `weights`: $w$ of the rows, zero where a walker does not count, with $A = w\,G\,w$ for the Gram matrix G.
    - `right`: b.
    - `damping`: ε relative to the mean diagonal of A over the rows that count.
    """

    product: Callable[[Float[Array, " rows"]], Float[Array, " rows"]]
    weights: Float[Array, " rows"]
    right: Float[Array, " rows"]
    damping: float


class Solution(NamedTuple):
    """Solution of a [`System`][qernel.optimise.System].

    **Fields:**

    - `x`: the solution.
    - `product`: A x.
    - `fallback`: whether the method had to do with less than it promises.
    """

    x: Float[Array, " rows"]
    product: Float[Array, " rows"]
    fallback: Bool[Array, ""]


class AbstractSolver(eqx.Module):
    r"""Solves $(A + \epsilon)\,x = b$ in the space of samples, $A = O O^T$."""

    @abstractmethod
    def prepare(
        self, derivatives: LogPsiDerivatives, mask: Bool[Array, "hamiltonians walkers"]
    ) -> tuple[Any, Bool[Array, "hamiltonians walkers"], Products]:
        """Collect what `solve` needs of the derivatives.

        **Returns:** it, the walkers that count (in `mask`, with finite derivatives), and the linear maps of O and its
        transpose.
        """

    @abstractmethod
    def solve(self, prepared: Any, system: System) -> Solution:
        """Solve the system with what `prepare` made."""


class Cholesky(AbstractSolver):
    """Builds the matrix from blocks of the derivatives and factorises it, in float64 where that is enabled.

    Exact: fastest up to a few thousand rows (walkers × Hamiltonians × parts), then limited by their square. Where the
    factorisation fails the eigenvalues are used, none smaller than the damping: `fallback`.
    """

    def prepare(
        self, derivatives: LogPsiDerivatives, mask: Bool[Array, "hamiltonians walkers"]
    ) -> tuple[Any, Bool[Array, "hamiltonians walkers"], Products]:
        gram = derivatives.gram(mask)
        return gram.matrix, gram.valid, (gram.forward, gram.transpose)

    def solve(self, prepared: Any, system: System) -> Solution:
        weights = system.weights.astype(prepared.dtype)
        gram = prepared * weights[:, None] * weights[None, :]
        # The smallest number keeps a matrix of zeros, of equal walkers, from being singular.
        shift = system.damping * jnp.trace(gram) / _in_use(weights) + jnp.finfo(gram.dtype).tiny
        damped = gram + shift * jnp.eye(gram.shape[0], dtype=gram.dtype)
        x, fallback = solve_positive(damped, system.right.astype(gram.dtype), shift)
        return Solution(x, gram @ x, fallback)


class ConjugateGradients(AbstractSolver):
    """Solves by products with the matrix alone, in the memory of a few passes of the network for any number of rows.

    For many thousands of walkers, or where a pass costs less than the products of all scores.

    **Arguments:**

    - `iterations`: largest number of products, each of two passes.
    - `tolerance`: they end when the residual is so many times the right-hand side. If they do not get there the last
      iterate is taken: `fallback`. The right-hand side has the noise of its samples, far larger than the default.
    - `seed`: of the random signs that one product estimates the mean diagonal with, for the damping.

    **Raises:** `ValueError` for numbers out of range.
    """

    iterations: int = eqx.field(static=True, default=200)
    tolerance: float = eqx.field(static=True, default=1e-3)
    seed: int = eqx.field(static=True, default=0)

    def __check_init__(self):
        if self.iterations < 1 or not 0 < self.tolerance < 1:
            raise ValueError(
                "conjugate gradients need at least one iteration and a tolerance between 0 and 1, got "
                f"{self.iterations} and {self.tolerance}"
            )

    def prepare(
        self, derivatives: LogPsiDerivatives, mask: Bool[Array, "hamiltonians walkers"]
    ) -> tuple[Any, Bool[Array, "hamiltonians walkers"], Products]:
        valid = derivatives.finite(mask)
        # A second evaluation of the network; it depends on `valid`, so it follows the first.
        return None, valid, derivatives.products(valid)

    def solve(self, prepared: Any, system: System) -> Solution:
        product, right = system.product, system.right
        signs = jax.random.rademacher(jax.random.key(self.seed), right.shape, right.dtype)
        shift = system.damping * (signs @ product(signs)) / _in_use(system.weights).astype(right.dtype)
        shift = shift + jnp.finfo(right.dtype).tiny
        damped = lambda x: product(x) + shift * x
        x, _ = jax.scipy.sparse.linalg.cg(damped, right, tol=self.tolerance, maxiter=self.iterations)
        product_x = product(x)
        residual = jnp.linalg.norm(product_x + shift * x - right)
        # The recursion's own residual, which ends it, is not quite this one.
        return Solution(x, product_x, residual > 2 * self.tolerance * jnp.linalg.norm(right))


def _in_use(weights):
    return jnp.maximum(jnp.sum(weights != 0), 1).astype(weights.dtype)


def solve_positive(
    matrix: Float[Array, "n n"], right: Float[Array, " n"], floor: Float[Array, ""]
) -> tuple[Float[Array, " n"], Bool[Array, ""]]:
    """Solve with a symmetric positive matrix by Cholesky; where that fails, by eigenvalues no smaller than `floor`.

    **Arguments:** `matrix`; `right`, the right-hand side; `floor`, positive.

    **Returns:** solution and whether the fallback was used.
    """
    factor = jnp.linalg.cholesky(matrix)
    solution = jax.scipy.linalg.cho_solve((factor, True), right)
    failed = ~jnp.all(jnp.isfinite(solution))

    def by_eigenvalues(_):
        values, vectors = jnp.linalg.eigh(matrix)
        return vectors @ ((vectors.T @ right) / jnp.maximum(values, floor))

    return jax.lax.cond(failed, by_eigenvalues, lambda x: x, solution), failed
