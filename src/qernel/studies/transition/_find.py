"""Find the transition of a trained run."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from qernel.evaluation import competitors, write_netcdf
from qernel.judgement import branch_crossing, transition
from ._finding import TransitionFinding, find_transition
from qernel.run_directory import RunDirectory, write_atomically

from ._branches import branch_of
from qernel.cli import built, configuration_of, summary
from qernel.cli import Interrupted
from ._scan import Scan
from qernel.run_directory import restore

# Depths of a branch, and the share of the whole range that they span around a jump of the model.
_BRANCH_DEPTHS = 7
_WINDOW = 0.4


def find(
    path: Path,
    out: Path | None,
    points: int,
    resolution_meV: float | None,
    steps: int,
    branches: bool,
    overrides: list[str],
    command: str,
    console: Console,
) -> TransitionFinding:
    """Scan, train the two branches on, combine, write `transition.json`, `transition.nc` and the figure."""
    if points < 4:
        raise ValueError(f"a scan needs at least 4 depths, got {points}")
    directory = RunDirectory(path)
    config = configuration_of(directory, overrides)
    low, high = config.system.depths_meV[0], config.system.depths_meV[-1]
    if low == high:
        raise ValueError(f"{path} was trained at the single depth {low:g} meV: a transition needs a range of depths")
    if config.ansatz.conditioned is False:
        raise ValueError(
            f"{path} holds one wavefunction for all depths (ansatz.conditioned = false): nothing in it changes"
        )
    problem = built(config, console, references=False)
    problem, state = restore(problem, directory, console, repair=False)
    target = RunDirectory(path if out is None else out)
    target.path.mkdir(parents=True, exist_ok=True)
    console.print(f"{summary(problem)}, trained for {int(state.step)} steps", soft_wrap=True)
    try:
        scan = Scan(problem, state, console)
        scan.measure(np.round(np.linspace(low, high, points), 4).tolist())
        scan.refine((high - low) / 60 if resolution_meV is None else resolution_meV)
        data, names = None, ("liquid", "crystal")
        if problem.phases:
            # The model holds its branches already.
            data, names = competitors(scan.dataset) or (None, names)
        elif branches:
            depths = _branch_depths(scan.dataset, low, high)
            scan.measure(list(depths))
            data = tuple(
                branch_of(phase, problem, state, depths, steps, target.path / "branches" / phase, command, console)
                for phase in ("liquid", "crystal")
            )
        rows = scan.overlaps()
    except KeyboardInterrupt:
        raise Interrupted(f"stopped while looking for the transition; go on with: qernel transition {path}") from None
    finding = find_transition(rows, data, names)
    write_netcdf(rows, target.path / "transition.nc")
    write_atomically(target.path / "transition.json", json.dumps(_plain(finding, data, command), indent=2) + "\n")
    for sentence in finding.sentences:
        console.print(sentence, soft_wrap=True, markup=False)
    from ._figure import draw_transition

    figure = draw_transition(target.path)
    console.print(f"\nresults: {target.path / 'transition.json'}\nfigure:  {figure}", soft_wrap=True)
    return finding


def _branch_depths(scan, low: float, high: float) -> tuple[float, ...]:
    """Around the model's own jump, or over the whole range."""
    jump = transition(scan)
    if jump is not None:
        half = _WINDOW * (high - low) / 2
        low, high = max(low, jump.centre - half), min(high, jump.centre + half)
    return tuple(np.round(np.linspace(low, high, _BRANCH_DEPTHS), 4).tolist())


def _plain(finding: TransitionFinding, branches, command: str) -> dict:
    """What a program or a report reads; numbers that do not exist are null."""
    plain: dict[str, Any] = {
        "kind": finding.kind,
        "location_meV": finding.location,
        "uncertainty_meV": finding.uncertainty,
        "trustworthy": finding.trustworthy,
        "sentences": list(finding.sentences),
        "command": command,
    }
    if branches is not None:
        crossing = branch_crossing(*branches)
        plain["branches"] = {
            "depth_meV": crossing.parameter.tolist(),
            "crystal_minus_liquid": crossing.difference.tolist(),
            "crystal_minus_liquid_error": crossing.difference_error.tolist(),
            "order_difference": crossing.order_difference.tolist(),
            "crossing_meV": crossing.location,
            "crossing_error_meV": crossing.error,
            "slope_difference": crossing.kink,
            "slope_difference_error": crossing.kink_error,
        }
    return _without_nan(plain)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
