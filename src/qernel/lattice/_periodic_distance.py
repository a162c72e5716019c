"""A distance that is smooth and periodic on the cell, and Euclidean at contact."""

import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._lattice import Lattice


def _obtuse_superbase(basis: np.ndarray) -> np.ndarray:
    """Selling reduction: d+1 vectors of sum zero that span the lattice, no two at an acute angle."""
    dim = len(basis)
    superbase = np.vstack([-basis.sum(axis=0), basis])
    # Angles that are acute by rounding alone count as right: mending one would bring another back, for ever.
    tolerance = 1e-12 * float(np.max(np.sum(basis**2, axis=1)))
    # A plane cell needs about as many steps as its vectors are longer than they need be, one in space a few times more.
    for _ in range(1000):
        acute = [
            (i, j) for i, j in itertools.combinations(range(dim + 1), 2) if superbase[i] @ superbase[j] > tolerance
        ]
        if not acute:
            return superbase
        i, j = acute[0]
        flipped = superbase[i].copy()
        for k in range(dim + 1):
            if k not in (i, j):
                superbase[k] += 2 / (dim - 1) * flipped
        superbase[i] = -flipped
    raise ValueError("the cell is too skewed for a Selling reduction; give shorter lattice vectors")


class PeriodicDistance(eqx.Module):
    r"""Squared distance, analytic and periodic on a cell, with $d^2(r) = |r|^2 + O(r^4)$ at contact.

    With an obtuse superbase $v_0 + \dots + v_d = 0$ of the lattice (Selling reduction) any vector obeys
    $|r|^2 = \sum_{i<j} -(v_i \cdot v_j)\,(\lambda_i - \lambda_j)^2$, and every $\lambda_i - \lambda_j$ is an integer
    on the lattice, so that the squared distance

    $$ d^2(r) = \sum_{i<j} \frac{-v_i \cdot v_j}{2\pi^2}\,\bigl[1 - \cos 2\pi(\lambda_i - \lambda_j)\bigr] \ge 0 $$

    vanishes on lattice vectors only. It keeps the full symmetry of square, triangular and cubic cells.

    **Arguments:**

    - `lattice`: the cell.

    **Shapes:** `(..., dim) -> (...)`, in the square of the lattice's unit of length.

    **Raises:** `ValueError` for a cell so skewed that its reduction does not end.

    **Source:** E. Selling, J. reine angew. Math. 77, 143 (1874), for the reduction.

    **Example:**

    ```python
    import jax.numpy as jnp
    from qernel.lattice import PeriodicDistance, triangular

    squared = PeriodicDistance(triangular(10.0))(jnp.array([[0.01, 0.0], [10.01, 0.0]]))
    assert jnp.allclose(squared, 0.01**2, rtol=1e-3)
    ```
    """

    waves: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    weights: tuple[float, ...] = eqx.field(static=True)

    def __init__(self, lattice: Lattice):
        superbase = _obtuse_superbase(np.array(lattice.matrix, dtype=float))
        dim = len(superbase) - 1
        # λ_0 = 0 and λ_i the coordinate along v_i: rows are the gradients of 2πλ_i.
        gradients = np.vstack([np.zeros(dim), 2 * np.pi * np.linalg.inv(superbase[1:]).T])
        waves, weights = [], []
        for i, j in itertools.combinations(range(dim + 1), 2):
            weight = -float(superbase[i] @ superbase[j]) / (2 * np.pi**2)
            # A right angle leaves a weight of rounding: its wave would cost a sine for nothing.
            if weight > 1e-13 * float(np.max(np.sum(superbase**2, axis=1))):
                waves.append(tuple(map(float, gradients[i] - gradients[j])))
                weights.append(weight)
        self.waves, self.weights = tuple(waves), tuple(weights)

    def __call__(self, displacement: Float[Array, "*batch dim"]) -> Float[Array, "*batch"]:
        """Squared distance of `displacement`, in its units squared."""
        waves = jnp.asarray(self.waves, displacement.dtype)
        weights = jnp.asarray(self.weights, displacement.dtype)
        # 1 - cos x = 2 sin²(x/2) keeps the relative precision at contact.
        return 2 * (jnp.sin(displacement @ waves.T / 2) ** 2 @ weights)
