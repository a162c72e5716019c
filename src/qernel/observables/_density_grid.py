"""A grid over a periodic cell in fractional coordinates, and histograms of electrons on it."""

import math
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from qernel.hamiltonian import Hamiltonian
from qernel.lattice import Lattice, Supercell


def default_grid(hamiltonian: Hamiltonian) -> tuple[int, ...]:
    """Bins along each cell vector: about 16 to a primitive cell (or an electron spacing), fewer in 3D.

    Where the potential has a primitive lattice, its translations are whole numbers of bins.
    """
    cell = hamiltonian.cell
    if cell is None:
        return ()
    lengths = np.linalg.norm(cell.matrix, axis=1)
    bins = 16 if cell.dim < 3 else 6
    supercell = hamiltonian.supercell
    if supercell is None:
        spacing = (cell.volume / hamiltonian.n_electrons) ** (1 / cell.dim)
        return tuple(max(1, math.ceil(bins * length / spacing)) for length in lengths)
    spacing = supercell.primitive.shortest_translation()
    multiples = _translation_denominators(supercell)
    return tuple(n * max(1, round(bins * length / spacing / n)) for n, length in zip(multiples, lengths, strict=True))


def _translation_denominators(cell: Supercell) -> tuple[int, ...]:
    """Fewest bins along each axis for which every primitive translation is a whole number of them."""
    fractions = cell.primitive_translations() @ np.linalg.inv(cell.lattice.matrix)
    return tuple(
        math.lcm(*(Fraction(float(f)).limit_denominator(cell.cells).denominator for f in column))
        for column in fractions.T
    )


def check_grid(grid: int | tuple[int, ...], dim: int) -> tuple[int, ...]:
    """Bins along each cell vector.

    **Raises:** `ValueError` unless there is one positive number for each.
    """
    bins = (grid,) * dim if isinstance(grid, int) else tuple(int(n) for n in grid)
    if len(bins) != dim or any(n < 1 for n in bins):
        raise ValueError(f"the density grid needs {dim} positive numbers of bins, got {grid}")
    return bins


def histogram(
    cell: Lattice,
    grid: tuple[int, ...],
    positions: Float[Array, "walkers electrons dim"],
    group: Int[np.ndarray, " walkers"],
    used: Bool[Array, " walkers"],
) -> Int[Array, "groups bins"]:
    """Electrons in each bin (flattened), for each group of walkers; walkers that are not `used` are left out.

    The bins are equal parallelepipeds in the fractional coordinates of `cell`, so that a skewed cell is as
    good as any.
    """
    fractional = cell.fractional(positions)
    # A NaN would otherwise be cast to an arbitrary bin; such walkers are never counted.
    fractional = jnp.where(jnp.isfinite(fractional), fractional, 0)
    sizes = jnp.broadcast_to(jnp.asarray(grid, fractional.dtype), fractional.shape)
    bins = jnp.floor((fractional - jnp.floor(fractional)) * sizes).astype(jnp.int32)
    bins = jnp.minimum(bins, sizes.astype(jnp.int32) - 1)
    strides = np.cumprod((1, *grid[:0:-1]))[::-1].astype(np.int32)
    flat = jnp.sum(bins * jnp.broadcast_to(jnp.asarray(strides), bins.shape), axis=-1, dtype=jnp.int32)
    total = math.prod(grid)
    groups = int(group.max()) + 1
    place = flat + jnp.broadcast_to(jnp.asarray(group * total, jnp.int32)[:, None], flat.shape)
    weight = jnp.broadcast_to(used[:, None], flat.shape).astype(jnp.int32)
    counts = jnp.zeros(groups * total, jnp.int32).at[place.reshape(-1)].add(weight.reshape(-1))
    return jax.lax.reshape(counts, (groups, total))


def density_of_groups(
    counts: Int[np.ndarray, "hamiltonians groups bins"],
    samples: Int[np.ndarray, "hamiltonians groups"],
    cell: Lattice,
) -> tuple[Float[np.ndarray, "hamiltonians bins"], Float[np.ndarray, "hamiltonians bins"]]:
    r"""Electrons per unit volume, and their error from the spread of independent groups of walkers.

    $n_b = N_b / (\text{samples}\cdot\Omega_b)$; its integral over the cell is the number of electrons. NaN
    without a sample, and NaN errors with a single group.
    """
    bins = counts.shape[-1]
    volume = cell.volume / bins
    with np.errstate(divide="ignore", invalid="ignore"):
        of_groups = counts / (samples[..., None] * volume)
        weights = samples / samples.sum(axis=1, keepdims=True)
    filled = samples > 0
    of_groups = np.where(filled[..., None], of_groups, 0.0)
    mean = np.sum(weights[..., None] * of_groups, axis=1)
    groups = filled.sum(axis=1)[:, None]
    spread = np.sum(weights[..., None] ** 2 * (of_groups - mean[:, None]) ** 2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(spread * groups / (groups - 1))
    return mean, np.where(groups > 1, error, np.nan)
