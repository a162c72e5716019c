"""Residuals of the local energy: clipped and centred per Hamiltonian, and what was done counted."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Inexact, Int


class EnergyStatistics(eqx.Module):
    """Unclipped statistics of the local energy of each Hamiltonian, over its finite walkers.

    `energy` and `error` (naive standard error of one batch) in effective Hartree, `variance` in Hartree squared;
    `bad` counts walkers whose local energy is not finite, `clipped` those that the gradient saw clipped.
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

    **Returns:** residuals, mask of the finite walkers, statistics.
    """
    finite = jnp.isfinite(energies.real) & jnp.isfinite(energies.imag)
    count = jnp.maximum(jnp.sum(finite, axis=1, keepdims=True), 1).astype(energies.real.dtype)
    real = jnp.where(finite, energies.real, 0)
    mean = _masked_mean(real, finite, count)
    # Two passes: E[x²] - E[x]² cancels in single precision.
    variance = _masked_mean((real - mean) ** 2, finite, count)
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
    statistics = EnergyStatistics(
        energy=mean[:, 0],
        error=jnp.sqrt(variance / count)[:, 0],
        variance=variance[:, 0],
        bad=jnp.sum(~finite, axis=1),
        clipped=jnp.sum(outside, axis=1),
    )
    return residual, finite, statistics
