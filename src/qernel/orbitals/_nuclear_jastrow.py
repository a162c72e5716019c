from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from qernel.layers import Frozen

from ._floored_range import floored_range


class NuclearJastrow(eqx.Module):
    r"""Satisfies the electron-nucleus cusp conditions, with a trained range at each nucleus:

    $$ J(r;\lambda) = -\sum_i\sum_A \kappa_A(\lambda)\,b_A\bigl(1 - e^{-|r_i - R_A|/b_A}\bigr) , $$

    of the slope $-\kappa_A$ at nucleus A, beside orbitals that are smooth there. Open boundaries.

    **Arguments:**

    - `cusp`: [`Hamiltonian.nuclear_cusp`][qernel.hamiltonian.Hamiltonian.nuclear_cusp], or a function of the parameters
      that returns κ of each nucleus; it is not trained.
    - `positions`: R_A, in units of length.
    - `range_`: b at the start; training leaves it above a tenth of that. Of an infinite range the factor is
      $e^{-\kappa r}$.

    **Raises:** `ValueError` for a range that is not positive, or no nuclei.

    **Example:** `NuclearJastrow(cusp, cusp.positions, 2.0)` with `cusp = hamiltonian.nuclear_cusp`.

    **Source:** T. Kato, Commun. Pure Appl. Math. 10, 151 (1957).
    """

    log_range: Float[Array, " nuclei"]
    cusp: Frozen
    positions: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    start: float = eqx.field(static=True)

    def __init__(
        self,
        cusp: Callable[[Any], Float[Array, " nuclei"]],
        positions: tuple[tuple[float, ...], ...] | np.ndarray,
        range_: float,
        dtype: DTypeLike = jnp.float32,
    ):
        places = np.asarray(positions, np.float64)
        if places.ndim != 2 or 0 in places.shape:
            raise ValueError(f"a nuclear cusp needs positions (nuclei, dim), got the shape {places.shape}")
        if not (np.isfinite(range_) and range_ > 0):
            raise ValueError(f"the range of a Jastrow factor must be positive, got {range_}")
        self.positions = tuple(tuple(float(x) for x in place) for place in places)
        self.start = float(range_)
        self.log_range = jnp.full((len(places),), np.log(range_), dtype)
        self.cusp = Frozen(cusp)

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> Float[Array, ""]:
        """Logarithm of the factor at one configuration, for the parameters of one Hamiltonian."""
        slope, length, _, distance = self._parts(r, parameters)
        return jnp.sum(slope * length * jnp.expm1(-distance / length))

    def derivatives(
        self, r: Float[Array, "electrons dim"], parameters: Any
    ) -> tuple[Float[Array, ""], Float[Array, "electrons dim"], Float[Array, ""]]:
        """The logarithm with its gradient and Laplacian."""
        slope, length, separation, distance = self._parts(r, parameters)
        decay = jnp.exp(-distance / length)
        first = -slope * decay
        gradient = jnp.sum((first / distance)[..., None] * separation, axis=1)
        laplacian = jnp.sum(-first / length + (r.shape[1] - 1) * first / distance)
        return jnp.sum(slope * length * jnp.expm1(-distance / length)), gradient, laplacian

    def _parts(self, r, parameters):
        """κ and b, with an axis for the electrons, separations and distances (electrons, nuclei)."""
        dtype = r.dtype
        slope = jnp.asarray(self.cusp(parameters)).astype(dtype)[None]
        length = floored_range(self.log_range, self.start).astype(dtype)[None]
        separation = r[:, None] - jnp.asarray(np.array(self.positions), dtype)[None]
        # An electron on a nucleus has probability zero; the floor only keeps derivatives finite there.
        distance = jnp.sqrt(jnp.sum(separation**2, axis=-1) + jnp.finfo(dtype).tiny ** 0.5)
        return slope, length, separation, distance
