"""The kinetic energy from the gradient, with a variance that is finite at the nodes."""

from typing import Any

import numpy as np
from jaxtyping import Float

# Share of the samples nearest to a node that is smoothed, and the fewest samples that it may be.
_SHARE = 0.005
_FEWEST = 60

# f(x) = Σ c_k x^2k on 0 < x < 1 with f(1) = 1, f'(1) = 0 and a vanishing bias, ∫ x^m (f - 1) dx = 0, for m
# = 0 (a real wavefunction vanishes on surfaces) or for m = 0 and 1 (a complex one on lines, or nearly on
# surfaces).
_REAL = (9.0, -15.0, 7.0)
_COMPLEX = (24.0, -90.0, 112.0, -45.0)


def node_factor(inverse: Any, real: bool) -> Any:
    r"""Factor $f(x/\varepsilon)$ of energies within ε of a node.

    [`smooth_node_tails`][qernel.observables.smooth_node_tails] says what for.

    **Arguments:** `inverse`, an array of NumPy or JAX: $(x/\varepsilon)^2$, the bound of the energies over each energy.
    """
    x2 = inverse.clip(0, 1)
    return sum(c * x2 ** (k + 1) for k, c in enumerate(_REAL if real else _COMPLEX))


def smooth_node_tails(energies: Float[np.ndarray, "walkers rounds"], real: bool) -> Float[np.ndarray, "walkers rounds"]:
    r"""Kinetic energies $\frac{1}{2m}|\nabla\log\psi|^2$ with the samples nearest to the nodes of ψ replaced by
    smooth ones of the same mean.

    At a distance x from a node $|\psi|^2 \sim x^2$ and $|\nabla\log\psi|^2 \sim 1/x^2$: the mean exists,
    the variance does not, and an error bar from the samples covers the true mean in half of the cases only.
    With $x = 1/|\nabla\log\psi|$, samples with $x < \varepsilon$ are multiplied by $f(x/\varepsilon)$, a
    polynomial that removes the divergence and whose bias vanishes to second order in ε. Here ε is set so
    that half a per cent of the samples (at least 60) are concerned. Series without such a tail are returned
    as they are.

    **Source:** S. Pathak and L. K. Wagner, AIP Advances 10, 085213 (2020), there for parameter gradients.
    """
    finite = np.isfinite(energies)
    if not finite.any():
        return energies
    values = energies[finite]
    share = min(max(_SHARE, _FEWEST / len(values)), 0.05)
    largest = float(np.quantile(values, 1 - share))
    # A light tail has no node in it; smoothing it would only bias it.
    if not largest > 0 or values.max() < 4 * largest:
        return energies
    x2 = np.minimum(1.0, largest / np.maximum(values, largest))
    factor = node_factor(x2, real)
    smooth = energies.copy()
    smooth[finite] = values * np.where(x2 < 1, factor, 1.0)
    return smooth
