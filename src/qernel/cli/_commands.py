"""What the commands do."""

import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from qernel import hosts
from qernel.presets import Config, DEFAULT_PRESET, build, load, preset_names, to_toml
from qernel.run_directory import Problem
from qernel.run_directory import RunDirectory, write_atomically
from qernel.training import TrainingState

from ._errors import Interrupted
from qernel.run_directory import evaluate_in, write
from qernel.run_directory import provenance
from ._report import finish
from qernel.run_directory import restore, start, train_in
from qernel.runs import begun_from, with_network_of


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
    directory = RunDirectory(default_directory(name) if out is None else out)
    if hosts.first() and directory.begun:
        raise ValueError(
            f"{directory.path} already holds a run: choose another --out, or: qernel resume {directory.path}"
        )
    problem = built(config, console)
    if trained is not None:
        problem = begun_from(problem, trained, console)
    if hosts.first():
        directory.create(to_toml(config, provenance(command)))
    console.print(f"{summary(problem)} -> {directory.path}", soft_wrap=True)
    problem, state, check = start(problem, console)
    problem, state = train_in(directory, problem, state, console, check)
    measure(directory, problem, state, console)


def resume(path: Path, overrides: list[str], command: str, console: Console) -> None:
    """Go on where a run stopped, then evaluate and draw."""
    directory = RunDirectory(path)
    config = configuration_of(directory, overrides)
    problem = built(config, console, references=False)
    problem, state = restore(problem, directory, console, repair=True)
    # Before the first process writes, all have read.
    hosts.wait("restored")
    if overrides and hosts.first():
        write_atomically(directory.config, to_toml(config, provenance(command)))
    console.print(f"{summary(problem)}, from step {int(state.step)} -> {directory.path}", soft_wrap=True)
    problem, state = train_in(directory, problem, state, console)
    measure(directory, problem, state, console)


def evaluate(
    path: Path,
    depths_meV: tuple[float, ...] | None,
    out: Path | None,
    overrides: list[str],
    command: str,
    console: Console,
) -> None:
    """Measure a trained run at any depths."""
    directory = RunDirectory(path)
    config = configuration_of(directory, overrides)
    problem = built(config, console, references=False)
    problem, state = restore(problem, directory, console, repair=False)
    target = directory if out is None else RunDirectory(out)
    if hosts.first() and out is not None and target.path.resolve() != directory.path.resolve():
        target.path.mkdir(parents=True, exist_ok=True)
    console.print(f"{summary(problem)}, trained for {int(state.step)} steps", soft_wrap=True)
    measure(target, problem, state, console, depths_meV, trained_in=directory)


def plot(path: Path, console: Console) -> None:
    """Draw the figures of a run again."""
    directory = RunDirectory(path)
    if not path.is_dir():
        raise ValueError(f"there is no directory {path}")
    if not directory.results.is_file():
        raise ValueError(f"{path} has no results.nc to draw: run 'qernel evaluate {path}' first")
    finish(None, directory, console)


def measure(
    directory: RunDirectory,
    problem: Problem,
    state: TrainingState,
    console: Console,
    depths_meV: tuple[float, ...] | None = None,
    trained_in: RunDirectory | None = None,
) -> Any:
    """Evaluate, write, draw, and say what was found."""
    try:
        dataset = evaluate_in(problem, state, console, depths_meV)
    except KeyboardInterrupt:
        where = (trained_in or directory).path
        raise Interrupted(
            f"stopped while measuring; the trained state is saved, measure it with: qernel evaluate {where}"
        ) from None
    if hosts.first():
        write(dataset, directory)
        finish(dataset, directory, console, trained_in)
    return dataset


def built(config: Config, console: Console, *, references: bool = True) -> Problem:
    """The problem of a configuration, with a sign of life while it is built."""
    names = ", ".join(config.ansatz.references)
    with console.status(f"building reference orbitals ({names})" if references else "building the wavefunction"):
        return build(config, references=references)


def configuration_of(directory: RunDirectory, overrides: list[str]) -> Config:
    """The configuration that a run directory records, with overrides that leave the model as it is."""
    if not directory.path.is_dir():
        raise ValueError(f"there is no directory {directory.path}")
    if not directory.exists:
        raise ValueError(f"{directory.path} is not the directory of a run: it has no config.toml")
    before = load(directory.config)
    config = load(directory.config, overrides)
    new, old = (c.model_dump(mode="json") for c in (config, before))
    for section, values in before.identity().items():
        for key in {**values, **config.identity()[section]}:
            was = old[section][key]
            if new[section][key] != was:
                raise ValueError(
                    f"{section}.{key} cannot change in a run that has begun: it is {was}; start another run instead"
                )
    return config


def default_directory(name: str) -> Path:
    """runs/<preset>-<date>-<time>, and a number if that is taken; of several processes the first one chooses."""
    stem = name if name in preset_names() else Path(name).stem
    base = Path("runs") / f"{stem}-{datetime.datetime.now():%Y%m%d-%H%M%S}"
    path, number = base, 1
    while path.exists():
        number += 1
        path = base.with_name(f"{base.name}-{number}")
    return Path(hosts.said(str(path)))


def summary(problem: Problem) -> str:
    """The system in a line."""
    system, walkers = problem.config.system, problem.config.sampling.walkers
    up, down = system.electrons
    electrons = f"{up} electrons" if not down else f"{up} + {down} electrons"
    depths = system.depths_meV
    span = (
        f"{depths[0]:g} meV" if len(depths) == 1 else f"{len(depths)} depths from {depths[0]:g} to {depths[-1]:g} meV"
    )
    (a, b), (c, d) = system.supercell
    cells = abs(a * d - b * c)
    return f"{electrons} in {cells} moiré cells, {span}, {walkers} walkers each"
