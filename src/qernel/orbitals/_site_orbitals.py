from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ._orbitals import AbstractOrbitals


def _rows(sites: Any) -> tuple[tuple[float, ...], ...]:
    table = np.asarray(sites, np.float64)
    if table.ndim != 2 or not len(table):
        raise ValueError(f"orbitals on sites need positions of the shape (sites, dim), got {table.shape}")
    return tuple(tuple(row) for row in table.tolist())


class SiteOrbitals(AbstractOrbitals):
    r"""A Gaussian on each site, $\phi_j(r;\lambda) = e^{-d^2(r - R_j)/2w(\lambda)^2}$: electrons of a crystal.

    **Arguments:**

    - `sites`: positions $R_j$, one for each orbital.
    - `width`: w, a function of the Hamiltonian's parameters.
    - `squared_distance`: $d^2$, in a periodic cell [`PeriodicDistance`][qernel.lattice.PeriodicDistance], which is
      analytic and Euclidean close to the site; open boundaries without one.

    **Raises:** `ValueError` for no sites, or positions that are no table.
    """

    sites: tuple[tuple[float, ...], ...] = eqx.field(static=True, converter=_rows)
    width: Callable[[PyTree], Float[Array, ""]]
    squared_distance: eqx.Module | None = None

    @property
    def orbitals(self) -> int:
        return len(self.sites)

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, "electrons orbitals"]:
        with jax.named_scope("qernel.orbitals.SiteOrbitals"):
            away = r[:, None] - jnp.asarray(self.sites, r.dtype)[None]
            squared = (
                jnp.sum(away**2, axis=-1) if self.squared_distance is None else self.squared_distance(away)  # type: ignore[operator]
            )
            return jnp.exp(-squared / (2 * self.width(parameters).astype(r.dtype) ** 2))
