"""The point group of a lattice."""

import itertools

import numpy as np
from jaxtyping import Int

from ._lattice import Lattice


def point_group(cell: Lattice) -> Int[np.ndarray, "rotations dim dim"]:
    r"""The rotations and reflections that carry a lattice into itself, the identity first.

    They are integer matrices m of the reciprocal vectors: $b_i \to \sum_j m_{ij} b_j$, and of the integers n of a
    vector $\sum_i n_i b_i$ they make n m.

    **Example:** `len(point_group(cubic(1.0)))` is 48.
    """
    reciprocal = cell.reciprocal
    metric = reciprocal @ reciprocal.T
    around = cell.reciprocal_vectors(np.sqrt(np.diag(metric).max()) * (1 + 1e-9))
    integers = np.round(around @ cell.matrix.T / (2 * np.pi)).astype(np.int64)
    lengths = np.sum(around**2, axis=1)
    rows = [integers[np.abs(lengths - own) < 1e-9 * own] for own in np.diag(metric)]
    found = [np.eye(cell.dim, dtype=np.int64)]
    for chosen in itertools.product(*rows):
        matrix = np.array(chosen)
        if np.allclose(matrix @ metric @ matrix.T, metric, rtol=0, atol=1e-9 * metric.max()):
            if not np.array_equal(matrix, found[0]):
                found.append(matrix)
    return np.array(found)
