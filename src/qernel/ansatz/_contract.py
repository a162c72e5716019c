"""The contract of a wavefunction: one walker in, log-modulus and phase out."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import Array, Float, Inexact

from qernel.propagation import Probes


class LogPsi(eqx.Module):
    r"""$\log\psi = \texttt{log\_magnitude} + i\,\texttt{phase}$ of one configuration.

    `real=True` states that the wavefunction is real: the phase is then 0 or π, piecewise constant, and no derivative
    of it is ever taken.
    """

    log_magnitude: Float[Array, "..."]
    phase: Float[Array, "..."]
    real: bool = eqx.field(static=True, default=False)


class Derivatives(eqx.Module):
    r"""$\log\psi$ with its gradient and Laplacian in the electrons' positions.

    `gradient` and `laplacian` are complex where the wavefunction is, real otherwise.
    """

    log_psi: LogPsi
    gradient: Inexact[Array, "electrons dim"]
    laplacian: Inexact[Array, ""]


@runtime_checkable
class Ansatz(Protocol):
    """Anything callable as `ansatz(r, parameters) -> LogPsi`: any `eqx.Module` of this form trains.

    `r` is one configuration, `Float[Array, "electrons dim"]`, electrons ordered up then down; `parameters` is the
    Hamiltonian's parameter pytree (arrays), on which the wavefunction may depend.
    """

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> LogPsi: ...


@runtime_checkable
class DifferentiableAnsatz(Protocol):
    """An ansatz that knows a faster way to its derivatives than a general forward Laplacian.

    [`ForwardLaplacian`][qernel.laplacian.ForwardLaplacian] uses `derivatives` where there is one.
    """

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> LogPsi: ...

    def derivatives(self, r: Float[Array, "electrons dim"], parameters: Any) -> Derivatives: ...


@runtime_checkable
class ProbedAnsatz(Protocol):
    """An ansatz that estimates its Laplacian from random directions with less noise and work than a general method.

    [`ProbedLaplacian`][qernel.laplacian.ProbedLaplacian] uses `probed_derivatives` where there is one. Value and
    gradient are exact, and the Laplacian is right in the mean over the signs of the probes.
    """

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> LogPsi: ...

    def probed_derivatives(self, r: Float[Array, "electrons dim"], parameters: Any, probes: Probes) -> Derivatives: ...


class AtParameters(eqx.Module):
    """The wavefunction of one Hamiltonian, a function of the positions alone."""

    ansatz: Ansatz
    parameters: Any

    def __call__(self, r: Float[Array, "electrons dim"]) -> LogPsi:
        """Logarithm of ψ at one configuration."""
        return self.ansatz(r, self.parameters)
