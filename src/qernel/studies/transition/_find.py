"""Find the transition of a trained run."""

import json
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from qernel.evaluation import axes_of, positions_on, single_axis, write_netcdf
from qernel.judgement import branch_crossing, competitors, order_jump
from qernel.presets import Config
from qernel.run_directory import Problem, RunDirectory, Say, Step, nothing_said, write_atomically
from qernel.studies._callbacks import Progress, unmeasured
from qernel.training import TrainingRecord, TrainingState

from ._branches import branch_of
from ._finding import TransitionFinding, find_transition
from ._scan import Scan, rounded

if TYPE_CHECKING:
    import xarray

# Points of a branch, and the share of the whole range that they span around a jump of the model.
_BRANCH_POINTS = 7
_WINDOW = 0.4


def find(
    problem: Problem,
    state: TrainingState,
    target: RunDirectory,
    *,
    config: Config | None = None,
    records: Mapping[str, TrainingRecord] | None = None,
    points: int = 12,
    resolution: float | None = None,
    steps: int = 200,
    branches: bool = True,
    command: str = "",
    say: Say = nothing_said,
    progress: Progress = unmeasured,
    each: Callable[[Step], None] = lambda step: None,
) -> TransitionFinding:
    """Scan, train the branches on, combine; write `transition.json` and `transition.nc` into a directory.

    **Arguments:**

    - `config`: of the run, from which the branches are made; without one none are.
    - `records`: of the training of each phase by name, from which energies at zero variance follow.
    - `points` of the first scan, along every coordinate of a plane; `resolution` until which it is refined (default: a
      sixtieth of the range).
    - `steps` of each branch; `branches`: whether to train them, where the wavefunction does not hold its phases apart.

    **Raises:** `ValueError` for fewer than four points, a resolution that is not positive, or a family without a range.
    """
    if points < 4:
        raise ValueError(f"a scan needs at least 4 points, got {points}")
    if resolution is not None and not resolution > 0:
        raise ValueError(f"a scan comes no closer than a resolution that is positive, got {resolution:g}")
    family = problem.system.family
    low, high = family.points.min(axis=0), family.points.max(axis=0)
    varying = high > low
    if not varying.any():
        raise ValueError(
            f"the run was trained at the single point {', '.join(map(str, low.tolist()))}: a transition needs a range"
        )
    target.path.mkdir(parents=True, exist_ok=True)
    scan = Scan(problem, state, progress, records)
    lines = [np.linspace(a, b, points if v else 1) for a, b, v in zip(low, high, varying, strict=True)]
    grid = np.stack([x.ravel() for x in np.meshgrid(*lines, indexing="ij")], axis=1)
    scan.measure(rounded(grid, high - low))
    width = float((high - low)[varying][0])
    scan.refine(width / 60 if resolution is None else resolution)
    data, names = None, _names(problem)
    if problem.names:
        # The model holds its branches already.
        data, names = next(iter(competitors(scan.dataset)), (None, names))
    elif branches and config is not None and names is not None and varying.sum() == 1:
        chosen = _branch_points(scan.dataset, low, high, varying)
        scan.measure(chosen)
        first, second = (
            branch_of(name, config, problem, state, chosen, steps, target.path / "branches" / name, command, say, each)
            for name in names
        )
        data = first, second
    rows = scan.overlaps()
    finding = find_transition(rows, data, *([] if names is None else [names]))  # pyright: ignore[reportArgumentType]
    write_netcdf(rows, target.path / "transition.nc")
    plain = _plain(finding, data, names, rows, command)
    write_atomically(target.path / "transition.json", json.dumps(plain, indent=2) + "\n")
    return finding


def _names(problem: Problem) -> tuple[str, str] | None:
    """The two phases of matter that branches stand for: those of the order parameter, or the system's first two; None
    if it has fewer."""
    for parameter in problem.system.order_parameters:
        return parameter.low, parameter.high
    matter = [*dict.fromkeys(phase.matter for phase in problem.system.phases)]
    return (matter[0], matter[1]) if len(matter) > 1 else None


def _branch_points(rows: "xarray.Dataset", low, high, varying) -> np.ndarray:
    """Points around the model's own jump, or over the whole range."""
    axis, jump = int(np.argmax(varying)), order_jump(rows)
    first, last = float(low[axis]), float(high[axis])
    if jump is not None:
        half = _WINDOW * (last - first) / 2
        first, last = max(first, jump.centre - half), min(last, jump.centre + half)
    chosen = np.repeat(low[None], _BRANCH_POINTS, axis=0)
    chosen[:, axis] = np.linspace(first, last, _BRANCH_POINTS)
    return rounded(chosen, high - low)


def _plain(finding: TransitionFinding, branches, names, rows: "xarray.Dataset", command: str) -> dict:
    """The finding as a program or a report reads it; numbers that do not exist are null."""
    axes = axes_of(rows)
    plain: dict[str, Any] = {
        "kind": finding.kind,
        "coordinates": [axis.name for axis in axes],
        "units": [axis.unit for axis in axes],
        "location": finding.location,
        "uncertainty": finding.uncertainty,
        "further": [list(one) for one in finding.further],
        "trustworthy": finding.trustworthy,
        "sentences": list(finding.sentences),
        "command": command,
    }
    plain["boundaries"] = [
        {
            "phases": list(line.names),
            "points": line.points.tolist(),
            "error": line.error.tolist(),
            "error_along": axes[line.along].name,
            "slope_difference": line.kink,
        }
        for line in finding.boundaries
    ]
    axis = single_axis(rows)
    if branches is not None and axis is not None:
        crossing = branch_crossing(*branches)
        plain["branches"] = {
            "names": list(names),
            axis.name: crossing.parameter.tolist(),
            "second_minus_first": crossing.difference.tolist(),
            "second_minus_first_error": crossing.difference_error.tolist(),
            "order_difference": crossing.order_difference.tolist(),
            "crossing": crossing.location,
            "crossing_error": crossing.error,
            "crossing_zero_variance": crossing.limit,
            "crossing_zero_variance_error": crossing.limit_error,
            "slope_difference": crossing.kink,
            "slope_difference_error": crossing.kink_error,
            "scanned": positions_on(rows, axis).tolist(),
        }
    return _without_nan(plain)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
