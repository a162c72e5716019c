"""Where the energies of two branches of states cross."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

from qernel.evaluation import axes_of, order_parameters_of, positions_on, slope_of

if TYPE_CHECKING:
    import xarray


class BranchCrossing(eqx.Module):
    r"""The difference of two branches' energies, $D(\lambda) = E_2 - E_1$, along the parameter.

    A cubic (of lower degree for few rows) is fitted to the differences and to those of the slopes
    $\langle\partial H/\partial\lambda\rangle$, weighted by their errors, which are enlarged by $\sqrt{\chi^2/\nu}$
    where the fit is worse than they allow.

    **Fields:**

    - `parameter`, `difference`, `difference_error`: D at the rows.
    - `order_difference`, `order_difference_error`: of the order parameter at the same rows, NaN without one;
      `smallest`, the difference of it that tells two phases apart.
    - `location`, `error`: the root of D, NaN without one inside the rows; the error is statistical: a branch whose
      variational error is larger by δ than the other's shifts the root by δ/|kink|.
    - `kink`, `kink_error`: dD/dλ there.
    - `slope_difference`, `slope_difference_error`: that of ⟨∂H/∂λ⟩ at the rows.
    """

    parameter: Float[np.ndarray, " rows"]
    difference: Float[np.ndarray, " rows"]
    difference_error: Float[np.ndarray, " rows"]
    order_difference: Float[np.ndarray, " rows"]
    order_difference_error: Float[np.ndarray, " rows"]
    location: float
    error: float
    kink: float
    kink_error: float
    slope_difference: Float[np.ndarray, " rows"]
    slope_difference_error: Float[np.ndarray, " rows"]
    smallest: float

    @property
    def distinct(self) -> np.ndarray:
        """Rows where the branches are two different states: their order parameters differ by enough, beyond five
        errors, or, without an order parameter, the slopes of their energies beyond five errors."""
        if not np.isfinite(self.order_difference).any():
            return np.abs(self.slope_difference) > 5 * self.slope_difference_error
        size = np.abs(self.order_difference)
        return (size > self.smallest) & (size > 5 * self.order_difference_error)

    @property
    def crosses(self) -> bool:
        """Whether two phases of different slope exchange their order."""
        if not (np.isfinite(self.location) and self.distinct.any()):
            return False
        nearest = int(np.argmin(np.abs(self.parameter - self.location)))
        return bool(self.distinct[nearest] and abs(self.kink) > 5 * self.kink_error)


def branch_crossing(first: "xarray.Dataset", second: "xarray.Dataset") -> BranchCrossing:
    """Compare two branches that were evaluated at the same parameters.

    **Raises:** `ValueError` if they were not, or at fewer than three.
    """
    axis = axes_of(first)[0]
    x = positions_on(first, axis)
    if x.shape != second[axis.name].shape or not np.allclose(x, second[axis.name].values) or len(x) < 3:
        raise ValueError("two branches are compared at the same parameters, three or more of them")
    order = np.argsort(x)
    x = x[order]

    def difference(name):
        values = (second[name].values - first[name].values)[order]
        return values, np.hypot(first[f"{name}_error"].values, second[f"{name}_error"].values)[order]

    energy, energy_error = difference("energy")
    slope, slope_error = difference(slope_of(first, axis))
    name = next(iter(order_parameters_of(first)), None)
    missing = np.full(len(x), np.nan)
    ordered, ordered_error = (missing, missing) if name is None else difference(name)
    # Monte Carlo errors are themselves uncertain: none may dominate the fit.
    energy_error = np.maximum(energy_error, 0.2 * np.median(energy_error))
    slope_error = np.maximum(slope_error, 0.2 * np.median(slope_error))
    centre, scale = x.mean(), np.ptp(x) / 2
    degree = min(3, len(x) - 1)
    t, powers = (x - centre) / scale, np.arange(degree + 1)
    values = t[:, None] ** powers
    slopes = powers * t[:, None] ** np.maximum(powers - 1, 0) / scale
    weights = 1 / np.concatenate([energy_error, slope_error])
    design = np.concatenate([values, slopes]) * weights[:, None]
    target = np.concatenate([energy, slope]) * weights
    fit, *_ = np.linalg.lstsq(design, target, rcond=None)
    freedom = len(target) - len(fit)
    inflation = max(1.0, float(np.sum((design @ fit - target) ** 2)) / freedom)
    covariance = np.linalg.inv(design.T @ design) * inflation
    location = _root(fit, t)
    row, row_slope = location**powers, powers * location ** np.maximum(powers - 1, 0) / scale
    kink = float(row_slope @ fit)
    return BranchCrossing(
        parameter=x,
        difference=energy,
        difference_error=energy_error,
        order_difference=ordered,
        order_difference_error=ordered_error,
        location=float(centre + scale * location),
        error=float(np.sqrt(row @ covariance @ row) / abs(kink)) if kink else float("nan"),
        kink=kink,
        kink_error=float(np.sqrt(row_slope @ covariance @ row_slope)),
        slope_difference=slope,
        slope_difference_error=slope_error,
        smallest=0.0 if name is None else float(first[name].attrs["smallest"]),
    )


def _root(fit, t) -> float:
    """The root inside the rows where the polynomial is steepest, NaN without one."""
    roots = np.polynomial.Polynomial(fit).roots()
    inside = roots[np.isreal(roots)].real
    inside = inside[(inside >= t[0]) & (inside <= t[-1])]
    if len(inside) == 0:
        return float("nan")
    steepness = np.abs(np.polynomial.Polynomial(fit).deriv()(inside))
    return float(inside[np.argmax(steepness)])
