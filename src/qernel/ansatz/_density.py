"""What a sampler is given of a wavefunction."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float, Int

from ._contract import Ansatz, UpdatableAnsatz


class LogDensity(eqx.Module):
    r"""$\log|\psi|^2 = 2\,\mathrm{Re}\log\psi$ of one configuration."""

    ansatz: Ansatz

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> Float[Array, ""]:
        """Log-density at `r`, up to a constant."""
        return 2 * self.ansatz(r, parameters).log_magnitude


class UpdatableLogDensity(eqx.Module):
    """The same with the ansatz's rules for moves of one electron."""

    ansatz: UpdatableAnsatz

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> Float[Array, ""]:
        """Log-density at `r`, up to a constant."""
        return 2 * self.ansatz(r, parameters).log_magnitude

    def begin(self, r: Float[Array, "electrons dim"], parameters: Any) -> tuple[Float[Array, ""], Any]:
        """Log-density at `r`, and what `moved` needs."""
        value, cache = self.ansatz.begin(r, parameters)
        return 2 * value, cache

    def moved(
        self,
        cache: Any,
        r: Float[Array, "electrons dim"],
        electron: Int[Array, ""],
        position: Float[Array, " dim"],
        parameters: Any,
    ) -> tuple[Float[Array, ""], Any]:
        """The same after one electron has gone to `position`."""
        value, cache = self.ansatz.moved(cache, r, electron, position, parameters)
        return 2 * value, cache


def log_density(ansatz: Ansatz) -> LogDensity | UpdatableLogDensity:
    """The log-density of a wavefunction for a [`Sampler`][qernel.sampling.Sampler].

    Of an [`UpdatableAnsatz`][qernel.ansatz.UpdatableAnsatz] it has the rules by which
    [`single_electron`][qernel.sampling.single_electron] avoids whole evaluations.
    """
    if isinstance(ansatz, UpdatableAnsatz) and ansatz.updatable:
        return UpdatableLogDensity(ansatz)
    return LogDensity(ansatz)
