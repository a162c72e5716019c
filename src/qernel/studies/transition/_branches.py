"""Train a wavefunction on in one phase of matter, or anew where it has none of it."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from qernel.ansatz import MomentumProjected, Qernel, single_branch
from qernel.evaluation import read_netcdf
from qernel.judgement import add_zero_variance
from qernel.presets import Config, build, load, to_toml
from qernel.run_directory import (
    Problem,
    RunDirectory,
    Say,
    Step,
    measure,
    provenance,
    read_training_of_phases,
    restore,
    set_aside,
    start,
    train_in,
    write_results,
)
from qernel.training import TrainingState

if TYPE_CHECKING:
    import xarray


def branch_of(
    matter: str,
    config: Config,
    problem: Problem,
    state: TrainingState,
    points: Float[np.ndarray, "points coordinates"],
    steps: int,
    path: Path,
    command: str,
    say: Say,
    each: Any,
) -> "xarray.Dataset":
    """The table of one phase's branch, trained in a run directory of its own; a finished one is read again.

    A model that has the phase's determinants is restricted to them and trained on; otherwise the branch starts anew,
    with twice the steps. `each` is called with every [`Step`][qernel.run_directory.Step].
    """
    names = [phase.name for phase in problem.system.phases if phase.matter == matter]
    own = [name for name in names if name in problem.references]
    reference = own[0] if own else names[0]
    branch_config = _configuration(config, reference, points, steps if own else 2 * steps)
    directory = RunDirectory(path)
    check = None
    # One that stopped before its first checkpoint begins anew.
    same = directory.begun and load(directory.config).model_copy(update={"provenance": {}}) == branch_config
    if same and directory.results.is_file():
        return read_netcdf(directory.results)
    if not same:
        # An earlier branch of another configuration.
        set_aside(path)
    with directory.claim():
        if same:
            branch = build(branch_config, solve=False)
            trained = restore(branch, directory, say, repair=True)
        else:
            say(f"building the {matter} branch")
            branch = build(branch_config)
            walkers = None
            if own and isinstance(state.ansatz, Qernel | MomentumProjected):
                # The branch's own orbitals: on its own grid of points.
                orbitals = _network(branch.ansatz).references[0].module
                number = problem.references.index(own[0])
                branch = dataclasses.replace(branch, ansatz=single_branch(state.averaged, number, orbitals))
                walkers = jnp.asarray(np.asarray(state.positions)[problem.nearest(state, points)])
            directory.create(to_toml(branch_config, provenance(command, branch.identity)))
            branch, trained, check = start(branch, say, walkers=walkers)
        say(f"{matter} branch: {len(points)} points, {branch_config.training.steps} steps -> {path}")
        step: Step | None = None
        for step in train_in(directory, branch, trained, branch_config.training.steps, check):
            each(step)
        dataset = measure(branch, trained if step is None else step.state)
        dataset = add_zero_variance(dataset, read_training_of_phases(directory.metrics))
        write_results(dataset, directory)
    return dataset


def _network(ansatz: Any) -> Qernel:
    network = ansatz.ansatz if isinstance(ansatz, MomentumProjected) else ansatz
    if not isinstance(network, Qernel):
        raise ValueError(f"a {type(network).__name__} has no branches that could be trained on")
    return network


def _configuration(config: Config, reference: str, points: Any, steps: int) -> Config:
    ansatz = config.ansatz
    share = ansatz.determinants // len(ansatz.references)
    changes: dict[str, Any] = {
        "description": f"the {reference} branch of another run",
        "ansatz": ansatz.model_copy(update={"references": (reference,), "determinants": share, "start": "both"}),
        # The conditioning keeps its scale.
        "system": config.system.at(points),
        "training": config.training.model_copy(update={"steps": steps}),
        "evaluation": config.evaluation.model_copy(update={"at": {}}),
        "provenance": {},
    }
    return config.model_copy(update=changes)
