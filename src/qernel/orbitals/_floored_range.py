"""Ranges of Jastrow factors that training cannot drive to zero."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Down to a quarter of the start a range is what it is trained to be; below it saturates at a tenth.
_FREE, _ROOM = float(np.log(4.0)), float(np.log(2.5))


def floored_range(log_range: Float[Array, "*ranges"], start: float) -> Float[Array, "*ranges"]:
    r"""The range of a trained logarithm, $b = b_0 e^y$ with $b_0$ that at the start.

    $y = x = \ln(b/b_0)$ down to $x = -\ln 4$, and below $-\ln 4 + \ln 2.5\,\tanh((x + \ln 4)/\ln 2.5)$, twice
    continuously differentiable and never less than a tenth of the start. A range that runs to zero leaves a cusp that
    no walker sees and local energies that diverge.
    """
    x = log_range - jnp.asarray(np.log(start), log_range.dtype)
    free = jnp.maximum(x, -_FREE)
    y = free + _ROOM * jnp.tanh((x - free) / _ROOM)
    return jnp.asarray(start, log_range.dtype) * jnp.exp(y)
