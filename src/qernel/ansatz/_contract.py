"""The contract of a wavefunction: one walker in, log-modulus and phase out."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import Array, Float


class LogPsi(eqx.Module):
    r"""$\log\psi = \texttt{log\_magnitude} + i\,\texttt{phase}$ of one configuration.

    `real=True` states that the wavefunction is real: the phase is then 0 or π, piecewise constant, and no derivative
    of it is ever taken.
    """

    log_magnitude: Float[Array, "..."]
    phase: Float[Array, "..."]
    real: bool = eqx.field(static=True, default=False)


@runtime_checkable
class Ansatz(Protocol):
    """Anything callable as `ansatz(r, parameters) -> LogPsi`: any `eqx.Module` of this form trains.

    `r` is one configuration, `Float[Array, "electrons dim"]`, electrons ordered up then down; `parameters` is the
    Hamiltonian's parameter pytree (arrays), on which the wavefunction may depend.
    """

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> LogPsi: ...
