"""Evaluate a trained state at any depths, write the results, say what they mean."""

import dataclasses
import datetime
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from qernel.ansatz import CompetingPhases, MomentumProjected
from qernel.evaluation import (
    Evaluation,
    add_momentum_distribution,
    add_phases,
    evaluate,
    lowest_phases,
    results,
    write_csv,
    write_netcdf,
)
from qernel.presets import Problem
from qernel.training import TrainingState, largest_mesh, replicate, shard_family, shard_walkers
from ._run_directory import RunDirectory

# The evaluation draws from streams of its own: it repeats, and differs from the training's.
_EVALUATION = 0x6576616C
_MOMENTA = 0x6E286B29
_REGISTRIES = 0x72656769


def evaluate_in(
    problem: Problem,
    state: TrainingState,
    console: Console,
    depths_meV: tuple[float, ...] | None = None,
) -> Any:
    """Measure the frozen wavefunction; returns the labelled data set.

    Each depth starts from the walkers of the nearest trained one, followed by a burn-in of its own.
    """
    config, settings = problem.config, problem.config.evaluation
    depths = settings.depths_meV if depths_meV is None else depths_meV
    trained = np.array(config.system.depths_meV)
    outside = [d for d in depths if not trained[0] <= d <= trained[-1]]
    if outside:
        console.print(
            f"warning: {', '.join(f'{d:g}' for d in outside)} meV lies outside the trained range of "
            f"{trained[0]:g} to {trained[-1]:g} meV: the wavefunction extrapolates"
        )
    with evaluation_progress(console) as bar:
        task = bar.add_task(f"measuring {len(depths)} depths", total=None)
        evaluation, dataset = measure_at(
            problem, state, depths, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
        bar.update(task, description="measuring n(k)")
        return add_momentum_distribution(
            dataset,
            evaluation,
            problem.family_at(depths, phases_of(problem, dataset)),
            state.ansatz,
            problem.material,
            key=jax.random.fold_in(problem.key, _MOMENTA),
        )


def measure_at(
    problem: Problem,
    state: TrainingState,
    depths_meV: tuple[float, ...],
    *,
    stream: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Evaluation, Any]:
    """The evaluation of the frozen wavefunction at the given depths, and its labelled data set.

    Of separate phases those are measured that compete at a depth, and the one of lowest energy is returned; the data
    set names it and holds the others' energies. Another `stream` draws other random numbers.
    """
    config = problem.config
    names = [name for name in problem.phases or ("",) if problem.competes(depths_meV, name).any()]
    rows = [np.flatnonzero(problem.competes(depths_meV, name)) for name in names]
    evaluations = []
    for number, name in enumerate(names):
        report = None if progress is None else partial(_share, progress, number, len(names))
        depths = tuple(depths_meV[row] for row in rows[number])
        evaluations.append(_evaluation(problem, state, depths, name, stream * len(names) + number, report))
    family = problem.family_at(depths_meV)
    with jax.enable_x64(True), warnings.catch_warnings():
        # The verdict says the same in its place.
        warnings.simplefilter("ignore", UserWarning)
        if not problem.phases:
            evaluation = evaluations[0]
            dataset = results(evaluation, family, problem.material)
        else:
            evaluation, chosen = lowest_phases(evaluations, rows)
            tables = {}
            for name, found, of_phase in zip(names, rows, evaluations, strict=True):
                depths = tuple(depths_meV[row] for row in found)
                tables[name] = found, results(of_phase, problem.family_at(depths), problem.material)
            dataset = results(evaluation, family, problem.material)
            dataset = add_phases(dataset, tables, [names[number] for number in chosen], problem.phases)
    dataset.attrs["steps"] = int(state.step)
    dataset.attrs["trained_depths_meV"] = list(config.system.depths_meV)
    settings = config.evaluation
    dataset.attrs.update(kernel=config.sampling.kernel, moves=settings.moves, burn_in=settings.burn_in)
    dataset.attrs["finished"] = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return evaluation, dataset


def _evaluation(
    problem: Problem,
    state: TrainingState,
    depths_meV: tuple[float, ...],
    phase: str,
    stream: int,
    progress: Callable[[int, int], None] | None,
) -> Evaluation:
    """The frozen wavefunction of one phase at the given depths."""
    settings = problem.config.evaluation
    with jax.enable_x64(True):
        numbers = [problem.phases.index(phase)] * len(depths_meV) if problem.phases else None
        family = problem.family_at(depths_meV, numbers)
        nearest = problem.nearest_rows(depths_meV, phase)
        mesh = largest_mesh(family.size, settings.walkers)
        positions = np.asarray(state.positions)[nearest]
        positions = positions[:, np.arange(settings.walkers) % positions.shape[1]]
        ansatz = state.ansatz.ansatz if isinstance(state.ansatz, CompetingPhases) else state.ansatz
        if isinstance(ansatz, MomentumProjected):
            key = jax.random.fold_in(problem.key, _REGISTRIES + stream)
            positions = ansatz.translated(jnp.asarray(positions), key=key)
        return evaluate(
            replicate(state.ansatz, mesh),
            shard_family(family, mesh),
            shard_walkers(jnp.asarray(positions), mesh),
            sampler=dataclasses.replace(problem.method.sampler, moves=settings.moves),
            key=jax.random.fold_in(problem.key, _EVALUATION + stream),
            step_size=jnp.asarray(np.asarray(state.step_size)[nearest]),
            burn_in=settings.burn_in,
            phases=settings.phases,
            laplacian=problem.method.laplacian,
            chunk=settings.chunk or None,
            progress=progress,
        )


def _share(progress: Callable[[int, int], None], number: int, count: int, done: int, total: int) -> None:
    progress(number * total + done, count * total)


def phases_of(problem: Problem, dataset: Any) -> list[int] | None:
    """The number of each row's phase, None without separate ones."""
    return [problem.phases.index(name) for name in dataset["phase"].values.tolist()] if problem.phases else None


def evaluation_progress(console: Console) -> Progress:
    """A bar on a terminal, nothing elsewhere."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def write(dataset: Any, directory: RunDirectory) -> list[Path]:
    """Write `results.csv` and `results.nc`; earlier ones stay beside them as `results.previous.*`."""
    csv = directory.results.with_suffix(".csv")
    for path in (csv, directory.results):
        if path.exists():
            path.replace(path.with_name(f"results.previous{path.suffix}"))
    write_csv(dataset, csv)
    write_netcdf(dataset, directory.results)
    return [csv, directory.results]
