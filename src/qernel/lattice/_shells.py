import math

import numpy as np
from jaxtyping import Float

from ._lattice import Lattice


def shells(cell: Lattice, count: int) -> Float[np.ndarray, "vectors dim"]:
    """One of each pair ±G of the `count` shortest shells of reciprocal vectors of a cell."""
    radius = 2 * math.pi / cell.volume ** (1 / cell.dim)
    while True:
        vectors = cell.reciprocal_vectors(radius)
        lengths = np.linalg.norm(vectors, axis=1)
        edges = np.flatnonzero(np.diff(lengths) > 1e-6 * radius)
        # The last shell inside the radius is whole as well, but one more edge shows that it is.
        if len(edges) >= count:
            inside = vectors[: edges[count - 1] + 1]
            break
        radius *= 1.5
    turns = np.round(inside @ cell.matrix.T / (2 * np.pi)).astype(int)
    first = np.array([next(n for n in row if n) for row in turns])
    return inside[first > 0]
