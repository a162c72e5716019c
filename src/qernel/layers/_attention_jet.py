"""Softmax attention of jets: queries, keys and values with their derivatives."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qernel.precision import product_precision
from qernel.propagation import PairJet

# Value, Jacobian and Laplacian of one row an electron; queries hold all electrons once for each query head of a group
# that shares keys and values, one head after the other. The Jacobian has its coordinates before the features.
Rows = tuple[Float[Array, "kv _ size"], Float[Array, "kv _ _ size"], Float[Array, "kv _ size"]]


def attend(queries: Rows, keys: Rows, values: Rows, bias: PairJet | None, precision: str) -> Rows:
    r"""Attend, $o_i = \sum_j p_{ij} v_j$ with $p = \mathrm{softmax}_j(q_i\cdot k_j + b_{ij})$ and all derivatives:

    $$ \partial_k o_i = \sum_j \partial_k p_{ij}\,v_j + p_{ij}\,\partial_k v_j, \qquad
       \nabla^2 o_i = \sum_j \nabla^2 p_{ij}\,v_j + p_{ij}\nabla^2 v_j + 2\sum_k \partial_k p_{ij}\,\partial_k v_j . $$

    Every sum over electrons is a matrix product with the coordinates among its rows or its columns.
    """
    mm = lambda a, b: jnp.matmul(a, b, precision=product_precision(precision))
    (q, q1, q2), (k, k1, k2), (v, v1, v2) = queries, keys, values
    heads, rows, coordinates, size = q1.shape
    n = k.shape[1]
    beside = lambda part: part.reshape(heads, part.shape[1], -1)
    below = lambda part: jnp.swapaxes(part, 1, 2).reshape(heads, -1, size)
    stacked = lambda part: part.reshape(heads, rows * coordinates, -1)
    turned = lambda part: jnp.swapaxes(part, 1, 2)

    logits = mm(q, turned(k))
    slopes = mm(stacked(q1), turned(k)).reshape(heads, rows, coordinates, n)
    slopes = slopes + mm(q, turned(below(k1))).reshape(heads, rows, coordinates, n)
    curvature = mm(q2, turned(k)) + mm(q, turned(k2)) + 2 * mm(beside(q1), turned(beside(k1)))
    if bias is not None:
        logits = logits + bias.value.reshape(logits.shape)
        slopes = slopes + bias.jacobian().reshape(slopes.shape)
        curvature = curvature + bias.laplacian.reshape(curvature.shape)
    p = jax.nn.softmax(logits, axis=-1)
    slopes = slopes - jnp.sum(p[:, :, None] * slopes, axis=-1, keepdims=True)
    p1 = p[:, :, None] * slopes
    curvature = curvature + jnp.sum(slopes**2, axis=2)
    p2 = p * (curvature - jnp.sum(p * curvature, axis=-1, keepdims=True))

    mixed = mm(stacked(p1), v) + mm(p, beside(v1)).reshape(heads, rows * coordinates, size)
    laplacian = mm(p2, v) + mm(p, v2) + 2 * mm(beside(p1), below(v1))
    return mm(p, v), mixed.reshape(heads, rows, coordinates, size), laplacian


def attend_own(queries: Rows, keys: Rows, values: Rows, bias: PairJet | None, precision: str) -> Rows:
    r"""Attend where row i of every input depends on electron i alone, so that `coordinates` are its own.

    The result depends on all electrons, but a logit on two of them only. With $B_{ij} = \partial_j\ell_{ij}$,
    $R_{im} = p_{im}B_{im}$ and $A_{ij} = \partial_i\ell_{ij} - \langle\partial_i\ell_{ij}\rangle_p$, in each direction,

    $$ \partial_m \log p_{ij} = \delta_{mi} A_{ij} + \delta_{mj} B_{ij} - R_{im} , $$

    and the cost of everything but the result itself loses a factor N.
    """
    mm = lambda a, b: jnp.matmul(a, b, precision=product_precision(precision))
    (q, q1, q2), (k, k1, k2), (v, v1, v2) = queries, keys, values
    heads, rows, dim, size = q1.shape
    n = k.shape[1]
    group = rows // n
    turned = lambda part: jnp.swapaxes(part, 1, 2)
    # (1, rows, 1, electrons): one where the row is that of the electron, zero elsewhere
    same = jnp.tile(jnp.eye(n, dtype=q.dtype), (group, 1))[None, :, None, :]

    logits = mm(q, turned(k))
    left = mm(q1.reshape(heads, rows * dim, size), turned(k)).reshape(heads, rows, dim, n)
    right = mm(q, turned(jnp.swapaxes(k1, 1, 2).reshape(heads, dim * n, size))).reshape(heads, rows, dim, n)
    cross = jnp.sum(q1.reshape(heads, group, n, dim, size) * k1[:, None], axis=(3, 4)).reshape(heads, rows, 1)
    curvature = mm(q2, turned(k)) + mm(q, turned(k2)) + 2 * same[:, :, 0] * cross
    if bias is not None:
        logits = logits + bias.value.reshape(logits.shape)
        left = left + bias.left.reshape(left.shape)
        right = right + bias.right.reshape(right.shape)
        curvature = curvature + bias.laplacian.reshape(curvature.shape)
    p = jax.nn.softmax(logits, axis=-1)
    weights = p[:, :, None]
    left = left - jnp.sum(weights * left, axis=-1, keepdims=True)
    moved = weights * right
    # (heads, rows, dim, 1): R_ii
    mine = jnp.sum(same * moved, axis=-1, keepdims=True)
    # The sum over coordinates of the squared derivative of log p, collected by the electron that moves.
    square = left**2 + right**2 + 2 * same * left * right - 2 * left * mine - 2 * right * moved
    square = jnp.sum(square + jnp.sum(moved**2, axis=-1, keepdims=True), axis=2)
    curvature = curvature + square
    p2 = p * (curvature - jnp.sum(p * curvature, axis=-1, keepdims=True))

    o = mm(p, v)
    # (heads, rows, dim, size): how the output changes as the row's own electron moves its query
    query = mm((weights * left).reshape(heads, rows * dim, n), v).reshape(heads, rows, dim, size)
    # (heads, group, rows, electrons, dim, size), electrons those that move
    split = lambda part: part.reshape(heads, group, n, *part.shape[2:])
    by_key = jnp.swapaxes(split(moved), 3, 4)[..., None] * (v[:, None, None, :, None] - split(o)[:, :, :, None, None])
    by_value = split(p)[..., None, None] * v1[:, None, None]
    own = same.reshape(1, group, n, n, 1, 1)
    slopes = (by_key + by_value + own * split(query)[:, :, :, None]).reshape(heads, rows, n * dim, size)
    # p_ij's derivative in the coordinates of electron j meets that of v_j.
    facing = weights * (same * left + right - moved)
    laplacian = mm(p2, v) + mm(p, v2)
    facing = facing.reshape(heads, rows, dim * n)
    laplacian = laplacian + 2 * mm(facing, jnp.swapaxes(v1, 1, 2).reshape(heads, dim * n, size))
    return o, slopes, laplacian
