"""Linear maps of the matrix of scores, made from the factors of the scores."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._alike import Alike


def factored_products(
    scores: list[Alike], trained: PyTree
) -> tuple[
    Callable[[PyTree], Float[Array, "hamiltonians walkers parts"]],
    Callable[[Float[Array, "hamiltonians walkers parts"]], PyTree],
]:
    """Make the linear map O and its transpose, with no pass of the network.

    **Returns:** `trained -> (hamiltonians, walkers, parts)`, and back.

    **Arguments:** `scores`, those of the leaves of `trained`, all of them finite.
    """

    def forward(changes):
        leaves = jax.tree.leaves(changes)
        total = jnp.zeros((), float)
        for stack in scores:
            matrices, left = stack.matrices(leaves), stack.left
            if stack.right is None:
                rows = jnp.einsum("hwka,a->hwk", left[0, :, :, :, 0], matrices[0, :, 0], precision="highest")
            else:
                along = jnp.einsum("ghwtb,gab->ghwta", stack.right, matrices, precision="highest")
                rows = jnp.sum(left * along[:, :, :, None], axis=(0, 4, 5))
            total = total + rows.astype(total.dtype)
        return total.astype(scores[0].left.dtype)

    def transpose(weights):
        leaves, structure = jax.tree.flatten(trained)
        sums = {}
        for stack in scores:
            left = stack.left
            if stack.right is None:
                matrices = jnp.einsum("hwk,hwka->a", weights, left[0, :, :, :, 0], precision="highest")[None, :, None]
            else:
                weighted = jnp.sum(left * weights[None, ..., None, None], axis=3)
                matrices = jnp.einsum("ghwta,ghwtb->gab", weighted, stack.right, precision="highest")
            sums |= stack.leaves(matrices)
        return structure.unflatten([sums[number].astype(leaf.dtype) for number, leaf in enumerate(leaves)])

    return forward, transpose
