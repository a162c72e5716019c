"""The lowest eigenvector of a Hermitian operator whose diagonal is known."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Complex, Float

Vector = Complex[np.ndarray, " states"]

# Vectors of the space that is searched, and of those that are kept when it is full: the lowest and the next two, which
# hold what a conjugate gradient would remember.
_SPACE = 12
_KEPT = 3


def davidson(
    apply: Callable[[Vector], Vector],
    diagonal: Float[np.ndarray, " states"],
    start: Vector,
    *,
    tolerance: float,
    most: int,
) -> tuple[float, Vector] | None:
    r"""The lowest eigenvalue and its vector, or None if `most` applications do not find it.

    The space is widened by $t = (D - \theta)^{-1} r - \epsilon\,(D - \theta)^{-1} x$ of the residual r of the best
    vector x, orthogonal to x, with D the diagonal: where this is most of the operator, as in configuration
    interaction, a quarter of the applications of Lanczos' method suffices. The eigenvalue is wrong by about the square
    of the residual over the gap.

    **Arguments:** `tolerance`: of the norm of the residual; `start`: not orthogonal to the vector looked for.

    **Source:** E. R. Davidson, J. Comput. Phys. 17, 87 (1975); the term in ε: J. Olsen et al., Chem. Phys. Lett. 169,
    463 (1990).
    """
    vectors = [start / np.linalg.norm(start)]
    images = [apply(vectors[0])]
    # Closer to the eigenvalue than this a determinant would take over the whole correction.
    smallest = 1e-3 * float(np.ptp(diagonal)) or 1.0
    for _ in range(most):
        projected = np.array([[np.vdot(v, w) for w in images] for v in vectors])
        values, mixing = np.linalg.eigh((projected + projected.conj().T) / 2)
        x, image = _combined(mixing[:, 0], vectors), _combined(mixing[:, 0], images)
        residual = image - values[0] * x
        if np.linalg.norm(residual) <= tolerance:
            return float(values[0]), x
        if len(vectors) == _SPACE:
            vectors, images = ([_combined(mixing[:, i], of) for i in range(_KEPT)] for of in (vectors, images))
        distance = diagonal - values[0]
        distance = np.where(np.abs(distance) < smallest, smallest, distance)
        new, along = residual / distance, x / distance
        new -= np.vdot(x, new) / np.vdot(x, along) * along
        # Twice, as one pass leaves what rounding did.
        for v in vectors * 2:
            new -= np.vdot(v, new) * v
        size = np.linalg.norm(new)
        if not size > 0:
            return None
        vectors.append(new / size)
        images.append(apply(vectors[-1]))
    return None


def _combined(weights: Complex[np.ndarray, " space"], vectors: list[Vector]) -> Vector:
    total = weights[0] * vectors[0]
    for weight, vector in zip(weights[1:], vectors[1:], strict=True):
        total += weight * vector
    return total
