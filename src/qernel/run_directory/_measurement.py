"""Measure a trained state at any points of its family."""

import contextlib
import dataclasses
import datetime
import json
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from qernel.ansatz import CompetingPhases, MomentumProjected
from qernel.evaluation import (
    Evaluation,
    evaluate,
    joined_phases,
    read_netcdf,
    results,
    standard_observables,
    write_csv,
    write_netcdf,
)
from qernel.hamiltonian import Family, InPhase
from qernel.laplacian import AbstractLaplacian, AbstractRandomLaplacian, ForwardLaplacian, ProbedLaplacian
from qernel.observables import AbstractObservable
from qernel.training import TrainingState, largest_mesh, replicate, shard_family, shard_walkers

from ._files import set_aside
from ._lock import Lock
from ._named_arrays import digest
from ._problem import Problem
from ._run_directory import RunDirectory

if TYPE_CHECKING:
    import xarray

# The evaluation draws from streams of its own: it repeats, and differs from the training's.
_EVALUATION = 0x6576616C
_REGISTRIES = 0x72656769

Progress = Callable[[int, int], None]
Points = Float[np.ndarray, "points coordinates"]


def measure(
    problem: Problem,
    state: TrainingState,
    points: Points | None = None,
    *,
    stream: int = 0,
    observables: Sequence[AbstractObservable] = (),
    progress: Progress | None = None,
) -> "xarray.Dataset":
    """The labelled table of the frozen wavefunction at some points (default: those that the run's settings name).

    Every point starts from the walkers of the nearest trained one, followed by a burn-in of its own. Of several phases
    each is measured where it competes; they are a dimension of the table. `observables` are measured beside those of
    the system. Another `stream` draws other random numbers.
    """
    return measure_samples(problem, state, points, stream=stream, observables=observables, progress=progress)[0]


def measure_samples(
    problem: Problem,
    state: TrainingState,
    points: Points | None = None,
    *,
    stream: int = 0,
    observables: Sequence[AbstractObservable] = (),
    progress: Progress | None = None,
) -> "tuple[xarray.Dataset, dict[str, tuple[np.ndarray, Evaluation]]]":
    """As [`measure`][qernel.run_directory.measure], and for each phase the points where it was measured and its
    samples."""
    family = problem.system.family
    if points is None:
        points = family.points if problem.points is None else problem.points
    names = [name for name in problem.names or ("",) if problem.competes(state, points, name).any()]
    evaluations, tables = {}, {}
    for number, name in enumerate(names):
        rows = np.flatnonzero(problem.competes(state, points, name))
        report = None if progress is None else partial(_share, progress, number, len(names))
        evaluation = _evaluation(problem, state, points[rows], name, stream * len(names) + number, observables, report)
        evaluations[name] = rows, evaluation
        tables[name] = _table(problem, evaluation, problem.family_at(points[rows]))
    if problem.names:
        everywhere = _rows(problem.family_at(points), tables)
        dataset = joined_phases(tables, everywhere)
    else:
        dataset = tables[""]
    dataset = problem.system.at(problem.family_at(points)).label(dataset)
    settings = problem.settings
    dataset.attrs.update(problem.notes)
    dataset.attrs.update(
        model=digest(problem.identity),
        steps=int(state.step),
        moves=settings.measured_moves,
        burn_in=settings.measured_burn_in,
        trained_points=json.dumps(family.points.tolist()),
        finished=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    return dataset, evaluations


def _table(problem: Problem, evaluation: Evaluation, family: Family) -> "xarray.Dataset":
    with jax.enable_x64(True), warnings.catch_warnings():
        # The verdict says the same in its place.
        warnings.simplefilter("ignore", UserWarning)
        return results(evaluation, family, problem.system.units)


def _rows(family: Family, tables: "dict[str, xarray.Dataset]") -> "xarray.Dataset":
    """A table of all rows, without quantities."""
    import xarray

    from qernel.evaluation import indexed, labelled_rows

    labels, attributes, _ = labelled_rows(family)
    del tables
    return indexed(xarray.Dataset({}, labels, attributes))


def in_phase(problem: Problem, family: Family, names: list[str]) -> Family:
    """A family whose parameters name a phase of each member, for wavefunctions that hold several."""
    if not problem.names:
        return family
    with jax.enable_x64(True):
        numbers = jnp.asarray([problem.names.index(name) for name in names], float)
        return dataclasses.replace(family, parameters=InPhase(family.parameters, numbers))


def _evaluation(
    problem: Problem,
    state: TrainingState,
    points: Points,
    phase: str,
    stream: int,
    observables: Sequence[AbstractObservable],
    progress: Progress | None,
) -> Evaluation:
    """The frozen wavefunction of one phase at some points."""
    settings, system = problem.settings, problem.system
    with jax.enable_x64(True):
        family = in_phase(problem, problem.family_at(points), [phase] * len(points))
        nearest = problem.nearest(state, points, phase)
        mesh = largest_mesh(family.size, settings.measured_walkers)
        positions = np.asarray(state.positions)[nearest]
        positions = positions[:, np.arange(settings.measured_walkers) % positions.shape[1]]
        ansatz = state.ansatz.ansatz if isinstance(state.ansatz, CompetingPhases) else state.ansatz
        if isinstance(ansatz, MomentumProjected):
            key = jax.random.fold_in(problem.key, _REGISTRIES + stream)
            positions = ansatz.translated(jnp.asarray(positions), key=key)
        standard = standard_observables(family.hamiltonian, np.asarray(state.positions)[:, :, None])
        ordered = tuple(parameter.observable for parameter in system.order_parameters)
        return evaluate(
            replicate(state.averaged, mesh),
            shard_family(family, mesh),
            shard_walkers(jnp.asarray(positions), mesh),
            sampler=dataclasses.replace(problem.method.sampler, moves=settings.measured_moves),
            key=jax.random.fold_in(problem.key, _EVALUATION + stream),
            step_size=jnp.asarray(np.asarray(state.step_size)[nearest]),
            burn_in=settings.measured_burn_in,
            rounds=settings.measured_rounds,
            observables=(*standard, *ordered, *system.observables, *observables),
            units=system.units,
            laplacian=_laplacian(problem),
            chunk=settings.measured_chunk,
            progress=progress,
        )


def _laplacian(problem: Problem) -> AbstractLaplacian:
    """The Laplacian of the evaluation: the one of the training without its noise, or one with so many colours."""
    colours = problem.settings.measured_colours
    if colours is not None:
        return ProbedLaplacian(colours=colours)
    laplacian = problem.method.laplacian
    return ForwardLaplacian() if isinstance(laplacian, AbstractRandomLaplacian) else laplacian


def _share(progress: Progress, number: int, count: int, done: int, total: int) -> None:
    progress(number * total + done, count * total)


def outside_of_range(problem: Problem, points: Points) -> str:
    """A warning where points lie outside of the trained range, empty where none does."""
    family = problem.system.family
    trained = family.points
    found = []
    for coordinate, values, measured in zip(family.coordinates, trained.T, points.T, strict=True):
        slack = 1e-9 * max(float(np.ptp(values)), 1e-300)
        beyond = measured[(measured < values.min() - slack) | (measured > values.max() + slack)]
        if len(beyond):
            unit = "" if coordinate.unit == "1" else f" {coordinate.unit}"
            listed = ", ".join(f"{value:g}" for value in np.unique(beyond))
            found.append(
                f"{coordinate.symbol} = {listed}{unit} lies outside the trained range of {values.min():g} to "
                f"{values.max():g}{unit}: the wavefunction extrapolates"
            )
    return "; ".join(found)


def check_results(dataset: "xarray.Dataset", directory: RunDirectory) -> None:
    """Raises `ValueError` if results are not those of the run that lives in a directory."""
    ours, theirs = directory.record.get("model"), dataset.attrs.get("model")
    if ours is not None and theirs is not None and ours != theirs:
        raise ValueError(
            f"the results in {directory.path} were measured on another model than its config.toml describes: measure "
            f"again, qernel evaluate {directory.path}"
        )


def check_target(target: RunDirectory, run: RunDirectory) -> None:
    """Raises `ValueError` if the results of a run would lie among those of another, or replace files of the user's."""
    if target.path.resolve() == run.path.resolve():
        return
    if target.exists:
        raise ValueError(
            f"{target.path} is the directory of another run, whose report would show these numbers: choose another "
            "directory"
        )
    made_here = False
    if target.results.is_file():
        with contextlib.suppress(OSError, ValueError):
            made_here = "model" in read_netcdf(target.results).attrs
    if not made_here:
        target.check_own(("results.csv", "results.nc", "figures", "transition.json", "transition.nc"))


def write_results(dataset: "xarray.Dataset", directory: RunDirectory) -> None:
    """Write `results.csv` and `results.nc`; all earlier ones stay beside them as `results.previous-1.*` and so on."""
    csv = directory.results.with_suffix(".csv")
    # Two evaluations that end together: one after the other.
    with Lock(directory.path / "results.lock", what="is writing results in", wait=60.0):
        set_aside(csv)
        set_aside(directory.results)
        write_csv(dataset, csv)
        write_netcdf(dataset, directory.results)
