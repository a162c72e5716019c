"""Histograms as pictures."""

import numpy as np
from jaxtyping import Float


def legible(
    density: Float[np.ndarray, "rows x y"], error: Float[np.ndarray, "rows x y"]
) -> Float[np.ndarray, "rows coarse_x coarse_y"]:
    """The density with bins merged two by two until the noise is a tenth of the peaks or less."""
    # Root mean square: empty bins have no error of their own.
    noise = float(np.sqrt(np.nanmean(error**2))) if np.isfinite(error).any() else 0.0
    while noise > 0.1 * np.nanquantile(density, 0.99) and all(n % 2 == 0 and n >= 24 for n in density.shape[1:]):
        rows, x, y = density.shape
        density = density.reshape(rows, x // 2, 2, y // 2, 2).mean(axis=(2, 4))
        noise /= 2
    return density
