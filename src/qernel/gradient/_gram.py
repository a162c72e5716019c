"""Gram matrix of scores in the space of samples, summed over the arrays of parameters."""

import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

# Columns of one product: bounds the length of a single-precision sum, and keeps a block in a CPU's cache.
COLUMNS = 8192
# Fewest rows of one product, and most blocks of rows: only those on and below the diagonal are computed.
ROWS, ROW_BLOCKS = 96, 4


def centred_gram(
    scores: list[Float[Array, "hamiltonians walkers parts ..."]], mask: Bool[Array, "hamiltonians walkers"]
) -> tuple[Float[Array, "rows rows"], Bool[Array, "hamiltonians walkers"]]:
    r"""$\bar O\bar O^T$ with $\bar O = O - \langle O\rangle_h$, averages per Hamiltonian over the valid walkers.

    Products in the scores' dtype, sums over blocks of parameters in the widest enabled one. Each block is centred
    before its product, since the mean of a score can exceed its spread by orders of magnitude; rows that turn out
    not to be finite in another block are taken out, and the rest centred again, at the end (centring forgets any
    earlier choice of origin).

    **Returns:** the matrix, rows in the order (part, Hamiltonian, walker), zero where not valid; and the walkers that
    are valid: in `mask`, all scores finite.
    """
    hamiltonians, walkers, parts = scores[0].shape[:3]
    size = hamiltonians * walkers
    valid = mask
    total = jnp.zeros((parts * size, parts * size), float)
    for block in _blocks([leaf.reshape(hamiltonians, walkers, parts, -1) for leaf in scores]):
        finite = mask & jnp.all(jnp.isfinite(block), axis=(2, 3))
        valid = valid & finite
        total = total + _symmetric_product(_centred_rows(block, finite)).astype(total.dtype)
    weights = valid.astype(total.dtype)
    weights = weights / jnp.maximum(jnp.sum(weights, axis=1, keepdims=True), 1)

    def centre(matrix):
        """Subtract each Hamiltonian's mean from its columns; zero the columns that are not valid."""
        columns = matrix.reshape(-1, parts, hamiltonians, walkers)
        columns = columns - jnp.einsum("rphw,hw->rph", columns, weights)[..., None]
        return jnp.where(valid, columns, 0).reshape(matrix.shape)

    return centre(centre(total).T), valid


def _blocks(leaves):
    """The same columns in blocks of about `COLUMNS`: small arrays together, large ones in pieces."""
    small = [leaf for leaf in leaves if leaf.shape[-1] < COLUMNS // 8]
    pieces = [jnp.concatenate(small, axis=-1)] if small else []
    pieces += [leaf for leaf in leaves if leaf.shape[-1] >= COLUMNS // 8]
    for piece in pieces:
        for start in range(0, piece.shape[-1], COLUMNS):
            yield piece[..., start : start + COLUMNS]


def _centred_rows(block, finite):
    """Rows minus their Hamiltonian's mean, zero where not finite, in pieces; part after part.

    Each piece is written once, centred: cutting it from a centred whole would write everything twice.
    """
    hamiltonians, walkers, parts, columns = block.shape
    size = hamiltonians * walkers
    cuts = np.linspace(0, size, 1 + max(1, min(size // ROWS, ROW_BLOCKS // parts)), dtype=int)
    keep = finite[..., None]
    count = jnp.maximum(jnp.sum(keep, axis=1, keepdims=True), 1).astype(block.dtype)
    pieces = []
    for part in range(parts):
        values = block[:, :, part]
        mean = jnp.sum(jnp.where(keep, values, 0), axis=1, keepdims=True) / count
        flat = [jnp.broadcast_to(x, values.shape).reshape(size, columns) for x in (keep, values, mean)]
        for start, stop in itertools.pairwise(cuts):
            kept, value, centre = (x[start:stop] for x in flat)
            pieces.append(jnp.where(kept, value - centre, 0))
    return pieces


def _symmetric_product(rows):
    """$A A^T$ of the stacked `rows`: the blocks above the diagonal are mirrored, not computed."""
    lower = [[jnp.matmul(a, b.T, precision="highest") for b in rows[: i + 1]] for i, a in enumerate(rows)]
    return jnp.block([[lower[i][j] if j <= i else lower[j][i].T for j in range(len(rows))] for i in range(len(rows))])
