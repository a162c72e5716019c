"""The contract of the choices."""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float

from qernel.ansatz import Derivatives, LogPsi


class AbstractLaplacian(eqx.Module):
    """How to differentiate log ψ twice: `laplacian(log_psi_of_r, r) -> Derivatives`."""

    @abstractmethod
    def __call__(
        self, log_psi: Callable[[Float[Array, "electrons dim"]], LogPsi], r: Float[Array, "electrons dim"]
    ) -> Derivatives:
        """Differentiate `log_psi` at the configuration `r`."""
