"""Residuals of the local energy: clipped and centred per Hamiltonian, with counts of what was done."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int


class EnergyStatistics(eqx.Module):
    """Unclipped statistics of the local energy of each Hamiltonian, over its finite walkers; NaN where there is none.

    **Fields:**

    - `energy`: mean, in effective Hartree.
    - `error`: naive standard error of this one batch, in effective Hartree; correlated walkers make it too small.
    - `variance`: in effective Hartree squared.
    - `bad`: number of walkers whose local energy is not finite.
    - `clipped`: number of walkers whose local energy the gradient saw clipped.
    """

    energy: Float[Array, " hamiltonians"]
    error: Float[Array, " hamiltonians"]
    variance: Float[Array, " hamiltonians"]
    bad: Int[Array, " hamiltonians"]
    clipped: Int[Array, " hamiltonians"]


def _masked_mean(x, mask, count):
    return jnp.sum(jnp.where(mask, x, 0), axis=1, keepdims=True) / count


def clipped_residuals(
    energies: Inexact[Array, "hamiltonians walkers"], width: float = 5.0
) -> tuple[Inexact[Array, "hamiltonians walkers"], Bool[Array, "hamiltonians walkers"], EnergyStatistics]:
    r"""Centred, clipped local energies $E_\mathrm{loc} - \bar E$ for the gradient, and unclipped statistics.

    Per Hamiltonian, the real part is clipped to `width` mean absolute deviations about its median, the imaginary
    part to as much about zero, and the result is centred again. Walkers with a non-finite local energy get residual
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
    centre = jnp.nanmedian(jnp.where(finite, real, jnp.nan), axis=1, keepdims=True)
    centre = jnp.where(jnp.isfinite(centre), centre, 0)
    spread = width * _masked_mean(jnp.abs(real - centre), finite, count)
    clipped = jnp.clip(real, centre - spread, centre + spread)
    outside = finite & (jnp.abs(real - centre) > spread)
    residual = jnp.where(finite, clipped - _masked_mean(clipped, finite, count), 0)
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
        bad=jnp.sum(~finite, axis=1),
        clipped=jnp.sum(outside, axis=1),
    )
    return residual, finite, statistics
