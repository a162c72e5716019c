import numpy as np

from ._lattice import Lattice


def _positive(**lengths: float) -> None:
    for name, value in lengths.items():
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"the lattice constant {name} must be positive, got {value:g}")


def square(a: float) -> Lattice:
    """Square lattice of constant a: a₁ = a (1, 0), a₂ = a (0, 1).

    **Raises:** `ValueError` if `a` is not positive.
    """
    _positive(a=a)
    return Lattice(((a, 0.0), (0.0, a)))


def rectangular(a: float, b: float) -> Lattice:
    """Rectangular lattice of constants a (along x) and b (along y).

    **Raises:** `ValueError` if `a` or `b` is not positive.
    """
    _positive(a=a, b=b)
    return Lattice(((a, 0.0), (0.0, b)))


def triangular(a: float) -> Lattice:
    """Triangular lattice of constant a: a₁ = a (1, 0), a₂ = a (1/2, √3/2).

    **Raises:** `ValueError` if `a` is not positive.
    """
    _positive(a=a)
    return Lattice(((a, 0.0), (a / 2, a * np.sqrt(3) / 2)))


def oblique(a: float, b: float, angle_degrees: float) -> Lattice:
    """Oblique lattice: a₁ = a (1, 0), a₂ = b (cos γ, sin γ) at the angle γ, `angle_degrees`.

    **Raises:** `ValueError` if `a` or `b` is not positive, or the vectors are parallel.
    """
    _positive(a=a, b=b)
    angle = np.deg2rad(angle_degrees)
    return Lattice(((a, 0.0), (b * np.cos(angle), b * np.sin(angle))))


def cubic(a: float) -> Lattice:
    """Simple cubic lattice of constant a, vectors along x, y and z.

    **Raises:** `ValueError` if `a` is not positive.
    """
    _positive(a=a)
    return Lattice(a * np.eye(3))


def bcc(a: float) -> Lattice:
    """Body-centred cubic lattice of cubic constant a, primitive vectors a/2 (-1, 1, 1) and permutations.

    **Raises:** `ValueError` if `a` is not positive.
    """
    _positive(a=a)
    return Lattice(a / 2 * (np.ones((3, 3)) - 2 * np.eye(3)))


def fcc(a: float) -> Lattice:
    """Face-centred cubic lattice of cubic constant a, primitive vectors a/2 (0, 1, 1) and permutations.

    **Raises:** `ValueError` if `a` is not positive.
    """
    _positive(a=a)
    return Lattice(a / 2 * (np.ones((3, 3)) - np.eye(3)))


def hexagonal(a: float, c: float) -> Lattice:
    """Three-dimensional hexagonal lattice: triangular layers of constant a, stacked at distance c along z.

    **Raises:** `ValueError` if `a` or `c` is not positive.
    """
    _positive(a=a, c=c)
    return Lattice(((a, 0.0, 0.0), (a / 2, a * np.sqrt(3) / 2, 0.0), (0.0, 0.0, c)))
