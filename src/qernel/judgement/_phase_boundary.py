"""The line between two phases in the plane of two coordinates."""

import dataclasses
import itertools
from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from qernel.evaluation import axes_of, lowest_phases, phases_of, points_of, with_error

from ._fitted_errors import fitted_errors

if TYPE_CHECKING:
    import xarray

# Points around the line that it is found from; with an energy and two slopes each, a cubic has ten unknowns.
_POINTS = 24
# Places along the line.
_PLACES = 41
# One state measured twice has no line: where the slopes of its two energies differ by noise alone they do so by up to
# 2.5 of their errors, those of two phases by a hundred and more.
_SIGMA = 5.0


class PhaseBoundary(eqx.Module):
    r"""The line on which the energies of two phases are equal, $D(\lambda) = E_2 - E_1 = 0$, and its uncertainty.

    A cubic in both coordinates (of lower degree for few points) is fitted to the differences of energies and to those
    of the slopes $\langle\partial H/\partial\lambda_a\rangle$ at the points around the line, weighted by their errors,
    which are enlarged by $\sqrt{\chi^2/\nu}$ where the fit is worse than they allow. At every place along one
    coordinate the line is the root along the other one, in whose direction D changes faster.

    **Fields:**

    - `names`: of the two phases; `axes`: symbols of the coordinates.
    - `points`: of the line, in the order of the coordinates; `error`: statistical, along the coordinate `along`: a
      phase whose variational error is larger by δ than the other's shifts the line by δ over the slope of D.
    - `kink`: mean of $|\partial D/\partial\lambda|$ along that coordinate.
    - `used`: rows of the table behind the fit; `misfit`: $\sqrt{\chi^2/\nu}$.
    """

    names: tuple[str, str] = eqx.field(static=True)
    axes: tuple[str, str] = eqx.field(static=True)
    points: Float[np.ndarray, "places 2"]
    error: Float[np.ndarray, " places"]
    along: int = eqx.field(static=True)
    kink: float
    used: Int[np.ndarray, " rows"]
    misfit: float

    @property
    def sentences(self) -> list[str]:
        """The line in words: its ends, its middle and the largest uncertainty."""
        picked = self.points[[0, len(self.points) // 2, -1]]
        errors = self.error[[0, len(self.points) // 2, -1]]
        other = 1 - self.along
        places = "; ".join(
            f"{self.axes[self.along]} = {with_error(point[self.along], error)} at "
            f"{self.axes[other]} = {point[other]:.4g}"
            for point, error in zip(picked, errors, strict=True)
        )
        return [
            f"First-order line: the energies of the {self.names[0]} and of the {self.names[1]} are equal at {places} "
            f"(largest uncertainty {np.max(self.error):.2g}), where the slopes along {self.axes[self.along]} differ by "
            f"{self.kink:.3g} per electron on average."
        ]


def phase_boundaries(dataset: "xarray.Dataset") -> tuple[PhaseBoundary, ...]:
    """The lines between every two phases that are the lowest side by side.

    None without separate phases, unless two coordinates vary, if one phase is the lowest everywhere, where both of a
    pair were measured at fewer than six points at which one of them is the lowest, or where the slopes of their
    energies differ by less than five errors: one state, as far as was measured.
    """
    axes = axes_of(dataset)
    if len(axes) != 2 or not phases_of(dataset):
        return ()
    quantities = ["energy", *(f"slope_{axis.name}" for axis in axes)]
    if any(name not in dataset for name in quantities):
        return ()
    lowest = np.array(lowest_phases(dataset))
    present = [name for name in phases_of(dataset) if name in lowest]
    pairs = itertools.combinations(present, 2)
    found = (_of_pair(dataset, pair, (axes[0].symbol, axes[1].symbol), quantities, lowest) for pair in pairs)
    seen = (_seen(boundary, points_of(dataset), lowest) for boundary in found if boundary is not None)
    return tuple(boundary for boundary in seen if boundary is not None)


def _seen(boundary: PhaseBoundary, points: np.ndarray, lowest: np.ndarray) -> PhaseBoundary | None:
    """The part of a line whose nearest measured point is in one of the two phases, not in a third one below both."""
    scale = np.maximum(np.ptp(points, axis=0), 1e-300)
    distance = np.linalg.norm((boundary.points[:, None] - points) / scale, axis=-1)
    kept = np.isin(lowest[np.argmin(distance, axis=1)], boundary.names)
    if kept.sum() < 2:
        return None
    return dataclasses.replace(boundary, points=boundary.points[kept], error=boundary.error[kept])


def _of_pair(dataset, names: tuple[str, str], axes: tuple[str, str], quantities, lowest) -> PhaseBoundary | None:
    pair = [dataset.sel(phase=name) for name in names]

    def difference(name: str):
        return pair[1][name].values - pair[0][name].values, np.hypot(*(p[f"{name}_error"].values for p in pair))

    values, errors = (np.stack(part) for part in zip(*map(difference, quantities), strict=True))
    points = points_of(dataset)
    # Where a third phase is the lowest, the two change places unseen.
    measured = np.isfinite(values).all(axis=0) & np.isfinite(errors).all(axis=0) & np.isin(lowest, names)
    both = np.flatnonzero(measured)
    if len(both) < 6 or np.all(values[0, both] > 0) or np.all(values[0, both] < 0):
        return None
    scale = np.ptp(points[both], axis=0)
    # How far the line is from each point, in units of the ranges: D over its gradient.
    gradient = np.linalg.norm(values[1:, both] * scale[:, None], axis=0)
    distance = np.abs(values[0, both]) / np.maximum(gradient, 1e-300)
    used = both[np.argsort(distance, kind="stable")[:_POINTS]]
    return _fitted(names, axes, points, values, errors, used)


def _fitted(names, axes, points, values, errors, used) -> PhaseBoundary | None:
    x = points[used]
    centre, half = (x.max(axis=0) + x.min(axis=0)) / 2, np.maximum(np.ptp(x, axis=0) / 2, 1e-300)
    degree = 3 if len(used) >= 10 else 2 if len(used) >= 6 else 1
    powers = np.array([(a, b) for a in range(degree + 1) for b in range(degree + 1 - a)])
    weights = 1 / fitted_errors(errors[:, used], values[:, used])
    t = (x - centre) / half
    design = np.concatenate([_rows(t, powers, half, d) * weights[k][:, None] for k, d in enumerate((None, 0, 1))])
    target = (values[:, used] * weights).ravel()
    fit, *_ = np.linalg.lstsq(design, target, rcond=None)
    freedom = max(len(target) - len(fit), 1)
    misfit = float(np.sqrt(np.sum((design @ fit - target) ** 2) / freedom))
    covariance = np.linalg.pinv(design.T @ design) * max(1.0, misfit) ** 2
    slopes = [np.abs(_rows(t, powers, half, d) @ fit) * half[d] for d in (0, 1)]
    along = int(np.mean(slopes[1]) > np.mean(slopes[0]))
    line, error, kinks, kink_errors = _roots(fit, covariance, powers, centre, half, along)
    if len(line) < 2 or np.mean(kinks) <= _SIGMA * np.mean(kink_errors):
        return None
    return PhaseBoundary(names, axes, line, error, along, float(np.mean(kinks)), used, misfit)


def _rows(t, powers, half, derivative: int | None):
    """Rows of the design matrix: the monomials at t, or their derivatives along one coordinate in its own unit."""
    if derivative is None:
        return t[:, :1] ** powers[:, 0] * t[:, 1:] ** powers[:, 1]
    p = powers[:, derivative]
    lowered = powers.copy()
    lowered[:, derivative] = np.maximum(p - 1, 0)
    return p * t[:, :1] ** lowered[:, 0] * t[:, 1:] ** lowered[:, 1] / half[derivative]


def _roots(fit, covariance, powers, centre, half, along: int):
    """The line: at places along the other coordinate the root of the fit and its error, the slope and its error."""
    other = 1 - along
    fine = np.linspace(-1, 1, 401)
    line, error, kinks, kink_errors = [], [], [], []
    for place in np.linspace(-1, 1, _PLACES):
        t = np.empty((len(fine), 2))
        t[:, along], t[:, other] = fine, place
        values = _rows(t, powers, half, None) @ fit
        signs = np.flatnonzero(np.sign(values[1:]) != np.sign(values[:-1]))
        if len(signs) != 1:
            # No root, or several: the line leaves the points here, or the fit is not to be trusted.
            continue
        i = int(signs[0])
        root = fine[i] - values[i] * (fine[i + 1] - fine[i]) / (values[i + 1] - values[i])
        at = np.empty((1, 2))
        at[0, along], at[0, other] = root, place
        row, steep = (_rows(at, powers, half, derivative)[0] for derivative in (None, along))
        slope = abs(float(steep @ fit))
        line.append(centre + half * at[0])
        error.append(np.sqrt(max(row @ covariance @ row, 0.0)) / max(slope, 1e-300))
        kinks.append(slope)
        kink_errors.append(np.sqrt(max(steep @ covariance @ steep, 0.0)))
    return np.array(line).reshape(-1, 2), *map(np.array, (error, kinks, kink_errors))
