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
    def rows(self) -> Float[Array, "hamiltonians walkers parts terms m"]: ...

    @property
    def columns(self) -> Float[Array, "hamiltonians walkers parts terms n"] | None: ...


Products = tuple[
    Callable[[PyTree], Float[Array, "hamiltonians walkers parts"]],
    Callable[[Float[Array, "hamiltonians walkers parts"]], PyTree],
]


@runtime_checkable
class Gram(Protocol):
    r"""$\bar O\bar O^T$, rows in the order (part, Hamiltonian, walker), the walkers that count (the rows of others are
    zero), and the two linear maps of O."""

    @property
    def matrix(self) -> Float[Array, "rows rows"]: ...

    @property
    def valid(self) -> Bool[Array, "hamiltonians walkers"]: ...

    @property
    def forward(self) -> Callable[[PyTree], Float[Array, "hamiltonians walkers parts"]]: ...

    @property
    def transpose(self) -> Callable[[Float[Array, "hamiltonians walkers parts"]], PyTree]: ...


@runtime_checkable
class LogPsiDerivatives(Protocol):
    """What an optimiser may ask of a wavefunction; [`LogDerivatives`][qernel.gradient.LogDerivatives] is one.

    `trained` are the trained parameters. Of the matrix O of derivatives of log ψ at every walker, centred per
    Hamiltonian: `gram(mask)` gives $O O^T$, the walkers that count, and the two linear maps of the matrix before
    centring, from `trained` to `(hamiltonians, walkers, parts)` and back; `products(valid)` these maps alone, by passes
    of the network; `finite(mask)` only the walkers that count; `outer_products(stride)` the scores of every `stride`-th
    walker, one entry for each leaf of `trained`. `gradient(residuals)` is the energy gradient.
    """

    trained: PyTree

    def gram(self, mask: Bool[Array, "hamiltonians walkers"]) -> Gram: ...

    def finite(self, mask: Bool[Array, "hamiltonians walkers"]) -> Bool[Array, "hamiltonians walkers"]: ...

    def products(self, valid: Bool[Array, "hamiltonians walkers"]) -> Products: ...

    def outer_products(self, stride: int) -> Sequence[OuterProducts]: ...

    def gradient(self, residuals: Inexact[Array, "hamiltonians walkers"]) -> PyTree: ...


class Update(eqx.Module):
    r"""What an optimiser returns: new `trained` parameters, its new `state`, and facts about the step.

    `step_norm` is $\|\delta\theta\|$, `distance` the change $\sqrt{\langle|\delta\log\psi|^2\rangle}$ of the
    wavefunction (NaN where it is not known), `shrink` the factor applied by the trust region, `fallback` whether
    the linear solver had to do with less than it promises (`Cholesky`: eigenvalues were used).
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
        """One step from the log-derivatives and the centred, clipped local energies."""
