"""Gram matrix of scores in the space of samples, summed over blocks of parameters."""

import itertools
from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._factors import Factors, finite_scores

# Parameters of one product: the rows of a few hundred walkers then stay in a core's own cache.
COLUMNS = 1024
# Fewest rows of one product, and most blocks of rows: only those on and below the diagonal are computed.
ROWS, ROW_BLOCKS = 96, 4


def centred_gram(
    scores: list[Factors], mask: Bool[Array, "hamiltonians walkers"]
) -> tuple[Float[Array, "rows rows"], Bool[Array, "hamiltonians walkers"]]:
    r"""$\bar O\bar O^T$ with $\bar O = O - \langle O\rangle_h$, averages per Hamiltonian over the valid walkers.

    The scores of a block of parameters are made from their factors, centred and multiplied in their own dtype, and the
    products of the blocks are summed in the widest enabled one: no more than a block is ever made. A block is centred
    before its product, since the mean of a score can exceed its spread by orders of magnitude; what that leaves is
    taken out at the end.

    **Returns:** the matrix, rows in the order (part, Hamiltonian, walker), zero where not valid; and the walkers that
    are valid: in `mask`, all scores finite, and their squares too.
    """
    parts = scores[0].left.shape[2]
    valid = mask & finite_scores(scores)
    count = jnp.maximum(jnp.sum(valid, axis=1), 1)
    cuts = _cuts(valid.size * parts)
    total = [[jnp.zeros((b - a, d - c), float) for c, d in cuts if c <= a] for a, b in cuts]

    def add(total, factors):
        block = jnp.einsum("hwkta,hwtb->hwkab", *factors, precision="highest")
        block = block - (jnp.sum(block, axis=1) / count.astype(block.dtype)[:, None, None, None])[:, None]
        block = block.reshape(valid.size * parts, -1)
        rows = [block[start:stop] for start, stop in cuts]
        return [
            [sum_ + _product(a, b).astype(sum_.dtype) for sum_, b in zip(sums, rows, strict=False)]
            for sums, a in zip(total, rows, strict=True)
        ], None

    def zeroed(values):
        return jnp.where(valid.reshape(*valid.shape, *(1,) * (values.ndim - 2)), values, 0)

    for stack in _stacks([Factors(zeroed(left), zeroed(right)) for left, right in scores]):
        total, _ = jax.lax.scan(add, total, stack)
    blocks = range(len(cuts))
    gram = jnp.block([[total[i][j] if j <= i else total[j][i].T for j in blocks] for i in blocks])
    weights = valid.astype(gram.dtype) / count[:, None].astype(gram.dtype)

    def centre(matrix):
        """Subtract each Hamiltonian's mean from its columns, zero those that are not valid; part after part."""
        columns = jnp.moveaxis(matrix.reshape(-1, *valid.shape, parts), -1, 1)
        columns = columns - jnp.einsum("rphw,hw->rph", columns, weights, precision="highest")[..., None]
        return jnp.where(valid, columns, 0).reshape(matrix.shape)

    return centre(centre(gram).T), valid


def _product(a, b):
    return jnp.matmul(a, b.T, precision="highest")


def _cuts(size):
    edges = np.linspace(0, size, 1 + max(1, min(size // ROWS, ROW_BLOCKS)), dtype=int)
    return list(itertools.pairwise(edges.tolist()))


def _stacks(scores):
    """Blocks of about `COLUMNS` parameters, those of one shape stacked along a new first axis.

    Shapes that are rare are expanded, and together are scores like any other.
    """
    stacks = defaultdict(list)
    for factors in scores:
        for piece in _pieces(factors):
            stacks[*piece.left.shape, *piece.right.shape].append(piece)
    common = [stack for stack in stacks.values() if len(stack) * _columns(stack[0]) >= 4 * COLUMNS]
    rare = [piece for stack in stacks.values() if len(stack) * _columns(stack[0]) < 4 * COLUMNS for piece in stack]
    if rare:
        expanded = [jnp.einsum("hwkta,hwtb->hwkab", *piece, precision="highest") for piece in rare]
        left = jnp.concatenate([block.reshape(*block.shape[:3], 1, -1) for block in expanded], axis=-1)
        common.append(_pieces(Factors(left, jnp.ones((*left.shape[:2], 1, 1), left.dtype))))
    return [jax.tree.map(lambda *pieces: jnp.stack(pieces), *stack) for stack in common]


def _columns(factors):
    return factors.left.shape[-1] * factors.right.shape[-1]


def _pieces(factors):
    """Pieces of equal shape, the last one filled with zeros."""
    size = factors.left.shape[-1]
    width = -(-size // -(-_columns(factors) // COLUMNS))
    left = jnp.pad(factors.left, [(0, 0)] * 4 + [(0, -size % width)])
    return [Factors(left[..., start : start + width], factors.right) for start in range(0, size, width)]
