from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Float

from ._reduction import lattice_indices, nearest_candidates, reduced_basis


def _rows(vectors: Sequence[Sequence[float]] | np.ndarray) -> tuple[tuple[float, ...], ...]:
    matrix = np.asarray(vectors, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not 1 <= matrix.shape[0] <= 3:
        raise ValueError(f"a lattice needs 1, 2 or 3 vectors with as many components, got shape {matrix.shape}")
    return tuple(tuple(float(x) for x in row) for row in matrix)


class Lattice(eqx.Module):
    """A Bravais lattice in one, two or three dimensions: all integer combinations of its primitive vectors.

    Everything is static float64; functions of positions compute at the dtype of the positions. Cells may be
    skewed, elongated or left-handed.

    **Arguments:**

    - `vectors`: the primitive vectors a_i as rows, in effective Bohr radii.

    **Raises:** `ValueError` if the vectors are not linearly independent.

    **Example:**

    ```python
    import jax.numpy as jnp
    from qernel.lattice import Lattice

    cell = Lattice(((4.0, 0.0), (1.0, 3.0)))
    assert cell.dim == 2 and cell.reciprocal.shape == (2, 2)
    r = jnp.array([9.5, 2.0])
    assert jnp.linalg.norm(cell.minimum_image(r)) < jnp.linalg.norm(cell.wrap(r))
    ```
    """

    vectors: tuple[tuple[float, ...], ...] = eqx.field(static=True, converter=_rows)

    def __check_init__(self) -> None:
        matrix = self.matrix
        lengths = np.linalg.norm(matrix, axis=1)
        # The relative volume of a cell with coefficients up to 1e6 is still far above this.
        if not np.all(np.isfinite(matrix)) or not self.volume > 1e-12 * np.prod(lengths):
            raise ValueError(f"the lattice vectors {matrix.tolist()} are not linearly independent")

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return len(self.vectors)

    @property
    def matrix(self) -> np.ndarray:
        """Primitive vectors as the rows of a float64 matrix."""
        return np.array(self.vectors, dtype=np.float64)

    @property
    def volume(self) -> float:
        """Volume of the cell (area in two dimensions, length in one), |det a|, positive for a left-handed one, too."""
        return float(abs(np.linalg.det(self.matrix)))

    @property
    def reciprocal(self) -> np.ndarray:
        """Reciprocal vectors b_i as rows, a_i·b_j = 2π δ_ij."""
        return 2 * np.pi * np.linalg.inv(self.matrix).T

    @property
    def reduced(self) -> np.ndarray:
        """Basis of the lattice with the shortest vectors, as rows, sorted by length."""
        return reduced_basis(self.matrix)

    @property
    def nearest_translations(self) -> np.ndarray:
        """Translations, 0 first, one of which brings a point of the reduced box nearest to the origin.

        Shape (translations, dim). The reduced box is r = Σ_i f_i a_i, |f_i| <= 1/2, with a_i the rows of `reduced`.
        """
        return nearest_candidates(self.reduced)

    def reciprocal_vectors(self, radius: float) -> np.ndarray:
        """All reciprocal lattice vectors 0 < |G| <= radius, sorted by length, then lexicographically.

        Shape (vectors, dim), in inverse effective Bohr radii.
        """
        indices = lattice_indices(self.reciprocal, radius)
        return (indices @ self.reciprocal)[1:]

    def translations(self, radius: float) -> np.ndarray:
        """All lattice vectors |t| <= radius, 0 included, sorted by length, then lexicographically.

        Shape (vectors, dim), in effective Bohr radii.
        """
        return lattice_indices(self.matrix, radius) @ self.matrix

    def shortest_translation(self) -> float:
        """Length of the shortest lattice vector, twice the radius of the circle inscribed in the cell."""
        return float(np.linalg.norm(self.reduced[0]))

    def fractional(self, r: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        """Coordinates f of positions r = Σ_i f_i a_i, without unit."""
        inverse = jnp.asarray(np.linalg.inv(self.matrix), r.dtype)
        return jnp.matmul(r, inverse, precision=Precision.HIGHEST)

    def wrap(self, r: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        """Move r by a lattice vector into the cell 0 <= f_i < 1 (up to rounding)."""
        cells = jnp.floor(self.fractional(r))
        return r - jnp.matmul(cells, jnp.asarray(self.matrix, r.dtype), precision=Precision.HIGHEST)

    def minimum_image(self, dr: Float[Array, "*batch dim"]) -> Float[Array, "*batch dim"]:
        """Shortest of all dr + t, t a lattice vector; right for any cell, however skewed.

        It has kinks where two images are equally far: for distances in a wavefunction take
        [`PeriodicDistance`][qernel.lattice.PeriodicDistance].
        """
        basis = self.reduced
        inverse = jnp.asarray(np.linalg.inv(basis), dr.dtype)
        cells = jnp.round(jnp.matmul(dr, inverse, precision=Precision.HIGHEST))
        # Subtracting whole vectors, not scaling the remainder, keeps short separations to full precision.
        dr = dr - jnp.matmul(cells, jnp.asarray(basis, dr.dtype), precision=Precision.HIGHEST)
        shortest, length2 = dr, jnp.sum(dr**2, axis=-1, keepdims=True)
        for t in self.nearest_translations[1:]:
            trial = dr + jnp.broadcast_to(jnp.asarray(t, dr.dtype), dr.shape)
            trial2 = jnp.sum(trial**2, axis=-1, keepdims=True)
            shortest = jnp.where(trial2 < length2, trial, shortest)
            length2 = jnp.minimum(trial2, length2)
        return shortest
