"""Is the energy curve consistent with the derivative of the Hamiltonian?"""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from qernel.evaluation import Axis, axes_of, lowest_phases, phases_of, points_of, rows_of, slope_of
from qernel.observables import LIMITS

if TYPE_CHECKING:
    import xarray


class SlopeCheck(eqx.Module):
    r"""Slopes $\Delta E/\Delta\lambda$ between neighbouring rows, and means of ⟨∂H/∂λ⟩ over the same intervals.

    Both are exact statements about an optimal wavefunction: $E(\lambda_2) - E(\lambda_1) =
    \int\langle\partial H/\partial\lambda\rangle\,d\lambda$. The integral is that of a cubic through the
    measured slopes; `uncertainty` is a third of its difference from the trapezoidal rule, what the
    interpolation may miss.

    **Fields:** `middle` of each interval; `from_energies`, `from_energies_error`; `from_slopes`, `from_slopes_error`;
    `uncertainty`.
    """

    middle: Float[np.ndarray, " intervals"]
    from_energies: Float[np.ndarray, " intervals"]
    from_energies_error: Float[np.ndarray, " intervals"]
    from_slopes: Float[np.ndarray, " intervals"]
    from_slopes_error: Float[np.ndarray, " intervals"]
    uncertainty: Float[np.ndarray, " intervals"]

    @property
    def difference(self) -> Float[np.ndarray, " intervals"]:
        """Slope of the energies less the mean slope."""
        return self.from_energies - self.from_slopes

    @property
    def error(self) -> Float[np.ndarray, " intervals"]:
        """Statistical error of the difference."""
        return np.hypot(self.from_energies_error, self.from_slopes_error)

    @property
    def sigma(self) -> Float[np.ndarray, " intervals"]:
        """The difference in errors, less what the interpolation may explain."""
        unexplained = np.maximum(np.abs(self.difference) - self.uncertainty, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(unexplained > 0, unexplained / self.error, 0.0)

    @property
    def agrees(self) -> np.ndarray:
        """Whether the two slopes agree within three errors and what the interpolation may miss."""
        return self.sigma <= LIMITS.slope_sigma


class SlopeLine(eqx.Module):
    """The check along one line of rows, on which one coordinate differs.

    **Fields:**

    - `axis`: that coordinate; `rows`: of the table, by increasing coordinate; `where`: the values of the others in
      words.
    - `check`: along the line.
    - `phase`: in which the rows were measured; empty without separate phases.
    """

    axis: Axis = eqx.field(static=True)
    rows: Int[np.ndarray, " rows"]
    where: str = eqx.field(static=True)
    check: SlopeCheck
    phase: str = eqx.field(static=True, default="")


def slope_lines(dataset: "xarray.Dataset") -> list[SlopeLine]:
    """The Hellmann-Feynman check along every line of three rows or more on which a single coordinate differs.

    Rows that differ in two coordinates at once are never compared, nor rows in two phases that were measured
    separately, of a table of the ground state too: where the lowest phase changes the energy has a kink.
    """
    names = phases_of(dataset)
    everywhere = np.ones(dataset.sizes[rows_of(dataset)], bool)
    if names:
        return [line for name in names for line in _lines(dataset.sel(phase=name), everywhere, name)]
    lowest = np.array(lowest_phases(dataset))
    if len(lowest):
        return [line for name in dict.fromkeys(lowest.tolist()) for line in _lines(dataset, lowest == name, name)]
    return _lines(dataset, everywhere)


def _lines(dataset: "xarray.Dataset", among: Bool[np.ndarray, " rows"], phase: str = "") -> list[SlopeLine]:
    axes, found = axes_of(dataset), []
    if not axes:
        return []
    points = points_of(dataset)
    measured = among & np.isfinite(dataset["energy"].values)
    spread = np.ptp(points, axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    for index, axis in enumerate(axes):
        name = slope_of(dataset, axis)
        if name is None:
            continue
        others = np.delete(np.round(points / scale, 9), index, axis=1)
        for key in np.unique(others, axis=0):
            rows = np.flatnonzero((others == key).all(axis=1) & measured)
            rows = rows[np.argsort(points[rows, index], kind="stable")]
            check = _check(dataset, axis, points[rows, index], rows, name)
            if check is not None:
                beside = [(a, points[rows[0], i]) for i, a in enumerate(axes) if i != index]
                where = "".join(f", {a.symbol} = {a.value(value)}" for a, value in beside)
                place = (f" at {where[2:]}" if where else "") + (f" in the {phase.replace('_', ' ')}" if phase else "")
                found.append(SlopeLine(axis, rows, place, check, phase))
    return found


def _check(dataset: "xarray.Dataset", axis: Axis, x: Float[np.ndarray, " rows"], rows, name: str) -> SlopeCheck | None:
    from scipy.interpolate import CubicSpline, PchipInterpolator

    if len(rows) < 3:
        return None
    names = ("energy", "energy_error", name, f"{name}_error")
    energy, energy_error, slope, slope_error = (dataset[column].values[rows] for column in names)
    if np.any(np.diff(x) <= 0) or not np.all(np.isfinite(energy) & np.isfinite(slope)):
        return None
    width = np.diff(x)
    # ∫ E' dx = ∫ x E' d(ln x): what varies over decades is smooth against the logarithm alone.
    logarithmic = axis.logarithmic and bool(np.all(x > 0))
    along, density = (np.log(x), x * slope) if logarithmic else (x, slope)
    # Monotone between the rows, so that a jump at a transition makes no ringing.
    integral = PchipInterpolator(along, density).antiderivative()
    from_slopes = np.diff(integral(along)) / width
    trapezoid = (density[1:] + density[:-1]) / 2 * np.diff(along) / width
    uncertainty = np.abs(from_slopes - trapezoid) / 3
    if logarithmic:
        # Next to an extremum of x E' the monotone curve is flat, and the trapezoid happens to agree with it.
        smooth = np.diff(CubicSpline(along, density).antiderivative()(along)) / width
        uncertainty = np.maximum(uncertainty, np.abs(from_slopes - smooth))
    return SlopeCheck(
        middle=(x[1:] + x[:-1]) / 2,
        from_energies=np.diff(energy) / width,
        from_energies_error=np.hypot(energy_error[1:], energy_error[:-1]) / width,
        from_slopes=from_slopes,
        from_slopes_error=np.hypot(slope_error[1:], slope_error[:-1]) / 2,
        uncertainty=uncertainty,
    )
