"""How independent the walkers of one step are of those of the step before."""

import numpy as np
from jaxtyping import Float


def effective_share(
    before: Float[np.ndarray, "hamiltonians walkers"], after: Float[np.ndarray, "hamiltonians walkers"]
) -> Float[np.ndarray, " hamiltonians"]:
    r"""Independent samples in a walker of one step, from the residuals of two steps in a row,

    $$ \frac{1-\rho}{1+\rho},\qquad \rho = \mathrm{corr}_w\bigl(E_\mathrm{loc}(w, t-1), E_\mathrm{loc}(w, t)\bigr), $$

    that of a chain whose correlation decays as $\rho^t$. An estimate that costs nothing: it sees neither what relaxes
    more slowly than the energy nor where the parameters have moved between the two; an evaluation measures the
    autocorrelation itself.

    **Arguments:** residuals, zero for walkers that do not count.

    **Returns:** between 0 and 1; NaN for fewer than three walkers that count in both.
    """
    shares = np.full(len(after), np.nan)
    for i, (x, y) in enumerate(zip(before.astype(np.float64), after.astype(np.float64), strict=True)):
        both = (x != 0) & (y != 0)
        if both.sum() < 3:
            continue
        x, y = x[both] - x[both].mean(), y[both] - y[both].mean()
        size = np.sqrt(np.sum(x**2) * np.sum(y**2))
        if size > 0:
            correlation = np.clip(np.sum(x * y) / size, 0.0, 1.0)
            shares[i] = (1 - correlation) / (1 + correlation)
    return shares
