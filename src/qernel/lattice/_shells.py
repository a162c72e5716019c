import math

import numpy as np
from jaxtyping import Float

from ._lattice import Lattice


def shells(cell: Lattice, count: int) -> Float[np.ndarray, "vectors dim"]:
    """Reciprocal vectors of the `count` shortest shells of a cell, one of each pair ±G.

    Shorter shells first; of a pair, the vector whose first integer that is not zero is positive.

    **Arguments:** `cell`; `count`, the number of different lengths |G| > 0.

    **Returns:** shape (vectors, dim), in inverse effective Bohr radii.

    **Raises:** `ValueError` if `count` is not positive.

    **Example:**

    ```python
    from qernel.lattice import shells, triangular

    assert shells(triangular(10.0), 2).shape == (6, 2)
    ```
    """
    if count < 1:
        raise ValueError(f"the number of shells must be positive, got {count}")
    # About the length of the shortest vector of a compact cell; it grows until it is enough.
    radius = 2 * math.pi / cell.volume ** (1 / cell.dim)
    while True:
        vectors = cell.reciprocal_vectors(radius)
        lengths = np.linalg.norm(vectors, axis=1)
        # Lengths of one shell agree to rounding, those of different shells differ by far more.
        edges = np.flatnonzero(np.diff(lengths) > 1e-6 * radius)
        # The last shell inside the radius is whole as well, but one more edge shows that it is.
        if len(edges) >= count:
            inside = vectors[: edges[count - 1] + 1]
            break
        radius *= 1.5
    turns = np.round(inside @ cell.matrix.T / (2 * np.pi)).astype(int)
    first = np.array([next(n for n in row if n) for row in turns])
    return inside[first > 0]
