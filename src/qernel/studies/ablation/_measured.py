"""One variant with one seed: trained without a directory, and measured."""

import dataclasses
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Array, Float

from qernel.evaluation import doubts_of, indexed, labelled_rows
from qernel.presets import Config, build
from qernel.run_directory import Problem, Say, Step, measure, start, trained_parameters
from qernel.studies._callbacks import Each, Progress
from qernel.training import TrainingState, burn_in, largest_mesh, train

if TYPE_CHECKING:
    import xarray

Walkers = Float[Array, "members walkers electrons dim"]

# What is kept of a measurement: the densities and pair correlations of all of them would be most of the disk.
_KEPT = (
    *("energy", "energy_error", "kinetic", "kinetic_error", "kinetic_from_gradient", "kinetic_from_gradient_error"),
    *("variance", "v_score", "acceptance", "autocorrelation_time", "effective_samples", "r_hat"),
)
_COMMON = ("electrons_up", "electrons_down", "dimensions", "potentials", "interactions", "walkers", "rounds", "steps")


def measured(config: Config, separate: bool, first: bool, say: Say, each: Each, progress: Progress) -> "xarray.Dataset":
    """The energies of one variant with one seed at the points of the evaluation, and what its training cost.

    **Arguments:** `separate`: a wavefunction for each point, trained there alone; `first`: whether to compare its
    Laplacian with the exact one, as is done once for each kind of network.
    """
    import xarray

    with warnings.catch_warnings():
        # The same open shell would be named for every variant and seed.
        warnings.simplefilter("ignore", UserWarning)
        problem = build(config)
    points = _points(problem)
    parts = [at_point(problem, row) for row in range(len(points))] if separate else [(problem, None)]
    tables, times = [], []
    for number, (part, walkers) in enumerate(parts):
        state, seconds = _trained(part, walkers, first and number == 0, say, each)
        report = partial(progress, "measuring" if len(parts) == 1 else f"measuring point {number + 1} of {len(parts)}")
        tables.append(measure(part, state, progress=report))
        times.append(seconds)
    with jax.enable_x64(True):
        family = problem.family_at(points)
        labels, attributes, rows = labelled_rows(family)
    kept = [*_KEPT, *(name + end for name in family.hamiltonian.potentials for end in ("", "_error"))]
    columns = {
        name: (rows, np.concatenate([table[name].values for table in tables]), tables[0][name].attrs) for name in kept
    }
    # Of the single tables, what the rows have in common.
    attributes = {name: value for name, value in tables[0].attrs.items() if name in _COMMON} | attributes
    attributes["doubts"] = "\n".join(line for table in tables for line in doubts_of(table))
    dataset = problem.system.at(family).label(indexed(xarray.Dataset(columns, labels, attributes)))
    steps, walkers = config.training.steps, config.sampling.walkers
    dataset.attrs.update(
        seconds=steps * sum(times),
        seconds_per_step=sum(times),
        parameters=len(parts) * trained_parameters(problem.ansatz),
        local_energies=steps * walkers * sum(part.members.size for part, _ in parts),
    )
    return dataset


def at_point(problem: Problem, row: int) -> tuple[Problem, Walkers]:
    """The same wavefunction, untrained, for one point of the evaluation alone, and the walkers that it starts from.

    Reference orbitals, network, budget and walkers (those of the nearest trained point) are the family's, so that only
    the sharing differs; and since the point is traced, all such problems run one compiled program.
    """
    points = _points(problem)
    point = points[row : row + 1]
    state = problem.state()
    alone = dataclasses.replace(problem.with_points(point), points=point, key=jax.random.fold_in(problem.key, row))
    return alone, state.positions[problem.nearest(state, point)]


def _points(problem: Problem) -> Float[np.ndarray, "points coordinates"]:
    """Where a variant is measured."""
    return problem.system.family.points if problem.points is None else problem.points


def _trained(
    problem: Problem, walkers: Walkers | None, first: bool, say: Say, each: Each
) -> tuple[TrainingState, float]:
    """The trained state and the seconds of a step, compilation apart."""
    settings, members, method = problem.settings, problem.members, problem.method
    mesh = largest_mesh(members.size, settings.walkers)
    if first:
        # With its comparison of Laplacians, once for each kind of network.
        problem, state, check = start(problem, say, walkers=walkers)
        check.settle(wait=True)
        method = problem.method
    else:
        state = burn_in(problem.state(walkers=walkers), members, method, settings.burn_in, mesh=mesh)
    times = [time.perf_counter()]
    for new, report in train(state, members, method, settings.steps, mesh=mesh, patience=settings.patience):
        step = Step.of(problem, new, report)
        state = new
        times.append(time.perf_counter())
        each(problem, step)
    # The fastest tenth: the first step compiles, and other programs slow some of the others.
    return state, float(np.quantile(np.diff(times), 0.1))
