"""The contract of an optimiser of wavefunctions."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import Array, Bool, Float, Inexact, PyTree


@runtime_checkable
class OuterProducts(Protocol):
    r"""Scores of one array of parameters, its leading axis m and all others n, as sums of outer products:
    $O_{k,mn} = \sum_t \mathrm{rows}_{ktm}\,\mathrm{columns}_{ktn}$ for each walker and part; without columns
    $O_{k,mn} = \mathrm{rows}_{knm}$."""

    @property
    def rows(self) -> Float[Array, "hamiltonians walkers parts terms m"]:
        """Factors of the leading axis."""
        ...

    @property
    def columns(self) -> Float[Array, "hamiltonians walkers parts terms n"] | None:
        """Factors of all other axes, or None."""
        ...


Products = tuple[
    Callable[[PyTree], Float[Array, "hamiltonians walkers parts"]],
    Callable[[Float[Array, "hamiltonians walkers parts"]], PyTree],
]


@runtime_checkable
class Gram(Protocol):
    r"""Gram matrix $\bar O\bar O^T$ of the scores of all walkers, and the two linear maps of O."""

    @property
    def matrix(self) -> Float[Array, "rows rows"]:
        """Products of the centred scores, rows in the order (part, Hamiltonian, walker)."""
        ...

    @property
    def valid(self) -> Bool[Array, "hamiltonians walkers"]:
        """Mask of the walkers that count; the rows of the others are zero."""
        ...

    @property
    def forward(self) -> Callable[[PyTree], Float[Array, "hamiltonians walkers parts"]]:
        """Linear map O before centring."""
        ...

    @property
    def transpose(self) -> Callable[[Float[Array, "hamiltonians walkers parts"]], PyTree]:
        """Transpose of `forward`."""
        ...


@runtime_checkable
class LogPsiDerivatives(Protocol):
    r"""Derivatives of log ψ that an optimiser may ask for, each of which it pays for only if it does.

    They are rows of the matrix $O = \partial\log\psi/\partial\theta$, one for each walker and part (log-modulus, and
    phase of a complex ψ); `trained` are the parameters θ. [`LogDerivatives`][qernel.gradient.LogDerivatives] has them.
    """

    trained: PyTree

    def gram(self, mask: Bool[Array, "hamiltonians walkers"]) -> Gram:
        r"""Gram matrix $\bar O\bar O^T$, centred per Hamiltonian over the walkers of `mask` with finite scores."""
        ...

    def finite(self, mask: Bool[Array, "hamiltonians walkers"]) -> Bool[Array, "hamiltonians walkers"]:
        """Mask of the walkers of `mask` with finite scores."""
        ...

    def products(self, valid: Bool[Array, "hamiltonians walkers"]) -> Products:
        """Linear map O, from `trained` to `(hamiltonians, walkers, parts)`, and its transpose."""
        ...

    def outer_products(self, stride: int) -> Sequence[OuterProducts]:
        """Scores of every `stride`-th walker, one entry for each leaf of `trained`."""
        ...

    def gradient(self, residuals: Inexact[Array, "hamiltonians walkers"]) -> PyTree:
        r"""Energy gradient $2\,\mathrm{Re}\,\langle (E_\mathrm{loc}-\bar E)^* O\rangle$ from the centred residuals."""
        ...


class Update(eqx.Module):
    r"""Result of one step of an optimiser.

    **Fields:**

    - `trained`: the new parameters.
    - `state`: the optimiser's new state.
    - `step_norm`: $\|\delta\theta\|$.
    - `distance`: the change $\sqrt{\langle|\delta\log\psi|^2\rangle}$ of the wavefunction, NaN where it is not known.
    - `shrink`: the factor applied by the trust region.
    - `fallback`: whether the linear solver had to do with less than it promises
      ([`Cholesky`][qernel.optimise.Cholesky]: eigenvalues were used).
    """

    trained: PyTree
    state: Any
    step_norm: Float[Array, ""]
    distance: Float[Array, ""]
    shrink: Float[Array, ""]
    fallback: Bool[Array, ""]


class AbstractOptimiser(eqx.Module):
    """`init` and `update` in optax style, over the trained part of an ansatz."""

    @abstractmethod
    def init(self, trained: PyTree) -> Any:
        """State of the optimiser before the first step."""

    @abstractmethod
    def update(
        self,
        derivatives: LogPsiDerivatives,
        residuals: Inexact[Array, "hamiltonians walkers"],
        mask: Bool[Array, "hamiltonians walkers"],
        state: Any,
    ) -> Update:
        """Take one step.

        **Arguments:** `derivatives` of log ψ; `residuals`, the centred, clipped local energies in effective Hartree;
        `mask`, the walkers whose local energy is finite; `state`, from `init` or the last step.
        """
