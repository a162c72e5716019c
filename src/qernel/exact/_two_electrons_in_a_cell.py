"""Two electrons that repel one another in a periodic cell, by plane waves of their relative motion."""

import functools
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float

from qernel.hamiltonian import Ewald
from qernel.lattice import Lattice, point_group

# Plane waves of the largest basis. By symmetry a cubic cell leaves a fiftieth of them, a skewed one half.
_WAVES = {2: 6000, 3: 14000}
_MOST_ORBITS = 3000
# Bases from which the limit is extrapolated, as parts of the largest.
_PARTS = np.linspace(0.3, 1.0, 8)


class TwoElectronsInACell(NamedTuple):
    """Energy of the lowest singlet of two electrons with its uncertainty, and its terms, in effective Hartree."""

    energy: float
    error: float
    kinetic: float
    interaction: float


def two_electrons_in_a_cell(cell: Lattice, *, prefactor: float = 1.0, strength: float = 1.0) -> TwoElectronsInACell:
    r"""The lowest fully symmetric singlet, of total momentum zero, of two electrons in a periodic cell,

    $$ H = -\frac p2\sum_{i=1}^2\nabla_i^2 + S\,[\psi(r_{12}) + \xi] , $$

    with the periodic potential ψ of a unit charge and its background, and ξ the Madelung constant of the cell. The
    relative motion is expanded in plane waves, of which the point group of the cell leaves one for each orbit. What is
    missing in a basis of M waves goes as 1/M, since the wavefunction has a cusp: energy and terms are extrapolated, and
    the error says by how much a limit from the larger half of the bases differs.

    **Arguments:** `prefactor`, p, of the kinetic energy; `strength`, S, of the repulsion.

    **Raises:** `ValueError` for a cell of one dimension, or a prefactor that is not positive.

    **Example:** `2 * two_electrons_in_a_cell(cubic((8 * np.pi / 3) ** (1 / 3))).energy`, in Rydberg, for the gas at
    r_s = 1.
    """
    if cell.dim not in (2, 3):
        raise ValueError(f"two electrons in a cell have two or three dimensions, got {cell.dim}")
    if not (np.isfinite(prefactor) and prefactor > 0 and np.isfinite(strength)):
        raise ValueError(f"the prefactor of the kinetic energy must be positive, got {prefactor:g}")
    basis = _basis(cell)
    kinetic, repulsion = prefactor * basis.squares, strength * basis.repulsion
    rows = []
    for part in _PARTS:
        orbits = int(np.searchsorted(basis.squares, basis.squares[-1] * part ** (2 / cell.dim), side="right"))
        matrix = np.diag(kinetic[:orbits]) + repulsion[:orbits, :orbits]
        values, vectors = scipy.linalg.eigh(matrix, subset_by_index=[0, 0])
        moving = float(kinetic[:orbits] @ vectors[:, 0] ** 2)
        rows.append((1 / basis.sizes[:orbits].sum(), values[0], moving, values[0] - moving))
    table = np.array(rows)
    limits, larger = _limits(table), _limits(table[len(table) // 2 :])
    energy, moving, interaction = limits + strength * Ewald(cell).madelung * np.array([1.0, 0.0, 1.0])
    return TwoElectronsInACell(float(energy), float(abs(limits[0] - larger[0])), float(moving), float(interaction))


def _limits(table: Float[np.ndarray, "bases 4"]) -> Float[np.ndarray, "3"]:
    """Energy and its terms at 1/M = 0, of straight lines."""
    return np.polyfit(table[:, 0], table[:, 1:], 1)[1]


class _Basis(NamedTuple):
    """G² of every orbit, its number of waves, and the repulsion between the normalised sums over orbits at S = 1."""

    squares: Float[np.ndarray, " orbits"]
    sizes: Float[np.ndarray, " orbits"]
    repulsion: Float[np.ndarray, "orbits orbits"]


@functools.lru_cache(maxsize=8)
def _basis(cell: Lattice) -> _Basis:
    dim = cell.dim
    group = point_group(cell)
    waves = min(_WAVES[dim], _MOST_ORBITS * len(group))
    # A sphere that holds as many waves.
    unit_sphere = {2: np.pi, 3: 4 * np.pi / 3}[dim]
    radius = 2 * np.pi * (waves / (unit_sphere * cell.volume)) ** (1 / dim)
    vectors = np.concatenate([np.zeros((1, dim)), cell.reciprocal_vectors(radius)])
    integers = np.round(vectors @ cell.matrix.T / (2 * np.pi)).astype(np.int64)
    span = 2 * np.abs(integers).max() + 1
    weights = span ** np.arange(dim)
    # The largest of the numbers of all images names the orbit.
    names = np.max(np.stack([integers @ m @ weights for m in group]), axis=0)
    _, first, member, sizes = np.unique(names, return_index=True, return_inverse=True, return_counts=True)
    # Shorter waves first, as the vectors are sorted.
    order = np.argsort(first, kind="stable")
    rank = np.argsort(order)[member]
    first, sizes = first[order], sizes[order].astype(np.float64)
    repulsion = np.empty((len(first), len(first)))
    for row, start in enumerate(first):
        squares = np.sum((vectors[start] - vectors) ** 2, axis=1)
        alone = squares < 1e-9 * radius**2
        kernel = np.where(alone, 0, 4 * np.pi / np.where(alone, 1, squares))
        if dim == 2:
            kernel = np.where(alone, 0, 2 * np.pi / np.sqrt(np.where(alone, 1, squares)))
        repulsion[row] = np.bincount(rank, kernel, minlength=len(first))
    repulsion *= np.sqrt(sizes[:, None] / sizes[None, :]) / cell.volume
    return _Basis(np.sum(vectors[first] ** 2, axis=1), sizes, (repulsion + repulsion.T) / 2)
