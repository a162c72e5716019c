"""Scores of many arrays of parameters in a few stacks: a program of few kernels, which compiles and runs fast."""

from collections import defaultdict
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._factors import Factors, Layout


class Alike(eqx.Module):
    r"""Factors of the scores of some arrays of parameters, all of one shape,
    $O_{k,ab} = \sum_t \mathrm{left}_{kta}\,\mathrm{right}_{tb}$ for each.

    **Fields:**

    - `left`, `right`: the factors, stacked over the arrays. If `right` is None, `left` holds the scores themselves of
      arrays of many shapes, one array after another: one stack of one term.
    - `numbers`: the numbers of these arrays among all leaves.
    - `layouts`: how the parameters of each are ordered.
    """

    left: Float[Array, "arrays hamiltonians walkers parts terms a"]
    right: Float[Array, "arrays hamiltonians walkers terms b"] | None
    numbers: tuple[int, ...] = eqx.field(static=True)
    layouts: tuple[Layout, ...] = eqx.field(static=True)

    def matrices(self, leaves: list[Any]) -> Float[Array, "arrays a b"]:
        """Order parameters, or changes of them, like the factors; `leaves` are those of all arrays."""
        pairs = zip(self.layouts, self.numbers, strict=True)
        ordered = [layout.matrices(leaves[number][None])[0] for layout, number in pairs]
        if self.right is not None:
            return jnp.stack(ordered)
        return jnp.concatenate([matrix.reshape(-1) for matrix in ordered])[None, :, None]

    def leaves(self, matrices: Float[Array, "arrays a b"]) -> dict[int, Array]:
        """Order what `matrices` returns like the parameters again: arrays by their numbers."""
        if self.right is not None:
            parts = list(matrices)
        else:
            ends = np.cumsum([np.prod(layout.matrix) for layout in self.layouts])[:-1]
            parts = jnp.split(matrices.reshape(-1), ends)
        triples = zip(self.numbers, self.layouts, parts, strict=True)
        return {number: layout.scores(part.reshape(1, *layout.matrix))[0] for number, layout, part in triples}


def alike(scores: list[Factors], few: int) -> list[Alike]:
    """Stack factors of one shape; those of shapes with less than `few` parameters in all are expanded and joined."""
    shapes = defaultdict(list)
    for number, factors in enumerate(scores):
        shapes[*factors.left.shape, *factors.right.shape].append((number, factors))
    stacks, rare = [], []
    for members in shapes.values():
        if sum(factors.size for _, factors in members) < few:
            rare += members
            continue
        numbers, factors = zip(*members, strict=True)
        left, right = (jnp.stack([getattr(each, side) for each in factors]) for side in ("left", "right"))
        # Scores that are no sum of products have a right factor of one.
        trivial = right.shape[-2:] == (1, 1) and len(factors) == 1
        stacks.append(Alike(left, None if trivial else right, numbers, tuple(each.layout for each in factors)))
    if rare:
        numbers, factors = zip(*rare, strict=True)
        expanded = [jnp.einsum("hwkta,hwtb->hwkab", each.left, each.right, precision="highest") for each in factors]
        left = jnp.concatenate([block.reshape(*block.shape[:3], -1) for block in expanded], axis=-1)
        stacks.append(Alike(left[None, ..., None, :], None, numbers, tuple(each.layout for each in factors)))
    return stacks


def finite_walkers(stacks: list[Alike]) -> Bool[Array, "hamiltonians walkers"]:
    """Mask of the walkers whose scores are all finite, and so small that their squares are, too."""
    finite = jnp.asarray(True)
    for stack in stacks:
        for factor in (stack.left, stack.right):
            if factor is not None:
                finite = finite & jnp.all(_small(factor), axis=(0, *range(3, factor.ndim)))
    return finite


def without_others(stacks: list[Alike], valid: Bool[Array, "hamiltonians walkers"]) -> list[Alike]:
    """Set the factors of walkers that are not `valid` to zero."""

    def masked(factor):
        return jnp.where(valid.reshape(1, *valid.shape, *[1] * (factor.ndim - 3)), factor, 0)

    return jax.tree.map(masked, stacks)


def small_factors(scores: list[Factors]) -> Bool[Array, ""]:
    """Whether the scores of one walker are all finite, and so small that their squares are, too."""
    return jnp.all(jnp.stack([jnp.all(_small(factor)) for each in scores for factor in (each.left, each.right)]))


def _small(factor):
    # A score is a product of two factors, and the Gram matrix of two scores: hence the fourth root. Not a number is not
    # smaller than anything.
    return jnp.abs(factor) < jnp.finfo(factor.dtype).max ** 0.25
