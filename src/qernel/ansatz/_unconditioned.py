from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from qernel.layers import Frozen

from ._contract import Ansatz, AtParameters, LogPsi


class Unconditioned(eqx.Module):
    r"""Any wavefunction with the Hamiltonian's parameters held fixed, one and the same for the whole family,

    $$ \psi(r; \lambda) = \psi_0(r; \lambda_0) . $$

    What conditioning is worth is the energy that this one lacks. The constants $\lambda_0$ are never trained.

    **Arguments:** `ansatz`, the wavefunction $\psi_0$; `parameters`, the parameter pytree $\lambda_0$ of one
    Hamiltonian.
    """

    ansatz: Ansatz
    parameters: Frozen

    def __init__(self, ansatz: Ansatz, parameters: Any):
        self.ansatz = ansatz
        self.parameters = Frozen(parameters)

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> LogPsi:
        """Logarithm of ψ at one configuration `r`, whatever the parameters."""
        del parameters
        return self.fixed(r)

    @property
    def fixed(self) -> AtParameters:
        """The wavefunction as a function of the positions alone."""
        return AtParameters(self.ansatz, self.parameters.module)
