import abc
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float


class AbstractPairFactor(eqx.Module):
    """Logarithm J of a symmetric factor of the wavefunction that a network conditions, smooth in all positions.

    It is a function of the positions, of the parameters of one Hamiltonian and of the condition vector c that a network
    makes of them, which is what trained parts depend on.
    """

    @abc.abstractmethod
    def __call__(
        self, r: Float[Array, "electrons dim"], parameters: Any, condition: Float[Array, " condition"]
    ) -> Float[Array, ""]:
        """Logarithm of the factor at one configuration."""

    @abc.abstractmethod
    def derivatives(
        self, r: Float[Array, "electrons dim"], parameters: Any, condition: Float[Array, " condition"]
    ) -> tuple[Float[Array, ""], Float[Array, "electrons dim"], Float[Array, ""]]:
        """The logarithm with its gradient and Laplacian."""
