"""Tables that change with one coordinate of a family, joined smoothly between the nodes where they are known."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num


def node_tables(
    nodes: Float[np.ndarray, " nodes"] | Sequence[float], coefficients: Num[Array | np.ndarray, "..."], size: int
) -> tuple[tuple[float, ...], Num[Array, "nodes size orbitals"], Num[Array, "nodes size orbitals"]]:
    """Nodes, and the coefficients of orbitals in `size` functions there with their slopes.

    **Raises:** `ValueError` unless there are some nodes, they ascend, and the shapes fit.
    """
    s, table = np.asarray(nodes, dtype=np.float64), np.asarray(coefficients)
    if s.ndim != 1 or not len(s) or np.any(np.diff(s) <= 0):
        raise ValueError(f"the nodes of an interpolation must ascend, got {s.tolist()}")
    if table.ndim != 3 or table.shape[:2] != (len(s), size) or not table.shape[2]:
        raise ValueError(
            f"coefficients need the shape (nodes, basis, orbitals) with {len(s)} nodes, {size} basis functions and at "
            f"least one orbital, got {table.shape}"
        )
    return tuple(float(x) for x in s), jnp.asarray(table), jnp.asarray(_slopes(s, table))


def _slopes(nodes: Float[np.ndarray, " nodes"], values: Num[np.ndarray, "nodes ..."]) -> Num[np.ndarray, "nodes ..."]:
    """Slopes of the parabola through three neighbours."""
    if len(nodes) == 1:
        return np.zeros_like(values)
    # Three-point differences on unequal spacings inside, one-sided (parabolic where possible) at the ends.
    return np.gradient(values, nodes, axis=0, edge_order=2 if len(nodes) > 2 else 1)


def interpolated(
    nodes: tuple[float, ...],
    values: Num[Array, "nodes rows columns"],
    slopes: Num[Array, "nodes rows columns"],
    place: Float[Array, ""],
) -> Num[Array, "rows columns"]:
    """The table at one place by cubic Hermite polynomials, constant outside of the nodes."""
    if len(nodes) == 1:
        return values[0]
    s = np.array(nodes)
    real = jnp.real(values).dtype
    # Relative to the first node and in steps of the mean spacing: float32 keeps close nodes apart.
    scale = float(s[-1] - s[0]) / (len(s) - 1)
    reduced = (s - s[0]) / scale
    place = (place - float(s[0])) / scale
    place = jnp.clip(jnp.asarray(place).astype(real), 0.0, float(reduced[-1]))
    edges = jnp.asarray(reduced, real)
    i = jnp.clip(jnp.searchsorted(edges, place, side="right") - 1, 0, len(s) - 2)
    step = edges[i + 1] - edges[i]
    t = (place - edges[i]) / step
    width = step * scale
    # One product with all nodes: what follows a sum of four is worked out anew for each of its uses.
    left, right = (jax.nn.one_hot(j, len(s), dtype=place.dtype) for j in (i, i + 1))
    of_values = left * ((1 + 2 * t) * (1 - t) ** 2) + right * (t**2 * (3 - 2 * t))
    of_slopes = width * (left * (t * (1 - t) ** 2) - right * (t**2 * (1 - t)))
    weights = jnp.concatenate([of_values, of_slopes]).astype(values.dtype)
    return jnp.tensordot(weights, jnp.concatenate([values, slopes]), 1, precision="highest")
