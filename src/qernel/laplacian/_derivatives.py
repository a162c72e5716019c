"""The contract of a method that differentiates log ψ twice."""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float

from qernel.ansatz import Derivatives, LogPsi


class AbstractLaplacian(eqx.Module):
    r"""Method to differentiate log ψ twice: `laplacian(log_psi_of_r, r) -> Derivatives`.

    `r` is one configuration `(electrons, dim)` in effective Bohr radii. The
    [`Derivatives`][qernel.ansatz.Derivatives] are $\log\psi$, $\nabla\log\psi$ `(electrons, dim)` and
    $\sum_k\partial_k^2\log\psi$, complex where ψ is: what a kinetic energy is made of,
    $-\frac12(\nabla^2\log\psi + \nabla\log\psi\cdot\nabla\log\psi)$.
    """

    @abstractmethod
    def __call__(
        self, log_psi: Callable[[Float[Array, "electrons dim"]], LogPsi], r: Float[Array, "electrons dim"]
    ) -> Derivatives:
        """Differentiate `log_psi` at the configuration `r`."""
