"""What several sizes say about the infinite system: crossings, gaps, energies and order against 1/N."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

from qernel.evaluation import (
    ground_state,
    phases_of,
    points_of,
    positions_on,
    same_points,
    separate_phases,
    with_error,
)
from qernel.judgement import BranchCrossing, phase_crossings

from ._analysis import line_of
from ._quantity import electrons_of, sized_quantities

if TYPE_CHECKING:
    import xarray

# Beyond so many errors, of its whole variation, a fit does not describe what it was made for.
_SIGMA = 3.0


class Crossing(eqx.Module):
    """Where two phases of one size have the same energy, and what changes there from the first to the second.

    - `electrons`: of that size; `names`: of the two phases.
    - `place`, `error`: on the coordinate; `limit`, `limit_error`: at zero variance, of
      [`BranchCrossing`][qernel.judgement.BranchCrossing]; NaN where that is not known.
    - `gaps`, `gap_errors`: differences at the crossing, by the key of a
      [`SizedQuantity`][qernel.studies.scaling.SizedQuantity]: of the order parameter over N and of the interaction
      energy per electron, on straight lines between the rows.
    """

    electrons: int
    names: tuple[str, str]
    place: float
    error: float
    limit: float
    limit_error: float
    gaps: dict[str, float]
    gap_errors: dict[str, float]


def size_crossing(dataset: "xarray.Dataset") -> Crossing | None:
    """The crossing of two separate phases with the largest difference of slopes; None without one inside the rows."""
    found = [(crossing, names) for crossing, names in phase_crossings(dataset) if crossing.crosses]
    if not found:
        return None
    crossing, names = max(found, key=lambda one: abs(one[0].kink))
    gaps = {q.key: _gap(dataset, names, q, crossing) for q in sized_quantities([dataset])}
    return Crossing(
        electrons_of(dataset),
        names,
        crossing.location,
        crossing.error,
        crossing.limit,
        crossing.limit_error,
        {key: gap for key, (gap, _) in gaps.items()},
        {key: error for key, (_, error) in gaps.items()},
    )


def _gap(dataset, names, quantity, crossing: BranchCrossing) -> tuple[float, float]:
    axis, phases, found = line_of(dataset), separate_phases(dataset), []
    for name in names:
        table = phases[name]
        x = positions_on(table, axis)
        order = np.argsort(x)
        values, errors = (part[order] for part in quantity.of(table))
        at = lambda y, x=x[order]: float(np.interp(crossing.location, x, y))
        # An error between two rows is no larger than those of the rows.
        found.append((at(values), at(errors)))
    (first, first_error), (second, second_error) = found
    return second - first, float(np.hypot(first_error, second_error))


class InfiniteSize(eqx.Module):
    r"""A weighted straight line $y = y_\infty + c/N$ through the values of three sizes or more.

    - `value`, `error`: $y_\infty$, enlarged by $\sqrt{\chi^2/\nu}$ where the sizes scatter by more than their errors.
    - `slope`: c; `chi_squared`, `freedom`: $\chi^2$ and its degrees of freedom ν.
    """

    value: float
    error: float
    slope: float
    chi_squared: float
    freedom: int

    @property
    def describes(self) -> bool:
        r"""Whether $\chi^2$ exceeds its degrees of freedom by no more than three standard deviations."""
        return self.chi_squared <= self.freedom + _SIGMA * float(np.sqrt(2 * self.freedom))


def infinite_size(
    electrons: Sequence[int], values: Float[np.ndarray, " sizes"], errors: Float[np.ndarray, " sizes"]
) -> InfiniteSize | None:
    """The line in 1/N through values of several sizes; None through fewer than three that are known."""
    known = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    x, y, sigma = 1 / np.asarray(electrons, np.float64)[known], values[known], errors[known]
    if len(np.unique(x)) < 3:
        return None
    design = np.stack([np.ones_like(x), x], axis=1) / sigma[:, None]
    fit, *_ = np.linalg.lstsq(design, y / sigma, rcond=None)
    chi_squared, freedom = float(np.sum((design @ fit - y / sigma) ** 2)), len(y) - 2
    covariance = np.linalg.inv(design.T @ design) * max(1.0, chi_squared / freedom)
    return InfiniteSize(float(fit[0]), float(np.sqrt(covariance[0, 0])), float(fit[1]), chi_squared, freedom)


def common_rows(datasets: Sequence["xarray.Dataset"]) -> list[np.ndarray]:
    """For every table its rows at the points that all of them have, in the order of the coordinate."""
    first = points_of(datasets[0])
    shared = [
        i for i in np.argsort(first[:, 0]) if all(same_points(first[i : i + 1], points_of(d)).any() for d in datasets)
    ]
    return [
        np.array([np.flatnonzero(same_points(first[i : i + 1], points_of(d))[0])[0] for i in shared], dtype=int)
        for d in datasets
    ]


def limit_verdict(datasets: Sequence["xarray.Dataset"]) -> list[str]:
    """Sentences on where the phases cross in each size, and on what a line in 1/N makes of crossings and order."""
    datasets = sorted(datasets, key=electrons_of)
    axis, sizes = line_of(datasets[0]), [electrons_of(d) for d in datasets]
    sentences = _crossing_sentences(datasets, axis)
    quantities = [q for q in sized_quantities(datasets) if q.per_electron]
    rows = common_rows(datasets)
    if len(sizes) > 2 and quantities and len(rows[0]):
        (quantity,) = quantities
        columns = np.array([[part[r] for part in quantity.of(d)] for d, r in zip(datasets, rows, strict=True)])
        for column in sorted({0, len(rows[0]) - 1}):
            place = axis.value(float(positions_on(datasets[0], axis)[rows[0][column]]))
            line = infinite_size(sizes, columns[:, 0, column], columns[:, 1, column])
            if line is not None:
                said = "stays finite" if line.value > _SIGMA * line.error else "cannot be told from zero"
                said = said if line.describes else "lies on no line"
                sentences.append(
                    f"{quantity.words} at {axis.symbol} = {place} {said} as N grows: "
                    f"{with_error(line.value, line.error)} on a line in 1/N{_fit_text(line)}."
                )
    return sentences


def _crossing_sentences(datasets, axis) -> list[str]:
    if not all(phases_of(d) for d in datasets):
        return []
    found = [size_crossing(d) for d in datasets]
    known = [one for one in found if one is not None]
    missing = [electrons_of(d) for d, one in zip(datasets, found, strict=True) if one is None]
    sentences = [f"The phases of N = {n} do not cross inside its rows." for n in missing]
    if not known:
        return sentences
    listed = "; ".join(
        f"N = {one.electrons}: {with_error(one.place, one.error)}{axis.suffix}"
        + (f" ({with_error(one.limit, one.limit_error)} at zero variance)" if np.isfinite(one.limit) else "")
        for one in known
    )
    sentences.append(f"The energies of two phases cross at {listed}.")
    sizes = [one.electrons for one in known]
    for what, name in (("", "place"), (" at zero variance", "limit")):
        errors = np.array([getattr(one, "error" if name == "place" else "limit_error") for one in known])
        line = infinite_size(sizes, np.array([getattr(one, name) for one in known]), errors)
        if line is None:
            continue
        at = f"{with_error(line.value, line.error)}{axis.suffix}"
        sentences.append(
            f"A line in 1/N leads the crossings{what} to {at}{_fit_text(line)}."
            if line.describes
            else f"The crossings{what} lie on no line in 1/N{_fit_text(line)}: they scatter by more than their errors, "
            f"as when a size has a shell of its own or a phase is not at its ground state; the line would end at {at}."
        )
    return sentences


def _fit_text(line: InfiniteSize) -> str:
    return f" (χ² {line.chi_squared:.2g} for {line.freedom} degree{'s' * (line.freedom > 1)} of freedom)"


def lowest_energies(
    datasets: Sequence["xarray.Dataset"], rows: Sequence[np.ndarray]
) -> tuple[Float[np.ndarray, "sizes points"], Float[np.ndarray, "sizes points"]]:
    """Energies per electron of the ground state of every size at given rows, and their errors."""
    tables = [ground_state(d) for d in datasets]
    return tuple(
        np.array([t[name].values[r] for t, r in zip(tables, rows, strict=True)]) for name in ("energy", "energy_error")
    )  # type: ignore[return-value]
