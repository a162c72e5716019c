"""Wave vectors of a periodic cell at which the structure factor is measured."""

import numpy as np
from jaxtyping import Float

from qernel.hamiltonian import Hamiltonian
from qernel.lattice import Lattice


def default_wave_vectors(hamiltonian: Hamiltonian) -> Float[np.ndarray, "vectors dim"]:
    r"""All reciprocal vectors q ≠ 0 of the cell with $|q| \le 6\pi/d$, $d$ the mean spacing of the electrons.

    That is about two of the shells that a lattice of the electrons would have. Sorted by length; q and -q
    both appear. Empty with open boundaries.
    """
    cell = hamiltonian.cell
    if cell is None:
        return np.zeros((0, hamiltonian.dim))
    spacing = (cell.volume / hamiltonian.n_electrons) ** (1 / cell.dim)
    radius = 6 * np.pi / spacing
    primitive = hamiltonian.primitive
    if primitive is not None:
        # The corners of the first zone and the first Bragg peaks belong to the picture at any filling.
        radius = max(radius, 2.01 * Lattice(primitive.reciprocal).shortest_translation())
    return cell.reciprocal_vectors(radius)


def zone_corners(lattice: Lattice) -> Float[np.ndarray, "corners dim"]:
    r"""Corners K and K' of the Brillouin zone of a triangular lattice, e.g. $(b_1 + 2 b_2)/3$ for
    `triangular(a)`.

    Three corners are equivalent to K and three to K' = -K. Empty for any other lattice.
    """
    if lattice.dim != 2:
        return np.zeros((0, lattice.dim))
    shortest = Lattice(lattice.reciprocal).shortest_translation()
    shell = lattice.reciprocal_vectors(1.001 * shortest)
    if len(shell) != 6:
        return np.zeros((0, 2))
    shell = shell[np.argsort(np.arctan2(shell[:, 1], shell[:, 0]))]
    return (shell + np.roll(shell, -1, axis=0)) / 3


def check_wave_vectors(
    hamiltonian: Hamiltonian, wave_vectors: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "vectors dim"]:
    """The wave vectors as float64.

    **Raises:** `ValueError` if one is not periodic in the Hamiltonian's cell.
    """
    vectors = np.asarray(wave_vectors, np.float64)
    if vectors.ndim != 2 or vectors.shape[1] != hamiltonian.dim:
        raise ValueError(f"wave vectors need the shape (vectors, {hamiltonian.dim}), got {vectors.shape}")
    if hamiltonian.cell is not None:
        turns = vectors @ hamiltonian.cell.matrix.T / (2 * np.pi)
        wrong = np.any(np.abs(turns - np.round(turns)) > 1e-6, axis=1)
        if wrong.any():
            raise ValueError(
                f"the wave vector {vectors[wrong][0].tolist()} is not a reciprocal vector of the cell, "
                "so that its structure factor would depend on the choice of the origin"
            )
    return vectors
