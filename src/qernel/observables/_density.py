"""Charge and spin density from samples."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from qernel.hamiltonian import Hamiltonian

from ._density_grid import check_grid, default_grid, histogram
from ._estimate import Estimate
from ._walker_means import in_float64, periodic_cell, walker_means


def density(
    samples: Float[np.ndarray | Array, "walkers records electrons dim"],
    hamiltonian: Hamiltonian,
    grid: int | tuple[int, ...] | None = None,
) -> Estimate:
    r"""Electrons per unit volume, $n(r) = \langle\sum_i\delta(r - r_i)\rangle$, averaged over each bin of a grid.

    The bins are equal parallelepipeds in the fractional coordinates of the cell, $\lfloor f_d\,\texttt{grid}_d\rfloor$,
    so that skewed cells are as good as any; the mean over the bins is $N/\Omega$. `grid` defaults to about 16 bins to
    a primitive cell. Value of shape `grid`, in inverse effective Bohr radii to the power of the dimension.

    **Raises:** `ValueError` for open boundaries or a grid that does not fit the dimension.
    """
    return _density(samples, hamiltonian, grid, 1)


def spin_density(
    samples: Float[np.ndarray | Array, "walkers records electrons dim"],
    hamiltonian: Hamiltonian,
    grid: int | tuple[int, ...] | None = None,
) -> Estimate:
    r"""Spin density $n_\uparrow(r) - n_\downarrow(r)$, on the bins of [`density`][qernel.observables.density].

    **Raises:** `ValueError` for open boundaries or a grid that does not fit the dimension.
    """
    return _density(samples, hamiltonian, grid, -1)


def _density(samples, hamiltonian, grid, sign) -> Estimate:
    cell = periodic_cell(hamiltonian)
    bins = default_grid(hamiltonian) if grid is None else check_grid(grid, cell.dim)
    observe = Partial(_binned, cell, bins, hamiltonian.electrons[0], sign)
    return walker_means(observe, in_float64(samples)).estimate()


def _binned(cell, bins, up, sign, r):
    one = np.zeros(1, np.int64)
    count = lambda x: histogram(cell, bins, x[None], one, jnp.ones(1, bool))
    per_volume = np.prod(bins) / cell.volume
    counts = jax.lax.reshape(count(r[:up]) + sign * count(r[up:]), bins)
    return counts.astype(r.dtype) * per_volume
