import itertools
from collections.abc import Sequence

import equinox as eqx
import numpy as np

from ._lattice import Lattice
from ._reduction import length_order, reduced_basis

# Of a whole number of turns or of primitive vectors: a cell written with seven digits passes, one that does not close
# does not.
_TOLERANCE = 1e-6
# Numbers written with three digits or more are off by less.
_ROUNDED = 0.02


def _integers(index: Sequence[Sequence[int]] | np.ndarray) -> tuple[tuple[int, ...], ...]:
    array = np.asarray(index)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ValueError(f"a supercell needs a square matrix of integers, got shape {array.shape}")
    if not np.all(array == np.round(array)):
        raise ValueError(f"a supercell needs whole numbers of primitive vectors, got {array.tolist()}")
    return tuple(tuple(int(n) for n in row) for row in array)


class Supercell(eqx.Module):
    """A periodic box made of whole primitive cells: A_i = Σ_j index_ij a_j.

    **Arguments:**

    - `primitive`: the lattice of primitive vectors a_j.
    - `index`: square matrix of integers, one row for each supercell vector.

    **Raises:** `ValueError` if the matrix is singular, not square, not whole or of another dimension.
    """

    primitive: Lattice
    index: tuple[tuple[int, ...], ...] = eqx.field(static=True, converter=_integers)

    def __check_init__(self) -> None:
        if len(self.index) != self.primitive.dim:
            raise ValueError(
                f"a supercell of a {self.primitive.dim}-dimensional lattice needs a matrix of that size, "
                f"got {[list(row) for row in self.index]}"
            )
        if self.cells == 0:
            raise ValueError(f"the supercell vectors {[list(row) for row in self.index]} are not linearly independent")

    @property
    def lattice(self) -> Lattice:
        """Lattice of the supercell vectors A_i."""
        return Lattice(np.array(self.index, dtype=np.float64) @ self.primitive.matrix)

    @property
    def cells(self) -> int:
        """Number of primitive cells, |det index|."""
        return int(abs(round(np.linalg.det(np.array(self.index, dtype=np.float64)))))

    def is_commensurate(self, lattice: Lattice) -> bool:
        """Whether a function with the period of `lattice` is periodic in the supercell."""
        return is_commensurate(self.lattice, lattice)

    def contains(self, q: Sequence[float] | np.ndarray) -> bool:
        """Whether q is a reciprocal vector of the supercell: all q·A_i are multiples of 2π."""
        turns = self.lattice.matrix @ np.asarray(q, dtype=np.float64) / (2 * np.pi)
        return bool(np.all(np.abs(turns - np.round(turns)) < _TOLERANCE))

    def primitive_translations(self) -> np.ndarray:
        """Primitive translations inside the supercell, 0 first.

        Shape (cells, dim), in effective Bohr radii.
        """
        return _inner_points(np.array(self.index)) @ self.primitive.matrix

    def momenta(self) -> np.ndarray:
        """Momenta of the supercell's Bloch waves in the primitive cell's first Brillouin zone.

        Shape (cells, dim), in inverse effective Bohr radii, sorted by length, then lexicographically. On the zone
        boundary one of the equivalent momenta is returned.
        """
        # In the supercell's reciprocal basis the primitive reciprocal vectors have the coefficients index^T.
        inner = _inner_points(np.array(self.index).T) @ self.lattice.reciprocal
        basis = reduced_basis(self.primitive.reciprocal)
        inner = inner - np.round(inner @ np.linalg.inv(basis)) @ basis
        neighbours = np.array(list(itertools.product((-1, 0, 1), repeat=len(basis)))) @ basis
        scale = float(np.linalg.norm(basis[0]))
        folded = np.stack([trial[length_order(trial, scale)[0]] for trial in inner[:, None] + neighbours])
        return folded[length_order(folded, scale)]

    def twisted_momenta(self, twist: Sequence[float] | np.ndarray) -> np.ndarray:
        """Momenta of Bloch waves with twisted boundary conditions ψ(r + A_i) = exp(iθ_i) ψ(r).

        They are `momenta` plus Σ_i θ_i B_i / 2π, and are not folded back.

        **Arguments:** `twist`, the angles θ_i in radians.

        **Raises:** `ValueError` for another number of angles than dimensions.
        """
        angles = np.asarray(twist, dtype=np.float64)
        if angles.shape != (self.primitive.dim,):
            raise ValueError(f"a twist needs {self.primitive.dim} angles, got shape {angles.shape}")
        return self.momenta() + angles @ self.lattice.reciprocal / (2 * np.pi)


def _inner_points(index: np.ndarray) -> np.ndarray:
    """Integer vectors n with n = f @ index, 0 <= f < 1, exactly; origin first, then lexicographically."""
    determinant = round(np.linalg.det(index))
    adjugate = np.round(np.linalg.inv(index) * determinant).astype(np.int64) * np.sign(determinant)
    low = np.minimum(index, 0).sum(axis=0)
    high = np.maximum(index, 0).sum(axis=0)
    axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    trial = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(index))
    numerators = trial @ adjugate
    inside = trial[np.all((numerators >= 0) & (numerators < abs(determinant)), axis=1)]
    return inside[np.argsort(np.any(inside != 0, axis=1), kind="stable")]


def supercell(primitive: Lattice, size: int | Sequence[int] | Sequence[Sequence[int]] | np.ndarray) -> Supercell:
    """Supercell of n x n (x n) cells, of n_1 x n_2 (x n_3) cells, or with a matrix of integers.

    **Arguments:** `primitive`, the lattice of the cells; `size`, n, or (n_1, n_2, ...), or the rows of integers of the
    supercell vectors.

    **Raises:** `ValueError` if the matrix is singular, not square, not whole or of another dimension.

    **Example:**

    ```python
    from qernel.lattice import supercell, triangular

    lattice = triangular(10.6)
    assert supercell(lattice, 3).cells == 9
    assert supercell(lattice, (3, 6)).cells == 18
    assert supercell(lattice, ((1, 1), (-1, 2))).cells == 3  # √3 x √3
    ```
    """
    array = np.asarray(size)
    if array.ndim == 0:
        array = np.full(primitive.dim, array)
    if array.ndim == 1:
        array = np.diag(array)
    return Supercell(primitive, array)


def is_commensurate(supercell_lattice: Lattice, primitive_lattice: Lattice) -> bool:
    """Whether every supercell vector is a whole combination of primitive vectors, to a millionth of one."""
    if supercell_lattice.dim != primitive_lattice.dim:
        return False
    return _deviation(_index(supercell_lattice, primitive_lattice)) < _TOLERANCE


def _index(supercell_lattice: Lattice, primitive_lattice: Lattice) -> np.ndarray:
    """The supercell vectors in primitive ones."""
    return supercell_lattice.matrix @ np.linalg.inv(primitive_lattice.matrix)


def _deviation(index: np.ndarray) -> float:
    return float(np.abs(index - np.round(index)).max())


def check_commensurate(
    supercell_lattice: Lattice, primitive_lattice: Lattice, what: str = "the primitive lattice"
) -> None:
    """Refuse a supercell that does not consist of whole primitive cells.

    **Arguments:** `what` the primitive lattice is, in the message.

    **Raises:** `ValueError` that gives the supercell vectors in primitive ones, how far they are from whole numbers and
    how far they may be.
    """
    if supercell_lattice.dim != primitive_lattice.dim:
        raise ValueError(f"the supercell has {supercell_lattice.dim} dimensions, {what} {primitive_lattice.dim}")
    index = _index(supercell_lattice, primitive_lattice)
    away = _deviation(index)
    if away < _TOLERANCE:
        return
    message = (
        f"the supercell is incommensurate with {what}: its vectors are {np.round(index, 6).tolist()} primitive "
        f"vectors, which must be whole numbers to {_TOLERANCE:g}, and one is off by {away:.2g}"
    )
    # Rounded numbers of a table: far from any fraction that could be meant, too far for the phases of waves.
    if away < _ROUNDED and abs(np.linalg.det(np.round(index))) > 0.5:
        message += "; it seems to be rounded: give all digits, or make it by qernel.lattice.supercell"
    raise ValueError(message)
