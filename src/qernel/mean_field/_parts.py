"""A potential as a sum over electrons and over pairs of them, found from its values."""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Complex, Float, PyTree

from ..hamiltonian import AbstractPotential
from ..lattice import Lattice
from ._grid import Grid
from ._interaction import Interaction

# A potential is a function of float64 positions: what its parts leave over is rounding, or another part.
_ROUNDING = 1e-8
# Its wavevectors may be known in float32 only, and it then misses the period of the cell by as much.
_PERIOD = 1e-4
# Fourier coefficients, relative to the largest: as good as this if points allow it, and never worse than that.
_RESOLVED, _UNRESOLVED = 1e-6, 1e-5
_MOST_POINTS, _LONGEST_SIDE = 2**23, 2**12
# Positions evaluated at once: bounds the memory of whatever the potential computes.
_BLOCK = 2**19


def one_and_two_body(
    name: str, potential: AbstractPotential, electrons: int, parameters: PyTree, grid: Grid
) -> tuple[Float[np.ndarray, "..."], Interaction | None]:
    r"""The parts of $V(r_1, \dots, r_N) = \sum_i v(r_i) + \sum_{i<j} w(r_i - r_j)$ on a grid: v at its points, and w.

    v(r) is V of one electron alone, and w(r, r') = V(r, r') - v(r) - v(r') that of two. Whether V of all electrons is
    the sum of these, and w a periodic function of r - r', is tried at random positions, electrons near to one another
    and far apart. Products with densities are integrated without error if the waves of v and w that a density can have
    are those of the functions: where the grid itself does not resolve them, finer ones do.

    **Arguments:** `parameters` of one Hamiltonian in float64; call it with float64 enabled.

    **Raises:** `ValueError` in the user's terms for a potential that is not finite, has not the period of the cell, is
    not such a sum, or has a pole or a jump, which no grid resolves.
    """
    cell = grid.waves.lattice

    def energies(r: Float[np.ndarray, "n electrons dim"]) -> Float[np.ndarray, " n"]:
        blocks = [jnp.asarray(r[i : i + _BLOCK]) for i in range(0, len(r), _BLOCK)]
        values = [np.asarray(_evaluated(potential, block, parameters)) for block in blocks]
        return np.concatenate(values).astype(np.float64)

    def alone(r: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, " n"]:
        return energies(r[:, None])

    samples = _samples(cell, electrons)
    positions = samples.reshape(-1, cell.dim)
    few = positions[:: max(1, len(positions) // 8)]
    moved = (few[:, None] + cell.matrix[None]).reshape(-1, cell.dim)
    # All in one call: the potential is compiled anew for every other number of positions.
    fine = _points(cell, tuple(2 * n for n in grid.shape))
    on_grid, own, at_few, at_moved = np.split(
        alone(np.concatenate([fine, positions, few, moved])),
        np.cumsum([len(fine), len(positions), len(few)]),
    )
    if not (np.all(np.isfinite(on_grid)) and np.all(np.isfinite(own))):
        raise ValueError(f"the potential '{name}' of one electron is not finite everywhere in the cell")
    spread = np.ptp(on_grid) + _ROUNDING * np.abs(on_grid).max()
    if not np.all(np.abs(at_moved.reshape(len(few), -1) - at_few[:, None]) <= _PERIOD * spread):
        raise ValueError(f"the potential '{name}' of one electron does not have the period of the cell")
    one_body = _on_grid(name, alone, cell, grid.shape, on_grid)
    if electrons == 1:
        return one_body, None
    own = own.reshape(len(samples), electrons)
    whole = energies(samples)
    scale = _ROUNDING * (np.abs(whole) + np.abs(own).sum(axis=1))
    left = whole - own.sum(axis=1)
    if np.all(np.abs(left) <= scale):
        return one_body, None
    first, second = np.triu_indices(electrons, 1)
    pairs = np.stack([samples[:, first], samples[:, second]], axis=2)
    both = energies(pairs.reshape(-1, 2, cell.dim)).reshape(len(samples), -1) - own[:, first] - own[:, second]
    if not np.all(np.abs(left - both.sum(axis=1)) <= scale + _ROUNDING * np.abs(both).sum(axis=1)):
        raise ValueError(
            f"the potential '{name}' is no sum over electrons and equal pairs of them (three meet in it, or it knows "
            "their spin): orbitals of a mean field and their integrals cannot have it"
        )
    _check_of_separation(name, energies, alone, cell, pairs.reshape(-1, 2, cell.dim), both.ravel())
    origin = np.zeros(cell.dim)

    def apart(s: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, " n"]:
        together = np.stack([np.broadcast_to(origin, s.shape), s], axis=1)
        return energies(together) - alone(s) - alone(origin[None])

    kernel, _ = _coefficients(name, apart, cell, grid.shape, apart(fine))
    # w(s) = w(-s): the coefficients are real up to rounding.
    return one_body, Interaction(np.real(kernel))


@eqx.filter_jit
def _evaluated(
    potential: AbstractPotential, r: Float[Array, "n electrons dim"], parameters: PyTree
) -> Float[Array, " n"]:
    return jax.vmap(lambda x: potential(x, parameters))(r)


def _samples(cell: Lattice, electrons: int) -> Float[np.ndarray, "samples electrons dim"]:
    """Clouds of electrons of all sizes, from the cell to a few thousandths of it: a short range must be met, too."""
    generator = np.random.default_rng(0)
    clouds = -(-64 // max(electrons * (electrons - 1) // 2, 1))
    sizes = np.repeat(2.0 ** -np.arange(9.0), clouds)
    centres = generator.random((len(sizes), 1, cell.dim))
    return (centres + sizes[:, None, None] * (generator.random((len(sizes), electrons, cell.dim)) - 0.5)) @ cell.matrix


def _check_of_separation(name, energies, alone, cell, pairs, both) -> None:
    """Whether the energy of two electrons is a periodic and even function of their separation."""
    chosen = np.linspace(0, len(pairs) - 1, min(len(pairs), 64)).astype(int)
    generator = np.random.default_rng(1)
    shift = generator.random((len(chosen), cell.dim)) @ cell.matrix
    image = generator.integers(-1, 2, (len(chosen), cell.dim)) @ cell.matrix
    elsewhere = np.stack([pairs[chosen, 1] + shift, pairs[chosen, 0] + shift + image], axis=1)
    found = energies(elsewhere) - alone(elsewhere[:, 0]) - alone(elsewhere[:, 1])
    if not np.all(np.abs(found - both[chosen]) <= _PERIOD * np.abs(both).max()):
        raise ValueError(
            f"the potential '{name}' of two electrons is no function of their separation with the period of the cell, "
            "so that it has no Fourier coefficients to sum"
        )


def _points(cell: Lattice, shape: tuple[int, ...]) -> Float[np.ndarray, "points dim"]:
    fractions = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), -1)
    return fractions.reshape(-1, cell.dim) @ cell.matrix


def _on_grid(name: str, function: Callable, cell: Lattice, shape: tuple[int, ...], fine: np.ndarray) -> np.ndarray:
    """The function at the points of a grid, without the waves that the grid takes for others."""
    coefficients, resolved = _coefficients(name, function, cell, shape, fine)
    if resolved:
        every_second = (slice(None, None, 2),) * len(shape)
        return fine.reshape([2 * n for n in shape])[every_second].copy()
    return np.real(np.asarray(scipy.fft.ifftn(coefficients))) * np.prod(shape)


def _coefficients(
    name: str, function: Callable, cell: Lattice, shape: tuple[int, ...], fine: np.ndarray
) -> tuple[Complex[np.ndarray, "..."], bool]:
    """Fourier coefficients of a function at the waves of a grid, from its values on one of twice as many points a side
    or on finer ones, and whether the grid itself would do."""
    if not np.all(np.isfinite(fine)):
        raise ValueError(
            f"the potential '{name}' diverges where electrons meet: its coefficients cannot be found from its values "
            "(the Coulomb repulsion of a cell is Ewald, whose are known)"
        )
    values = fine.reshape([2 * n for n in shape])
    sums = [_transform(values[(slice(None, None, 2),) * len(shape)], shape), _transform(values, shape)]
    found, change = sums[1], float(np.abs(sums[1] - sums[0]).max())
    size = _size(found, values)
    if change <= _RESOLVED * size:
        return found, True
    while change > _RESOLVED * size:
        finer = tuple(2 * n for n in values.shape)
        if math.prod(finer) > _MOST_POINTS or max(finer) > _LONGEST_SIDE:
            break
        values = function(_points(cell, finer)).reshape(finer)
        sums.append(_transform(values, shape))
        # A kink, as where the nearest image changes, leaves an error that falls as the square of the spacing (Romberg).
        before, found = found, (4 * sums[-1] - sums[-2]) / 3
        change, size = float(np.abs(found - before).max()), _size(found, values)
    if change > _UNRESOLVED * size:
        raise ValueError(
            f"the potential '{name}' has a pole, a jump or shorter waves than {min(values.shape)} points along a side "
            "of the cell resolve: make it smoother"
        )
    return found, False


def _size(coefficients: np.ndarray, values: np.ndarray) -> float:
    """The largest coefficient of a wave, beside the rounding of the constant."""
    waves = np.abs(coefficients)
    waves.flat[0] = 0.0
    return float(waves.max() + _ROUNDING * np.abs(values).max())


def _transform(values: np.ndarray, shape: tuple[int, ...]) -> Complex[np.ndarray, "..."]:
    """Coefficients at the waves of a grid of this shape, without its shortest, which has two meanings."""
    spectrum = np.asarray(scipy.fft.fftn(values)) / values.size
    waves = [np.round(np.fft.fftfreq(n, 1 / n)).astype(np.int64) for n in shape]
    out = spectrum[np.ix_(*(w % n for w, n in zip(waves, values.shape, strict=True)))]
    for axis, n in enumerate(shape):
        if n % 2 == 0:
            np.moveaxis(out, axis, 0)[n // 2] = 0.0
    return out
