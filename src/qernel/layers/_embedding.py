import abc
from typing import Any

import equinox as eqx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from qernel.propagation import Jet, PairJet


class AbstractPairBias(eqx.Module):
    """Attention logits of pairs of electrons, made of what an embedding knows of each, linear in `weights`."""

    weights: eqx.AbstractVar[Float[Array, "heads waves"]]

    @abc.abstractmethod
    def __call__(self, embedded: Float[Array, "electrons features"]) -> Float[Array, "heads electrons electrons"]:
        """The bias of every pair from the embedded positions."""

    @abc.abstractmethod
    def propagate(self, embedded: Jet) -> PairJet:
        """The bias with derivatives, from a jet of the electrons' own positions."""


class AbstractEmbedding(eqx.Module):
    """Features of each electron's position, before any electron knows of another.

    Row i depends on $r_i$ alone, smoothly. An embedding may follow the parameters of the Hamiltonian, by a length, say.
    """

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """The number of dimensions."""

    @property
    @abc.abstractmethod
    def features(self) -> int:
        """The number of features."""

    @abc.abstractmethod
    def __call__(
        self, r: Float[Array, "*electrons dim"], parameters: Any = None
    ) -> Float[Array, "*electrons features"]:
        """The features of positions, for the parameters of one Hamiltonian."""

    @abc.abstractmethod
    def pair_bias(self, heads: int, dtype: DTypeLike) -> AbstractPairBias:
        """A trained bias of pairs that understands these features; it starts at zero."""
