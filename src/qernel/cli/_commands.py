"""What the commands say of a run while it does what it does."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from rich.console import Console

from qernel import hosts
from qernel.evaluation import format_table
from qernel.hamiltonian import Family
from qernel.presets import DEFAULT_PRESET, build, check_memory, load, preset_names
from qernel.run_directory import Interrupted, RunDirectory, outside_of_range
from qernel.runs import Run, begun_from, with_network_of

from ._arguments import check_folder
from ._progress import TrainingProgress, measuring
from ._signals import when_stopped

if TYPE_CHECKING:
    import xarray


def run(
    source: str | None,
    overrides: list[str],
    out: Path | None,
    command: str,
    console: Console,
    trained: Path | None = None,
) -> None:
    """Train, evaluate, draw; `trained`, a run whose wavefunction is the start."""
    name = source or DEFAULT_PRESET
    if trained is not None:
        overrides = with_network_of(trained, name, overrides)
    config = load(name, overrides)
    path = default_directory(name) if out is None else check_folder(out)
    if hosts.first():
        RunDirectory(path).check_free()
    with console.status(f"building orbitals ({', '.join(config.ansatz.references)})"):
        problem = build(config)
    if trained is not None:
        problem = begun_from(problem, RunDirectory(trained), console.print)
    begun = Run.configured(config, path, command=command, problem=problem)
    console.print(f"{summary(begun)} -> {path}")
    _train(begun, console)
    measure(begun, console)


def resume(path: Path, overrides: list[str], command: str, console: Console, step: int | None = None) -> None:
    """Go on where a run stopped, or at an earlier `step`, then evaluate and draw."""
    found = Run.open(path, overrides=overrides, step=step, say=console.print)
    check_memory_of(found)
    found.repair()
    # Before the first process writes, all have read.
    hosts.wait("restored")
    if overrides:
        found.record_configuration(command)
    console.print(f"{summary(found)}, from step {found.step} -> {path}")
    _train(found, console)
    measure(found, console)


def evaluate(
    path: Path,
    points: Sequence[dict[str, float]] | None,
    out: Path | None,
    overrides: list[str],
    console: Console,
) -> None:
    """Measure a trained run at any points."""
    target = None if out is None else check_folder(out)
    found = _trained(path, overrides, console)
    check_memory_of(found, train=False)
    measure(found, console, points, target)


def plot(path: Path, out: Path | None, console: Console) -> None:
    """Draw the figures of a run again."""
    from qernel.plotting import draw

    if not path.is_dir():
        raise ValueError(f"there is no directory {path}")
    if not RunDirectory(path).results.is_file():
        raise ValueError(f"{path} has no results.nc to draw: run 'qernel evaluate {path}' first")
    for figure in draw(path, None if out is None else check_folder(out)):
        console.print(f"figure:  {figure}")


def transition(path: Path, out: Path | None, overrides: list[str], console: Console, **options: Any) -> None:
    """Look for a transition, and say what was found."""
    target = path if out is None else check_folder(out)
    found = _trained(path, overrides, console)
    stopped = f"stopped while looking for the transition; go on with: qernel transition {path}"
    try:
        with when_stopped(stopped), measuring(console) as bar:
            finding = found.transition(into=target, say=console.print, progress=bar, **options)
    except KeyboardInterrupt:
        raise Interrupted(stopped) from None
    for sentence in finding.sentences:
        console.print(sentence)
    console.print(f"\nresults: {target / 'transition.json'}\nfigure:  {target / 'figures' / 'transition.png'}")


def _trained(path: Path, overrides: list[str], console: Console) -> Run:
    found = Run.open(path, overrides=overrides, say=console.print)
    console.print(f"{summary(found)}, trained for {found.step} steps")
    return found


def check_memory_of(run: Run, *, train: bool = True) -> None:
    """Refuse settings of a run for which the memory here is too small, if a configuration describes it."""
    if run.config is not None:
        check_memory(run.config, run.problem.system, train=train)


def _train(run: Run, console: Console) -> None:
    """Train to the configured number of steps, and show it."""
    with console.status("starting") as now:
        run.start(lambda text: console.print(text) if "devices" in text else now.update(text))
    with TrainingProgress(console, run.problem, run.step, run.problem.settings.steps) as progress:
        for step in run.train():
            progress.update(step)


def measure(
    run: Run, console: Console, points: Sequence[dict[str, float]] | None = None, out: Path | None = None
) -> None:
    """Evaluate, write, draw, and say what was found."""
    family, target = run.problem.system.family, run.directory if out is None else RunDirectory(out)
    values = None if points is None else as_points(family, points)
    if values is not None:
        warning = outside_of_range(run.problem, values)
        if warning:
            console.print(f"warning: {warning}")
    stopped = f"stopped while measuring; the trained state is saved, measure it with: qernel evaluate {run.path}"
    try:
        with when_stopped(stopped), measuring(console) as bar:
            dataset = run.evaluate(values, into=target.path, progress=lambda d, t: bar("measuring", d, t))
    except KeyboardInterrupt:
        raise Interrupted(stopped) from None
    if hosts.first():
        finish(dataset, run, target, console)


def as_points(family: Family, points: Sequence[dict[str, float]]) -> Float[np.ndarray, "points coordinates"]:
    """Points by name in the order of the family's coordinates."""
    return np.concatenate([family.as_points({name: [value] for name, value in p.items()}) for p in points])


def finish(dataset: "xarray.Dataset", run: Run, target: RunDirectory, console: Console) -> None:
    """Print the table and the verdict, draw the figures and print where everything is."""
    from qernel.plotting import draw

    console.print(f"\nenergies in {dataset['energy'].attrs['units']}")
    console.print(format_table(dataset))
    console.print()
    for line in run.verdict(dataset):
        console.print(line)
    with console.status("drawing the figures"):
        figures = draw(target.path)
    console.print(f"\nresults: {target.results.with_suffix('.csv')}")
    for figure in figures:
        console.print(f"figure:  {figure}")
    console.print(f"all of it as one page: qernel report {target.path}")


def default_directory(name: str) -> Path:
    """runs/<preset>-<date>-<time>, and a number if that is taken; of several processes the first one chooses."""
    stem = name if name in preset_names() else Path(name).stem
    base = Path("runs") / f"{stem}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return Path(hosts.said(str(path)))


def summary(run: Run) -> str:
    """The system in a line."""
    family, config = run.problem.system.family, run.config
    spans = []
    for coordinate, values in zip(family.coordinates, family.points.T, strict=True):
        unit = "" if coordinate.unit == "1" else f" {coordinate.unit}"
        low, high = values.min(), values.max()
        spans.append(f"{coordinate.symbol} = {low:g}" + (f" to {high:g}" if high > low else "") + unit)
    what = run.problem.system.name if config is None else config.system.summary
    count = f"{family.size} point{'s' if family.size > 1 else ''}"
    return f"{what}, {count} ({', '.join(spans)}), {run.problem.settings.walkers} walkers each"
