"""Residuals of the local energy: clipped and centred per Hamiltonian, with counts of what was done."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int


class EnergyStatistics(eqx.Module):
    """Statistics of the local energy of each Hamiltonian over its finite walkers, NaN where there is none; all but
    `robust` unclipped.

    **Fields:**

    - `energy`: mean, in effective Hartree.
    - `error`: naive standard error of this one batch, in effective Hartree; correlated walkers make it too small.
    - `variance`: in effective Hartree squared.
    - `robust`: mean of the clipped local energies, which a walker next to a node does not move far.
    - `bad`: number of walkers whose local energy is not finite.
    - `clipped`: number of walkers whose local energy the gradient saw clipped.
    """

    energy: Float[Array, " hamiltonians"]
    error: Float[Array, " hamiltonians"]
    variance: Float[Array, " hamiltonians"]
    robust: Float[Array, " hamiltonians"]
    bad: Int[Array, " hamiltonians"]
    clipped: Int[Array, " hamiltonians"]


# Of normal energies the mean absolute deviation is 1.2 times the median one. Where it is more than this many times, a
# few walkers have most of it: of twelve walkers a single one would otherwise keep 5/12 of its own distance.
_MEDIANS = 3.0


def _masked_mean(x, mask, count):
    return jnp.sum(jnp.where(mask, x, 0), axis=1, keepdims=True) / count


def _masked_median(x, mask):
    """Zero where there is nothing."""
    median = jnp.nanmedian(jnp.where(mask, x, jnp.nan), axis=1, keepdims=True)
    return jnp.where(jnp.isfinite(median), median, 0)


def clipped_residuals(
    energies: Inexact[Array, "hamiltonians walkers"], width: float = 5.0
) -> tuple[Inexact[Array, "hamiltonians walkers"], Bool[Array, "hamiltonians walkers"], EnergyStatistics]:
    r"""Centred, clipped local energies $E_\mathrm{loc} - \bar E$ for the gradient, and unclipped statistics.

    Per Hamiltonian, the real part is clipped to `width` mean absolute deviations about its median, the imaginary
    part to as much about zero, and the result is centred again. A mean deviation above three median ones is that of a
    few walkers, and three median ones take its place. Walkers with a non-finite local energy get residual
    zero, are masked out and counted. The reported energy is never clipped.

    **Arguments:** `energies` of all walkers, in effective Hartree; `width`, by default that of the source.

    **Returns:** residuals, mask of the finite walkers, statistics.

    **Source:** arXiv:1909.02487.

    **Example:**

    ```python
    import jax.numpy as jnp
    from qernel.gradient import clipped_residuals

    energies = jnp.array([[-1.0, -1.1, -0.9, -1.0, -1.1, -0.9, 40.0, jnp.nan]])
    residuals, finite, statistics = clipped_residuals(energies, width=1.0)
    assert finite.sum() == 7 and statistics.bad[0] == 1 and statistics.clipped[0] == 1
    ```
    """
    finite = jnp.isfinite(energies.real) & jnp.isfinite(energies.imag)
    count = jnp.maximum(jnp.sum(finite, axis=1, keepdims=True), 1).astype(energies.real.dtype)
    real = jnp.where(finite, energies.real, 0)
    mean = _masked_mean(real, finite, count)
    # Two passes: E[x²] - E[x]² cancels in single precision.
    variance = _masked_mean((real - mean) ** 2, finite, count)
    # About the median: a few walkers near a node move the mean by more than the spread.
    centre = _masked_median(real, finite)
    distance = jnp.abs(real - centre)
    mean_distance, median_distance = _masked_mean(distance, finite, count), _masked_median(distance, finite)
    # More than half of the energies may be one number.
    few = (median_distance > 0) & (mean_distance > _MEDIANS * median_distance)
    spread = width * jnp.where(few, _MEDIANS * median_distance, mean_distance)
    clipped = jnp.clip(real, centre - spread, centre + spread)
    outside = finite & (distance > spread)
    robust = _masked_mean(clipped, finite, count)
    residual = jnp.where(finite, clipped - robust, 0)
    if jnp.iscomplexobj(energies):
        imaginary = jnp.clip(jnp.where(finite, energies.imag, 0), -spread, spread)
        imaginary = jnp.where(finite, imaginary - _masked_mean(imaginary, finite, count), 0)
        residual = jax.lax.complex(residual, imaginary)
    # Nothing was measured where no walker is finite: a mean of nothing is not zero.
    measured = jnp.any(finite, axis=1)
    of_measured = lambda x: jnp.where(measured, x[:, 0], jnp.nan)
    statistics = EnergyStatistics(
        energy=of_measured(mean),
        error=of_measured(jnp.sqrt(variance / count)),
        variance=of_measured(variance),
        robust=of_measured(robust),
        bad=jnp.sum(~finite, axis=1),
        clipped=jnp.sum(outside, axis=1),
    )
    return residual, finite, statistics
