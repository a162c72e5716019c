"""Where to split the Coulomb interaction between real and reciprocal space, in numpy float64."""

import dataclasses
import itertools

import numpy as np
from scipy.special import erfc, erfcinv

from ..lattice import Lattice

# Times in ns on one CPU core in float32, measured: one damped real-space term of a pair, one entry of a
# table of harmonics, one multiply-add of the structure-factor product. Only their ratios matter.
_PAIR, _HARMONIC, _PRODUCT = 4.0, 1.5, 0.03


@dataclasses.dataclass(frozen=True)
class EwaldSplit:
    """Real-space images and reciprocal-space box for one splitting parameter α.

    `images` are the translations that may bring a pair in the reduced box within the real-space cutoff; with
    `nearest_only` the cutoff is so short that only the nearest of them counts. Reciprocal vectors are
    G = Σ_k n_k b_k in the reduced basis, split into `rows` (n_1, ..., n_d-1), half a space of them, and
    n_d = ±0 ... ±last, with `plus` and `minus` the weights c_G of the two signs.
    """

    alpha: float
    images: np.ndarray
    nearest_only: bool
    rows: np.ndarray
    plus: np.ndarray
    minus: np.ndarray


def kernel(lattice: Lattice, alpha: float, length: np.ndarray) -> np.ndarray:
    """c_G: Fourier coefficient of the smooth part erf(αr)/r in the periodic cell."""
    if lattice.dim == 2:
        return 2 * np.pi / (lattice.volume * length) * erfc(length / (2 * alpha))
    return 4 * np.pi / (lattice.volume * length**2) * np.exp(-((length / (2 * alpha)) ** 2))


def background(lattice: Lattice, alpha: float) -> float:
    """Cell average of erfc(αr)/r, which the neutralising background cancels."""
    if lattice.dim == 2:
        return 2 * np.sqrt(np.pi) / (alpha * lattice.volume)
    return np.pi / (alpha**2 * lattice.volume)


def madelung(lattice: Lattice) -> float:
    """Self-image constant ξ: the potential of a unit charge's images and background at its own position."""
    alpha = np.sqrt(np.pi) / lattice.volume ** (1 / lattice.dim)
    reach = 6.2
    lengths = np.linalg.norm(lattice.translations(reach / alpha)[1:], axis=1)
    real = np.sum(erfc(alpha * lengths) / lengths)
    waves = np.linalg.norm(lattice.reciprocal_vectors(2 * alpha * reach), axis=1)
    smooth = np.sum(kernel(lattice, alpha, waves))
    return float(real + smooth - background(lattice, alpha) - 2 * alpha / np.sqrt(np.pi))


def choose_split(lattice: Lattice, accuracy: float, electrons: int, alpha: float | None) -> EwaldSplit:
    """Images and reciprocal vectors for the given truncation error; if α is not given, the cheapest."""
    reach = float(erfcinv(accuracy / 10))
    if alpha is not None:
        return _split(lattice, reach, alpha)
    # Only at half the length of a translation does the number of images change.
    shortest = np.linalg.norm(lattice.reduced[0])
    longest = max(3.01 * shortest, 1.5 * lattice.volume ** (1 / lattice.dim))
    lengths = np.linalg.norm(lattice.translations(float(longest))[1:], axis=1)
    shells = np.unique(np.round(lengths / shortest, 6)) * shortest
    trials = [_split(lattice, reach, reach / (0.5 * length)) for length in shells]

    def cost(split: EwaldSplit) -> float:
        pairs = electrons * (electrons - 1) / 2
        rows, last = split.plus.shape
        waves = 2 * (rows + last) * _HARMONIC + 4 * rows * last * _PRODUCT
        images = 1 if split.nearest_only else len(split.images)
        return pairs * images * _PAIR + electrons * waves

    return min(trials, key=cost)


def _split(lattice: Lattice, reach: float, alpha: float) -> EwaldSplit:
    basis = lattice.reduced
    cutoff = reach / alpha
    nearest_only = cutoff <= 0.5 * np.linalg.norm(basis[0]) * (1 + 1e-5)
    images = lattice.nearest_translations if nearest_only else _near(lattice, basis, cutoff)

    reciprocal = 2 * np.pi * np.linalg.inv(basis).T
    radius = 2 * alpha * reach
    limits = np.floor(radius * np.linalg.norm(basis, axis=1) / (2 * np.pi)).astype(int)
    rows = [n for n in itertools.product(*(range(-m, m + 1) for m in limits[:-1])) if n >= (0,) * (lattice.dim - 1)]
    last = np.arange(limits[-1] + 1)
    rows = np.array(rows, dtype=np.int64).reshape(len(rows), lattice.dim - 1)
    plus = _weights(lattice, alpha, radius, rows @ reciprocal[:-1], last[:, None] * reciprocal[-1])
    minus = _weights(lattice, alpha, radius, rows @ reciprocal[:-1], -last[:, None] * reciprocal[-1])
    minus[:, 0] = 0.0
    minus[np.all(rows == 0, axis=1)] = 0.0
    used = np.any(plus + minus > 0, axis=1) | np.all(rows == 0, axis=1)
    return EwaldSplit(alpha, images, bool(nearest_only), rows[used], plus[used], minus[used])


def _near(lattice: Lattice, basis: np.ndarray, cutoff: float) -> np.ndarray:
    """Translations t with |x + t| < cutoff for some x = Σ_k f_k a_k, |f_k| <= 1/2, and few others."""
    farthest = 0.5 * np.sum(np.linalg.norm(basis, axis=1))
    images = lattice.translations(float(cutoff + farthest))
    # The box x + t lies beyond the cutoff if it does so along t or along the normal of one of its faces.
    duals = np.linalg.inv(basis).T
    normals = duals / np.linalg.norm(duals, axis=1, keepdims=True)
    lengths = np.linalg.norm(images, axis=1, keepdims=True)
    along = images / np.where(lengths > 0, lengths, 1.0)
    nearest = lengths[:, 0] - 0.5 * np.sum(np.abs(along @ basis.T), axis=1)
    across = np.abs(images @ normals.T) - 0.5 * np.sum(np.abs(basis @ normals.T), axis=0)
    limit = cutoff * (1 - 1e-5)
    return images[(nearest < limit) & np.all(across < limit, axis=1)]


def _weights(lattice: Lattice, alpha: float, radius: float, rows: np.ndarray, last: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(rows[:, None, :] + last[None, :, :], axis=-1)
    inside = (length > 1e-9 * radius) & (length <= radius)
    return np.where(inside, kernel(lattice, alpha, np.where(inside, length, 1.0)), 0.0)
