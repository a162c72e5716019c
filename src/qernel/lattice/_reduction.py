"""Shortest bases and lattice points by radius, in float64 with numpy."""

import itertools

import numpy as np

# Relative: far above the rounding of float64 in a few products, far below any difference of lengths that a cell means.
_TOLERANCE = 1e-9


def reduced_basis(matrix: np.ndarray) -> np.ndarray:
    """Minkowski-reduced basis (rows) of the lattice spanned by the rows of `matrix`, shortest vector first.

    In up to three dimensions a basis is Minkowski-reduced as soon as no vector can be shortened by adding
    the others with coefficients -1, 0 or 1. Rounded projections come first, so that long skewed cells
    need few passes.
    """
    basis = np.array(matrix, dtype=np.float64)
    dim = len(basis)
    changed = True
    while changed:
        changed = False
        basis = basis[np.argsort(np.sum(basis**2, axis=1), kind="stable")]
        for k in range(dim):
            others = [j for j in range(dim) if j != k]
            for j in others:
                steps = np.round(basis[k] @ basis[j] / (basis[j] @ basis[j]))
                shorter = basis[k] - steps * basis[j]
                if shorter @ shorter < basis[k] @ basis[k] * (1 - _TOLERANCE):
                    basis[k] = shorter
                    changed = True
            for signs in itertools.product((-1, 0, 1), repeat=len(others)):
                shorter = basis[k] + np.array(signs, dtype=np.float64) @ basis[others]
                if shorter @ shorter < basis[k] @ basis[k] * (1 - _TOLERANCE):
                    basis[k] = shorter
                    changed = True
    return basis


def nearest_candidates(basis: np.ndarray) -> np.ndarray:
    """Translations, 0 first, that may bring a point x = Σ_k f_k a_k, |f_k| <= 1/2, nearest to the origin.

    For a reduced basis they have coefficients -1, 0, 1; and |x + t| < |x| for some x only if
    max_x (-2 x·t) = Σ_k |a_k·t| exceeds |t|².
    """
    dim = len(basis)
    candidates = [np.zeros(dim)]
    for coefficients in itertools.product((-1, 0, 1), repeat=dim):
        t = np.array(coefficients, dtype=np.float64) @ basis
        if any(coefficients) and np.sum(np.abs(basis @ t)) > (t @ t) * (1 + _TOLERANCE):
            candidates.append(t)
    return np.stack(candidates)


def length_order(vectors: np.ndarray, scale: float) -> np.ndarray:
    """Permutation that sorts vectors by length, then lexicographically, in units of `scale`."""
    # Rounding makes symmetry-equal lengths and components tie exactly, so the order is reproducible: seven digits are
    # far coarser than the errors of float64 and still tell different shells of a cell apart.
    keys = np.round(vectors / scale, 7) + 0.0
    lengths = np.round(np.linalg.norm(vectors, axis=1) / scale, 7)
    return np.lexsort((*keys.T[::-1], lengths))


def lattice_indices(matrix: np.ndarray, radius: float) -> np.ndarray:
    """Integers n with |n @ matrix| <= radius, sorted by that length, then lexicographically by the vector.

    The box of trial indices follows from the radius (|n_k| <= radius |b_k|, b the dual basis), so no vector
    of a skewed or elongated cell is missed.
    """
    dim = len(matrix)
    basis = reduced_basis(matrix)
    change = np.round(basis @ np.linalg.inv(matrix)).astype(np.int64)
    dual = np.linalg.norm(np.linalg.inv(basis), axis=0)
    limits = np.floor(radius * dual * (1 + _TOLERANCE) + _TOLERANCE).astype(np.int64)
    axes = [np.arange(-n, n + 1) for n in limits]
    trial = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, dim)
    trial = trial[np.linalg.norm(trial @ basis, axis=1) <= radius * (1 + _TOLERANCE)]
    indices = trial @ change
    return indices[length_order(indices @ matrix, float(np.linalg.norm(basis[0])))]
