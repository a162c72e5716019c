"""Values of an ansatz at a batch of configurations: one program for all the checks that need them."""

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from qernel.ansatz import Ansatz, LogPsi
from qernel.compilation import compiled

Walkers = Float[Array, "walkers electrons dim"]


@compiled
def _values(ansatz: Ansatz, parameters: PyTree, r: Walkers) -> LogPsi:
    return jax.vmap(lambda x: ansatz(x, parameters))(r)


def log_psi(
    ansatz: Ansatz, parameters: PyTree, r: Walkers
) -> tuple[Float[np.ndarray, " walkers"], Float[np.ndarray, " walkers"]]:
    """Log-modulus and phase of every configuration."""
    value = _values(ansatz, parameters, r)
    return np.asarray(value.log_magnitude), np.asarray(value.phase)
