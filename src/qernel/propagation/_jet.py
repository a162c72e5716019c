"""Features of every electron with their first and second derivatives."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from ._directions import AbstractDirections, EveryCoordinate


class Jet(eqx.Module):
    r"""Features of every electron, $f_{ia}(r)$, with what a forward Laplacian carries along,

    $$ \bigl(f_{ia},\ \partial_k f_{ia},\ \textstyle\sum_k \partial_k^2 f_{ia}\bigr), \qquad k = (m, d) , $$

    over the coordinates d of every electron m, or over a few directions in which many electrons move
    ([`Probes`][qernel.propagation.Probes]). With `own` directions row i depends on electron i alone: the axis
    `coordinates` of the Jacobian then counts the coordinates of that electron only, and everything before the first
    exchange of information between electrons costs `dim + 2` evaluations in place of `N dim + 2`.

    The electrons lead, and the coordinates lie beside the features: so a linear layer is one matrix product over
    electrons and coordinates, and a contraction over coordinates and features needs no transposition.

    **Fields:**

    - `value`: $f_{ia}$.
    - `jacobian`: $\partial_k f_{ia}$, in the inverse unit of the positions.
    - `laplacian`: $\sum_k \partial_k^2 f_{ia}$, over the coordinates of all electrons or the directions.
    - `own`: if row i depends on electron i alone, the directions to which the Jacobian can be expanded; else None.

    **Source:** forward Laplacian, arXiv:2307.08214.

    **Example:**

    ```python
    import jax.numpy as jnp
    from qernel.propagation import elementwise, own_jet

    r = jnp.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])
    jet = elementwise(jnp.sin, own_jet(lambda r: r**2, r))
    assert jet.jacobian.shape == (3, 2, 2) and jet.dense().jacobian.shape == (3, 6, 2)
    ```
    """

    value: Inexact[Array, "electrons features"]
    jacobian: Inexact[Array, "electrons coordinates features"]
    laplacian: Inexact[Array, "electrons features"]
    own: AbstractDirections | None = None

    def map(self, function: Callable[[Array], Array]) -> "Jet":
        """Apply a function that is linear in the features, the last axis, to value, Jacobian and Laplacian."""
        return Jet(function(self.value), function(self.jacobian), function(self.laplacian), self.own)

    def dense(self) -> "Jet":
        """Expand the Jacobian to all directions, `own=None`."""
        if self.own is None:
            return self
        return Jet(self.value, self.own.spread(self.jacobian), self.laplacian)


def own_jet(
    function: Callable[[Float[Array, "electrons dim"]], Inexact[Array, "electrons features"]],
    r: Float[Array, "electrons dim"],
    directions: AbstractDirections | None = None,
) -> Jet:
    """Differentiate a function of the positions whose row i depends on the position of electron i alone.

    **Arguments:** `function`, from positions to features; `r`, positions; `directions`, along which the features of
    all electrons will be differentiated (every coordinate by default).

    **Returns:** a jet with its `own` directions, at the cost of one second derivative for each dimension of space.
    """
    value, slopes, laplacian = function(r), [], 0
    for axis in jnp.eye(r.shape[1], dtype=r.dtype):
        # Every electron moves along the axis at once: no row sees another one move.
        direction = jnp.broadcast_to(axis, r.shape)
        slope, curvature = jax.jvp(lambda x, t=direction: jax.jvp(function, (x,), (t,))[1], (r,), (direction,))
        slopes.append(slope)
        laplacian = laplacian + curvature
    return Jet(value, jnp.stack(slopes, axis=1), jnp.asarray(laplacian), own=directions or EveryCoordinate())
