"""Gram matrix of scores in the space of samples, summed over blocks of parameters."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from ._alike import Alike

# On a CPU: parameters of one product, so that the rows of a few hundred walkers stay in a core's own cache.
COLUMNS = 1024
# Fewest rows of one product, and most blocks of rows. Only blocks on and below the diagonal are computed: four save 3/8
# of the work, more could save 1/8 and would make the products too small for their speed.
ROWS, ROW_BLOCKS = 96, 4
# Elsewhere a block costs kernel launches, and is as large as this many numbers, 1 GiB.
ELEMENTS = 2**28


def columns_for(rows: int) -> int:
    """Parameters of one product of so many rows."""
    return COLUMNS if jax.default_backend() == "cpu" else max(COLUMNS, ELEMENTS // max(rows, 1))


def few_for(rows: int) -> int:
    """Parameters below which the arrays of one shape are expanded and joined with others: on a CPU four products."""
    return 4 * COLUMNS if jax.default_backend() == "cpu" else columns_for(rows)


def centred_gram(scores: list[Alike], valid: Bool[Array, "hamiltonians walkers"]) -> Float[Array, "rows rows"]:
    r"""Gram matrix $\bar O\bar O^T$ of $\bar O = O - \langle O\rangle_h$, means per Hamiltonian over the valid walkers.

    The scores of a block of parameters are made from their factors, centred and multiplied in their own dtype, and the
    products of the blocks are summed in the widest enabled one: no more than a block is ever made. A block is centred
    before its product, since the mean of a score can exceed its spread by orders of magnitude; what that leaves is
    taken out at the end.

    **Arguments:** `scores` of all trained arrays, finite; `valid`, the walkers that count.

    **Returns:** the matrix, rows in the order (part, Hamiltonian, walker), zero where not `valid`.
    """
    parts = scores[0].left.shape[3]
    count = jnp.maximum(jnp.sum(valid, axis=1), 1)
    cuts = _cuts(valid.size * parts)
    total = [[jnp.zeros((b - a, d - c), float) for c, d in cuts if c <= a] for a, b in cuts]

    def add(total, left, right):
        block = jnp.einsum("hwkta,hwtb->hwkab", left, right, precision="highest")
        block = jnp.where(valid[..., None, None, None], block, 0)
        block = block - (jnp.sum(block, axis=1) / count.astype(block.dtype)[:, None, None, None])[:, None]
        block = block.reshape(valid.size * parts, -1)
        rows = [block[start:stop] for start, stop in cuts]
        return [
            [sum_ + _product(a, b).astype(sum_.dtype) for sum_, b in zip(sums, rows, strict=False)]
            for sums, a in zip(total, rows, strict=True)
        ]

    for stack in scores:
        # One after another, or the pieces of all would be in memory at once.
        stack, total = jax.lax.optimization_barrier((stack, total))
        pieces, owners, rights = _in_pieces(stack, columns_for(valid.size * parts))
        total, _ = jax.lax.scan(
            lambda total, piece, rights=rights: (add(total, piece[0], rights[piece[1]]), None), total, (pieces, owners)
        )
    blocks = range(len(cuts))
    gram = jnp.block([[total[i][j] if j <= i else total[j][i].T for j in blocks] for i in blocks])
    weights = valid.astype(gram.dtype) / count[:, None].astype(gram.dtype)

    def centre(matrix):
        """Subtract each Hamiltonian's mean from its columns, zero those that are not valid; part after part."""
        columns = jnp.moveaxis(matrix.reshape(-1, *valid.shape, parts), -1, 1)
        columns = columns - jnp.einsum("rphw,hw->rph", columns, weights, precision="highest")[..., None]
        return jnp.where(valid, columns, 0).reshape(matrix.shape)

    return centre(centre(gram).T)


def _product(a, b):
    return jnp.matmul(a, b.T, precision="highest")


def _cuts(size):
    blocks = max(1, min(size // ROWS, ROW_BLOCKS)) if jax.default_backend() == "cpu" else 1
    edges = np.linspace(0, size, 1 + blocks, dtype=int)
    return list(itertools.pairwise(edges.tolist()))


def _in_pieces(stack, columns):
    """Cut left factors into pieces for blocks of about so many `columns`, parameters.

    **Returns:** the pieces, the number of the right factor of each, and the right factors. All pieces are of one width,
    the last one of each array filled with zeros.
    """
    left, right = stack.left, stack.right
    if right is None:
        right = jnp.ones((*left.shape[:3], 1, 1), left.dtype)
    size = left.shape[-1]
    width = -(-size // -(-size * right.shape[-1] // columns))
    count = -(-size // width)
    left = jnp.pad(left, [(0, 0)] * (left.ndim - 1) + [(0, count * width - size)])
    pieces = jnp.moveaxis(left.reshape(*left.shape[:-1], count, width), -2, 1)
    return pieces.reshape(-1, *pieces.shape[2:]), np.repeat(np.arange(len(left)), count), right
