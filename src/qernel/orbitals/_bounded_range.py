"""Ranges of Jastrow factors that training cannot drive to zero or infinity."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# Up to a factor of 4 from the start a range is what it is trained to be; beyond it saturates at a factor of 10.
_FREE, _ROOM = float(np.log(4.0)), float(np.log(2.5))


def bounded_range(log_range: Float[Array, "*ranges"], start: float) -> Float[Array, "*ranges"]:
    r"""The range of a trained logarithm, $b = b_0 e^y$ with $b_0$ that at the start:

    $y = x = \ln(b/b_0)$ up to $|x| = \ln 4$, and from there $\pm(\ln 4 + \ln 2.5\,\tanh((|x| - \ln 4)/\ln 2.5))$, twice
    continuously differentiable and never beyond a factor of ten. A range that runs to zero leaves a cusp that no
    walker sees and local energies that diverge.
    """
    x = log_range - jnp.asarray(np.log(start), log_range.dtype)
    # Not of |x|, which has no slope at the start.
    inside = jnp.clip(x, -_FREE, _FREE)
    y = inside + _ROOM * jnp.tanh((x - inside) / _ROOM)
    return jnp.asarray(start, log_range.dtype) * jnp.exp(y)
