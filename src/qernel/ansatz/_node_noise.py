"""What random directions see of a node, and of what is left of it by a control variate."""

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from qernel.propagation import Probes

# Electrons whose squared gradient is so many times the lower quartile of one configuration count as next to a node.
_FAR_ABOVE = 12.0


def node_noise(
    probes: Probes,
    gradient: Inexact[Array, "electrons dim"],
    own_gradient: Inexact[Array, "electrons dim"] | None = None,
) -> Inexact[Array, ""]:
    r"""A number of mean zero over the signs of the probes that takes the noise of nodes out of a probed Laplacian.

    At a distance x from a node the Hessian of $\log\psi$ is $-g g^T$ with $g = \nabla\log\psi \sim 1/x$, whose elements
    between different electrons random directions see as noise, of infinite variance. With a weight $a_i$ that tends to
    one for electrons of large gradient and to zero for all others,

    $$ \sum_{ca} (v_{ca}\cdot u)^2 - u\cdot u, \qquad u_i = a_i g_i, \quad
       a_i = \frac{|g_i|^4}{|g_i|^4 + (12\, m)^2} , $$

    cancels it; what is left grows as 1/x, and has a finite variance. m is the lower quartile of all $|g_j|^2$, which a
    node between a few of the electrons leaves alone. The factor is measured, and hardly matters.

    **Arguments:** `gradient`, that of $\log\psi$; `own_gradient`, that of the control variate that the estimate already
    has, if any, whose share in the noise is gone: it comes off.
    """
    squares = jnp.sum(jnp.abs(gradient) ** 2, axis=1)
    usual = jnp.sort(squares)[len(squares) // 4]
    ratio = _FAR_ABOVE * usual / jnp.maximum(squares, jnp.finfo(squares.dtype).tiny)
    weights = (1 / (1 + ratio**2))[:, None].astype(gradient.dtype)
    noise = _excess(probes, weights * gradient)
    return noise if own_gradient is None else noise - _excess(probes, weights * own_gradient)


def _excess(probes: Probes, vector: Inexact[Array, "electrons dim"]) -> Inexact[Array, ""]:
    return jnp.sum(probes.slopes(vector) ** 2) - jnp.sum(vector**2)
