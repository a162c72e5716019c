"""Where the energies of two branches of states cross."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

from qernel.evaluation import axes_of, order_parameters_of, positions_on, slope_of

from ._fitted_errors import fitted_errors
from ._zero_variance import systematic

if TYPE_CHECKING:
    import xarray

# Beyond so many errors two branches differ: in their order, their slopes, or the slope of their difference.
_SIGMA = 5.0
# So many where every row is looked at.
_ROWS_SIGMA = 4.0


class BranchCrossing(eqx.Module):
    r"""The difference of two branches' energies, $D(\lambda) = E_2 - E_1$, along the parameter.

    A cubic (of lower degree for few rows) is fitted to the differences and to those of the slopes
    $\langle\partial H/\partial\lambda\rangle$, weighted by their errors, which are enlarged by $\sqrt{\chi^2/\nu}$
    where the fit is worse than they allow. Rows at which anything of it is not finite are left out.

    **Fields:**

    - `parameter`, `difference`, `difference_error`: D at the rows.
    - `order_difference`, `order_difference_error`: of the order parameter at the same rows, NaN without one;
      `smallest`, the difference of it that tells two phases apart.
    - `location`, `error`: the root of D, NaN without one inside the rows; the error is statistical: a branch whose
      variational error is larger by δ than the other's shifts the root by δ/|kink|, which `limit` estimates.
    - `limit`, `limit_error`: the root of D extrapolated to zero variance
      ([`add_zero_variance`][qernel.judgement.add_zero_variance]), NaN where that is not known; its error is statistical
      and systematic, of both branches.
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
    limit: float = float("nan")
    limit_error: float = float("nan")

    @property
    def distinct(self) -> np.ndarray:
        """Rows where the branches are two different states: their order parameters differ by enough, beyond five
        errors, or, without an order parameter whose error is known, the slopes of their energies beyond five errors."""
        if not np.isfinite(self.order_difference + self.order_difference_error).any():
            return np.abs(self.slope_difference) > _SIGMA * self.slope_difference_error
        size = np.abs(self.order_difference)
        return (size > self.smallest) & (size > _SIGMA * self.order_difference_error)

    @property
    def resolved(self) -> bool:
        """Whether a difference of the order parameter as large as that of two phases would be seen anywhere, at two
        errors; of slopes, whose differences have no scale of their own, nobody can say."""
        known = np.isfinite(self.order_difference + self.order_difference_error)
        return not known.any() or bool((2 * self.order_difference_error[known] <= self.smallest).any())

    @property
    def crosses(self) -> bool:
        """Whether two phases of different slope exchange their order."""
        return self.distinct_there and self.has_kink

    @property
    def distinct_there(self) -> bool:
        """Whether the branches cross, and are two different states at the nearest row."""
        if not np.isfinite(self.location):
            return False
        return bool(self.distinct[int(np.argmin(np.abs(self.parameter - self.location)))])

    @property
    def has_kink(self) -> bool:
        """Whether the slopes differ where the branches cross, beyond five errors."""
        return abs(self.kink) > _SIGMA * self.kink_error

    @property
    def apart(self) -> bool:
        """Whether one and the same branch is the lower at every row, beyond four errors."""
        excess = self.difference / np.maximum(self.difference_error, 1e-300)
        return bool((excess > _ROWS_SIGMA).all() or (excess < -_ROWS_SIGMA).all())

    @property
    def equal(self) -> bool:
        """Whether the energies are equal at every row, within four errors."""
        return bool((np.abs(self.difference) <= _ROWS_SIGMA * self.difference_error).all())


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
    used = np.isfinite(energy + energy_error + slope + slope_error)
    location, error, kink, kink_error = _crossing(
        *(values[used] for values in (x, energy, energy_error, slope, slope_error))
    )
    limit, limit_error = _at_zero_variance(first, second, order, used, (x, energy, energy_error, slope, slope_error))
    return BranchCrossing(
        limit=limit,
        limit_error=limit_error,
        parameter=x,
        difference=energy,
        difference_error=energy_error,
        order_difference=ordered,
        order_difference_error=ordered_error,
        location=location,
        error=error,
        kink=kink,
        kink_error=kink_error,
        slope_difference=slope,
        slope_difference_error=slope_error,
        smallest=0.0 if name is None else float(first[name].attrs["smallest"]),
    )


def _at_zero_variance(first, second, order, used, columns) -> tuple[float, float]:
    """The root of the difference of two branches, each extrapolated to zero variance, and its whole error."""
    above, uncertain = (
        [values[order] for values in part] for part in zip(systematic(first), systematic(second), strict=True)
    )
    used = used & np.isfinite(above[0] + above[1])
    x, energy, energy_error, slope, slope_error = (values[used] for values in columns)
    # The correction changes along the rows, and the slopes of the energies with it.
    correction = (above[1] - above[0])[used]
    tilt = np.gradient(correction, x) if len(x) > 1 else 0 * correction
    location, error, kink, _ = _crossing(x, energy - correction, energy_error, slope - tilt, slope_error)
    if not np.isfinite(location):
        return np.nan, np.nan
    # Of one row as of all others: it is no noise that more rows would average.
    spread = float(np.interp(location, x, np.hypot(*uncertain)[used]))
    return location, float(np.hypot(error, spread / abs(kink)))


def _crossing(x, energy, energy_error, slope, slope_error) -> tuple[float, float, float, float]:
    """Root of the difference and its error, slope there and its error; NaN with fewer than three rows."""
    if len(x) < 3:
        return np.nan, np.nan, np.nan, np.nan
    centre, scale = x.mean(), np.ptp(x) / 2
    degree = min(3, len(x) - 1)
    t, powers = (x - centre) / scale, np.arange(degree + 1)
    values = t[:, None] ** powers
    slopes = powers * t[:, None] ** np.maximum(powers - 1, 0) / scale
    weights = 1 / fitted_errors(np.stack([energy_error, slope_error]), np.stack([energy, slope])).ravel()
    design = np.concatenate([values, slopes]) * weights[:, None]
    target = np.concatenate([energy, slope]) * weights
    fit, *_ = np.linalg.lstsq(design, target, rcond=None)
    freedom = len(target) - len(fit)
    inflation = max(1.0, float(np.sum((design @ fit - target) ** 2)) / freedom)
    covariance = np.linalg.inv(design.T @ design) * inflation
    root = _root(fit, t)
    row, row_slope = root**powers, powers * root ** np.maximum(powers - 1, 0) / scale
    kink = float(row_slope @ fit)
    error = float(np.sqrt(row @ covariance @ row) / abs(kink)) if kink else float("nan")
    return float(centre + scale * root), error, kink, float(np.sqrt(row_slope @ covariance @ row_slope))


def _root(fit, t) -> float:
    """The root inside the rows where the polynomial is steepest, NaN without one."""
    roots = np.polynomial.Polynomial(fit).roots()
    inside = roots[np.isreal(roots)].real
    inside = inside[(inside >= t[0]) & (inside <= t[-1])]
    if len(inside) == 0:
        return float("nan")
    steepness = np.abs(np.polynomial.Polynomial(fit).deriv()(inside))
    return float(inside[np.argmax(steepness)])
