"""Train a wavefunction on in one phase, or anew where it has none of it."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console

from qernel.ansatz import MomentumProjected, Qernel, single_branch
from qernel.evaluation import read_netcdf
from qernel.presets import Config, Problem, build, load, to_toml
from qernel.run_directory import RunDirectory
from qernel.training import TrainingState

from qernel.run_directory import evaluate_in, write
from qernel.run_directory import provenance
from qernel.run_directory import restore, start, train_in

PHASES = {"liquid": ("liquid", "plane_waves"), "crystal": ("crystal", "gaussians")}


def branch_of(
    phase: str,
    problem: Problem,
    state: TrainingState,
    depths_meV: tuple[float, ...],
    steps: int,
    path: Path,
    command: str,
    console: Console,
) -> Any:
    """The data set of one phase's branch, trained in a run directory of its own; a finished one is read again.

    A model that has the phase's determinants is restricted to them and trained on; otherwise the branch starts anew,
    with twice the steps.
    """
    references = problem.config.ansatz.references
    own = [name for name in PHASES[phase] if name in references]
    reference = own[0] if own else PHASES[phase][0]
    config = _configuration(problem.config, reference, depths_meV, steps if own else 2 * steps)
    directory = RunDirectory(path)
    if directory.exists and load(directory.config).model_copy(update={"provenance": {}}) == config:
        if directory.results.is_file():
            return read_netcdf(directory.results)
        branch = build(config, references=False)
        branch, trained = restore(branch, directory, console, repair=True)
        check = None
    else:
        directory = _fresh(path)
        with console.status(f"building the {phase} branch"):
            branch = build(config)
        if own and isinstance(state.ansatz, Qernel | MomentumProjected):
            # The branch's own orbitals: on its own grid of depths.
            orbitals = _network(branch.ansatz).references[0].module
            ansatz = single_branch(state.ansatz, references.index(own[0]), orbitals)
            branch = dataclasses.replace(branch, ansatz=ansatz, positions=_walkers(problem, state, depths_meV))
        directory.create(to_toml(config, provenance(command)))
        branch, trained, check = start(branch, console)
    console.print(f"{phase} branch: {len(depths_meV)} depths, {config.training.steps} steps -> {path}", soft_wrap=True)
    branch, trained = train_in(directory, branch, trained, console, check)
    dataset = evaluate_in(branch, trained, console)
    write(dataset, directory)
    return dataset


def _network(ansatz: Any) -> Qernel:
    network = ansatz.ansatz if isinstance(ansatz, MomentumProjected) else ansatz
    assert isinstance(network, Qernel)
    return network


def _configuration(config: Config, reference: str, depths_meV: tuple[float, ...], steps: int) -> Config:
    ansatz, system = config.ansatz, config.system
    share = ansatz.determinants // len(ansatz.references)
    changes: dict[str, Any] = {
        "description": f"the {reference} branch of another run",
        "ansatz": ansatz.model_copy(update={"references": (reference,), "determinants": share, "start": "both"}),
        # The conditioning keeps its scale.
        "system": system.model_copy(update={"depths_meV": depths_meV, "depth_range_meV": system.depth_range}),
        "training": config.training.model_copy(update={"steps": steps}),
        "evaluation": config.evaluation.model_copy(update={"depths_meV": depths_meV}),
        "provenance": {},
    }
    return config.model_copy(update=changes)


def _fresh(path: Path) -> RunDirectory:
    """A directory for a new run; an earlier one of another configuration is set aside."""
    number = 1
    while path.exists():
        aside = path.with_name(f"{path.name}.previous-{number}")
        if not aside.exists():
            path.rename(aside)
        number += 1
    return RunDirectory(path)


def _walkers(problem: Problem, state: TrainingState, depths_meV: tuple[float, ...]) -> jax.Array:
    trained = np.array(problem.config.system.depths_meV)
    nearest = [int(np.argmin(np.abs(trained - depth))) for depth in depths_meV]
    return jnp.asarray(np.asarray(state.positions)[nearest])
