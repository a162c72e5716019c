"""The two linear maps of the matrix of scores, from the factors of the scores."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

from ._alike import Alike


def factored_products(
    scores: list[Alike], trained: PyTree, valid: Bool[Array, "hamiltonians walkers"]
) -> tuple[
    Callable[[PyTree], Float[Array, "hamiltonians walkers parts"]],
    Callable[[Float[Array, "hamiltonians walkers parts"]], PyTree],
]:
    """O, `trained -> (hamiltonians, walkers, parts)`, and its transpose, with no pass of the network.

    `scores` are those of the leaves of `trained`; rows of walkers that are not `valid` are zero.
    """
    # Where their left factors are zero, the right ones need only be finite.
    lefts = [jnp.where(valid[..., None, None, None], stack.left, 0) for stack in scores]
    rights = [None if stack.right is None else jnp.where(valid[..., None, None], stack.right, 0) for stack in scores]

    def forward(changes):
        leaves = jax.tree.leaves(changes)
        total = jnp.zeros((), float)
        for stack, left, right in zip(scores, lefts, rights, strict=True):
            matrices = stack.matrices(leaves)
            if right is None:
                rows = jnp.einsum("hwka,a->hwk", left[0, :, :, :, 0], matrices[0, :, 0], precision="highest")
            else:
                along = jnp.einsum("ghwtb,gab->ghwta", right, matrices, precision="highest")
                rows = jnp.sum(left * along[:, :, :, None], axis=(0, 4, 5))
            total = total + rows.astype(total.dtype)
        return total.astype(lefts[0].dtype)

    def transpose(weights):
        leaves, structure = jax.tree.flatten(trained)
        sums = {}
        for stack, left, right in zip(scores, lefts, rights, strict=True):
            if right is None:
                matrices = jnp.einsum("hwk,hwka->a", weights, left[0, :, :, :, 0], precision="highest")[None, :, None]
            else:
                weighted = jnp.sum(left * weights[..., None, None], axis=3)
                matrices = jnp.einsum("ghwta,ghwtb->gab", weighted, right, precision="highest")
            sums |= stack.leaves(matrices)
        return structure.unflatten([sums[number].astype(leaf.dtype) for number, leaf in enumerate(leaves)])

    return forward, transpose
