"""Values of an ansatz at a batch of configurations: one program for all the checks that need them."""

import jax
import numpy as np

from qernel.compilation import compiled


@compiled
def _values(ansatz, parameters, r):
    return jax.vmap(lambda x: ansatz(x, parameters))(r)


def log_psi(ansatz, parameters, r):
    """Log-modulus and phase of every configuration."""
    value = _values(ansatz, parameters, r)
    return np.asarray(value.log_magnitude), np.asarray(value.phase)
