"""The density of one Hamiltonian, as a kernel sees it."""

from typing import Any, Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import Array, Float, Int


@runtime_checkable
class UpdatableDensity(Protocol):
    """A log-density that knows how it changes when one electron moves, at less than the cost of a new evaluation.

    - `begin(r, parameters)` returns the log-density of a configuration and a `cache` (any pytree of arrays).
    - `moved(cache, r, electron, position, parameters)` returns both after `electron` has gone to `position`; `r` is the
      configuration before.
    """

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> Float[Array, ""]: ...

    def begin(self, r: Float[Array, "electrons dim"], parameters: Any) -> tuple[Float[Array, ""], Any]: ...

    def moved(
        self,
        cache: Any,
        r: Float[Array, "electrons dim"],
        electron: Int[Array, ""],
        position: Float[Array, " dim"],
        parameters: Any,
    ) -> tuple[Float[Array, ""], Any]: ...


class DensityOfHamiltonian(eqx.Module):
    """A log-density with the parameters of one Hamiltonian put in: what a kernel is called with.

    A kernel that moves one electron at a time may use `begin` and `moved`; where the density has no such rules they
    evaluate it as a whole.
    """

    log_density: Any
    parameters: Any

    def __call__(self, r: Float[Array, "electrons dim"]) -> Float[Array, ""]:
        """Log-density of one configuration."""
        return self.log_density(r, self.parameters)

    def begin(self, r: Float[Array, "electrons dim"]) -> tuple[Float[Array, ""], Any]:
        """Log-density of one configuration, and what is kept for `moved`."""
        if isinstance(self.log_density, UpdatableDensity):
            return self.log_density.begin(r, self.parameters)
        return self(r), None

    def moved(
        self, cache: Any, r: Float[Array, "electrons dim"], electron: Int[Array, ""], position: Float[Array, " dim"]
    ) -> tuple[Float[Array, ""], Any]:
        """The same after one electron of the configuration `r` has gone to `position`."""
        if isinstance(self.log_density, UpdatableDensity):
            return self.log_density.moved(cache, r, electron, position, self.parameters)
        return self(r.at[electron].set(position)), None
