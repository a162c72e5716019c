"""What a sampler is given of a wavefunction."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from ._contract import Ansatz


class LogDensity(eqx.Module):
    r"""$\log|\psi|^2 = 2\,\mathrm{Re}\log\psi$ of one configuration."""

    ansatz: Ansatz

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> Float[Array, ""]:
        """Log-density at `r`, up to a constant."""
        return 2 * self.ansatz(r, parameters).log_magnitude


def log_density(ansatz: Ansatz) -> LogDensity:
    """The log-density of a wavefunction for a [`Sampler`][qernel.sampling.Sampler]."""
    return LogDensity(ansatz)
