"""The contract of a method that differentiates log ψ twice."""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.ansatz import AtParameters, Derivatives, LogPsi, Unconditioned


class AbstractLaplacian(eqx.Module):
    r"""Method to differentiate log ψ twice: `laplacian(log_psi_of_r, r, key=key) -> Derivatives`.

    `r` is one configuration `(electrons, dim)` in effective Bohr radii. The
    [`Derivatives`][qernel.ansatz.Derivatives] are $\log\psi$, $\nabla\log\psi$ `(electrons, dim)` and
    $\sum_k\partial_k^2\log\psi$, complex where ψ is: what a kinetic energy is made of,
    $-\frac12(\nabla^2\log\psi + \nabla\log\psi\cdot\nabla\log\psi)$. Exact methods take no notice of the `key`;
    a random one, whose Laplacian is right in the mean over keys, raises `ValueError` without one.
    """

    @abstractmethod
    def __call__(
        self,
        log_psi: Callable[[Float[Array, "electrons dim"]], LogPsi],
        r: Float[Array, "electrons dim"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Derivatives:
        """Differentiate `log_psi` at the configuration `r`."""


class AbstractRandomLaplacian(AbstractLaplacian):
    """Method whose Laplacian has noise: right in the mean over keys, and so is the energy."""

    @abstractmethod
    def exact(self, electrons: int) -> "AbstractLaplacian":
        """Return the method with which its rules have no noise, for so many electrons."""


def without_constants(log_psi: Callable[..., LogPsi]) -> Callable[..., LogPsi]:
    """The wavefunction inside one whose parameters are held fixed, which knows a faster way to its derivatives."""
    if isinstance(log_psi, AtParameters) and isinstance(log_psi.ansatz, Unconditioned):
        return log_psi.ansatz.fixed
    return log_psi
