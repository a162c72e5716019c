"""Functions of two electrons with their first and second derivatives."""

import equinox as eqx
from jaxtyping import Array, Float

from ._directions import AbstractDirections, EveryCoordinate


class PairJet(eqx.Module):
    r"""Functions $b_{hij}(r_i, r_j)$ of pairs of electrons with their derivatives.

    **Fields:**

    - `value`: $b_{hij}$.
    - `left`, `right`: the derivatives in the coordinates of electron i and of electron j, in the inverse unit of the
      positions; if i = j their sum is the derivative.
    - `laplacian`: the whole one, over the coordinates of all electrons.
    - `directions`: along which features of electrons are differentiated that meet these functions.
    """

    value: Float[Array, "heads electrons electrons"]
    left: Float[Array, "heads electrons dim electrons"]
    right: Float[Array, "heads electrons dim electrons"]
    laplacian: Float[Array, "heads electrons electrons"]
    directions: AbstractDirections = EveryCoordinate()

    def jacobian(self) -> Float[Array, "heads electrons directions electrons"]:
        """Expand the derivatives to the directions, an axis before that of the second electron."""
        return self.directions.of_pairs(self.left, self.right)
