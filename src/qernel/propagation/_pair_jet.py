"""Functions of two electrons with their first and second derivatives."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class PairJet(eqx.Module):
    r"""Functions $b_{hij}(r_i, r_j)$ of pairs of electrons with their derivatives.

    **Fields:**

    - `value`: $b_{hij}$.
    - `left`, `right`: the derivatives in the coordinates of electron i and of electron j, in the inverse unit of the
      positions; if i = j their sum is the derivative.
    - `laplacian`: the whole one, over the coordinates of all electrons.
    """

    value: Float[Array, "heads electrons electrons"]
    left: Float[Array, "heads electrons dim electrons"]
    right: Float[Array, "heads electrons dim electrons"]
    laplacian: Float[Array, "heads electrons electrons"]

    def jacobian(self) -> Float[Array, "heads electrons coordinates electrons"]:
        """Expand the derivatives to the coordinates of all electrons, an axis before that of the second electron."""
        heads, n, dim, _ = self.left.shape
        eye = jnp.eye(n, dtype=self.left.dtype)
        dense = (
            eye[None, :, :, None, None] * self.left[:, :, None] + eye[None, None, :, None, :] * self.right[:, :, None]
        )
        return dense.reshape(heads, n, n * dim, n)
