"""Pair correlation functions, radial and on a map of displacements."""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from qernel.hamiltonian import Hamiltonian

from ._density_grid import check_grid, default_grid, histogram
from ._estimate import Estimate, estimates
from ._walker_means import in_float64, periodic_cell, walker_means


class PairCorrelation(eqx.Module):
    r"""Pair correlations g of all electrons, of parallel and of antiparallel pairs.

    $$ g(r) = \frac{\Omega}{N^2}\Bigl\langle\sum_{i\neq j}\delta(r - r_i + r_j)\Bigr\rangle , $$

    averaged over the position of the pair, with $N^2$ replaced by $N_\uparrow^2 + N_\downarrow^2$ for parallel and by
    $2N_\uparrow N_\downarrow$ for antiparallel spins, so that
    $N^2 g = (N_\uparrow^2 + N_\downarrow^2)\,g_\parallel + 2N_\uparrow N_\downarrow\,g_{\uparrow\downarrow}$.
    Independent electrons of uniform density have $g = 1 - 1/N$,
    $g_\parallel = 1 - N/(N_\uparrow^2 + N_\downarrow^2)$ and $g_{\uparrow\downarrow} = 1$; in a large cell all are 1.
    A density that is not uniform modulates g.

    **Fields:**

    - `displacement`: centres of the bins, radii or Cartesian vectors, in effective Bohr radii.
    - `total`, `parallel`, and `antiparallel`: None if all spins are parallel.
    """

    displacement: Float[np.ndarray, "..."]
    total: Estimate
    parallel: Estimate
    antiparallel: Estimate | None


def pair_correlation(
    samples: Float[np.ndarray | Array, "walkers records electrons dim"],
    hamiltonian: Hamiltonian,
    bins: int = 40,
) -> PairCorrelation:
    r"""g(r), averaged over directions, on `bins` equal shells from 0 to the radius of the circle inscribed in the cell.

    Distances are those of the minimum image, and the volume of every shell is exact, in one to three dimensions. See
    [`PairCorrelation`][qernel.observables.PairCorrelation] for the normalisation.

    **Raises:** `ValueError` for open boundaries or no bins.
    """
    cell = periodic_cell(hamiltonian)
    if bins < 1:
        raise ValueError(f"a pair correlation needs at least one bin, got {bins}")
    largest = cell.shortest_translation() / 2
    found = _measure(samples, hamiltonian, Partial(_shells, largest, bins, cell.dim))
    return PairCorrelation((np.arange(bins) + 0.5) * largest / bins, *found)


def pair_map(
    samples: Float[np.ndarray | Array, "walkers records electrons dim"],
    hamiltonian: Hamiltonian,
    grid: int | tuple[int, ...] | None = None,
) -> PairCorrelation:
    r"""g(Δ) on a grid of displacements Δ over the cell, bin $\lfloor f_d\,\texttt{grid}_d\rfloor$ of its fractions f.

    Values of shape `grid`, `displacement` of shape `(*grid, dim)`; $g(\Delta) = g(-\Delta)$. The mean over the map is
    $1 - 1/N$.

    **Raises:** `ValueError` for open boundaries or a grid that does not fit the dimension.
    """
    cell = periodic_cell(hamiltonian)
    sizes = default_grid(hamiltonian) if grid is None else check_grid(grid, cell.dim)
    found = _measure(samples, hamiltonian, Partial(_bins, sizes))
    centres = np.meshgrid(*[(np.arange(n) + 0.5) / n for n in sizes], indexing="ij")
    return PairCorrelation(np.stack(centres, axis=-1) @ cell.matrix, *found)


def _measure(samples, hamiltonian, count) -> tuple[Estimate, Estimate, Estimate | None]:
    observe = Partial(_pairs, hamiltonian.cell, hamiltonian.electrons, count)
    return estimates(walker_means(observe, in_float64(samples)))


def _pairs(cell, electrons, count, r):
    """g of one configuration: all pairs, parallel ones, antiparallel ones; `count` is per unit volume."""
    up, down = electrons
    i, j = np.triu_indices(up + down, 1)
    same = (i < up) == (j < up)
    of = lambda chosen: cell.volume * count(cell, r[i[chosen]] - r[j[chosen]])
    parallel = of(same)
    if not (up and down):
        return parallel / (up + down) ** 2, parallel / (up + down) ** 2, None
    antiparallel = of(~same)
    total = (parallel + antiparallel) / (up + down) ** 2
    return total, parallel / (up**2 + down**2), antiparallel / (2 * up * down)


def _shells(largest, bins, dim, cell, separation):
    distance = jnp.sqrt(jnp.sum(cell.minimum_image(separation) ** 2, axis=-1))
    # Both orders of a pair; what lies beyond the last shell is dropped.
    counts = jnp.zeros(bins, distance.dtype).at[(distance / largest * bins).astype(jnp.int32)].add(2.0, mode="drop")
    edges = np.arange(bins + 1) * largest / bins
    return counts / (math.pi ** (dim / 2) / math.gamma(dim / 2 + 1) * np.diff(edges**dim))


def _bins(sizes, cell, separation):
    both = jnp.stack([separation, -separation])
    counts = histogram(cell, sizes, both, np.zeros(2, np.int64), jnp.ones(2, bool))
    return counts.reshape(sizes).astype(separation.dtype) * (math.prod(sizes) / cell.volume)
