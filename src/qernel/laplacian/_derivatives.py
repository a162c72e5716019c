"""What a Laplacian returns, and the contract of the choices."""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float, Inexact

from qernel.ansatz import LogPsi


class Derivatives(eqx.Module):
    r"""$\log\psi$ with its gradient and Laplacian in the electrons' positions.

    `gradient` and `laplacian` are complex where the wavefunction is, real otherwise.
    """

    log_psi: LogPsi
    gradient: Inexact[Array, "electrons dim"]
    laplacian: Inexact[Array, ""]


class AbstractLaplacian(eqx.Module):
    """How to differentiate log ψ twice: `laplacian(log_psi_of_r, r) -> Derivatives`."""

    @abstractmethod
    def __call__(
        self, log_psi: Callable[[Float[Array, "electrons dim"]], LogPsi], r: Float[Array, "electrons dim"]
    ) -> Derivatives:
        """Differentiate `log_psi` at the configuration `r`."""
