"""Beginning a run with what another one, of fewer electrons, has learnt."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax

from qernel.ansatz import CompetingPhases, MomentumProjected, Qernel
from qernel.hamiltonian import in_phases
from qernel.lattice import Lattice
from qernel.presets import Config, ConfigurationError, build, load
from qernel.run_directory import Problem, RunDirectory, Say, nothing_said, restore
from qernel.systems import matter_of, sized
from qernel.training import transferred

from ._script import is_script

# What makes the network that is to go on; cells, references and waves are those of the new system.
_NETWORK = (
    "layers",
    "width",
    "query_heads",
    "key_value_heads",
    "head_size",
    "experts",
    "expert_width",
    "determinants",
    "condition_size",
    "complex",
    "router",
    "gate",
    "top_k",
    "film",
    "cusp",
    "phases",
)


def with_network_of(
    run: RunDirectory | str | Path, source: Config | str | Path, overrides: Sequence[str] = ()
) -> list[str]:
    """The overrides of a new run that give it the network of a trained one, unless they say otherwise.

    **Raises:** `ValueError` if there is no such run, or the new one is of another system.
    """
    directory = _directory(run)
    trained = _configuration(directory)
    ansatz = trained.model_dump(mode="json")["ansatz"]
    # A real network says nothing against another filling of an open shell, whose orbitals may be complex.
    network = [f"ansatz.{name}={_toml(ansatz[name])}" for name in _NETWORK if name != "complex" or ansatz["complex"]]
    # More phases compete where the open shell of the new cell has choices: the conditioning knows those of the old.
    if set(trained.ansatz.references) < set(load(source, overrides).ansatz.references):
        network.append(f"ansatz.references={_toml(ansatz['references'])}")
    try:
        config = load(source, [*network, *overrides])
    except ConfigurationError:
        # A network's sizes need not fit the orbitals of another system, which is the better reason.
        _check_system(directory, trained.system.name, load(source, overrides).system.name)
        raise
    _check_system(directory, trained.system.name, config.system.name)
    mine, theirs = sized(config.system), sized(trained.system)
    # The features of the trained network must be among those of the new one.
    shells = mine.feature_shells_for(theirs, trained.ansatz.feature_shells, config.ansatz.feature_shells)
    return [*network, f"ansatz.feature_shells={shells}", *overrides]


def begun_from(problem: Problem, run: RunDirectory | str | Path, say: Say = nothing_said) -> Problem:
    """The problem with a wavefunction that begins with what a trained run knows.

    **Raises:** `ValueError` if there is no such run or the two do not fit.
    """
    directory = _directory(run)
    trained = build(_configuration(directory), solve=False)
    _check_system(directory, trained.system.name, problem.system.name)
    matter = [matter_of(p.system.phases, p.references) for p in (problem, trained)]
    if matter[0] != matter[1]:
        raise ValueError(
            f"{directory.path} was trained for the phases {', '.join(matter[1])}, and this run asks for "
            f"{', '.join(matter[0])}"
        )
    cell, old_cell = _cell(problem), _cell(trained)
    state = restore(trained, directory, say)
    family = problem.system.family
    say(f"taking over what {directory.path} has learnt")
    with jax.enable_x64(True):
        transfer = transferred(
            _network(problem.ansatz),
            _network(state.averaged),
            in_phases(family.parameters, len(problem.names)) if problem.names else family.parameters,
            cell=cell,
            old_cell=old_cell,
            key=jax.random.fold_in(problem.key, 1),
        )
    what = (
        "the network and the pair function" if transfer.network else "the pair function (the network has other sizes)"
    )
    say(
        f"from {directory.path}, {trained.electrons} electrons, step {int(state.step)}: {what}, fitted to "
        f"{transfer.misfit:.1%} of its variance"
    )
    return dataclasses.replace(problem, ansatz=eqx.tree_at(_network, problem.ansatz, transfer.ansatz))


def _directory(run: RunDirectory | str | Path) -> RunDirectory:
    return run if isinstance(run, RunDirectory) else RunDirectory(run)


def _configuration(directory: RunDirectory) -> Config:
    if not directory.exists:
        raise ValueError(f"{directory.path} is not the directory of a run: it has no config.toml")
    if is_script(directory):
        raise ValueError(
            f"{directory.path} is the run of a script: carry its wavefunction over in a script, by "
            "qernel.training.transferred"
        )
    return load(directory.config)


def _check_system(directory: RunDirectory, theirs: str, mine: str) -> None:
    if mine != theirs:
        raise ValueError(f"{directory.path} is a run of the system {theirs}, and this one is of {mine}")


def _cell(problem: Problem) -> Lattice:
    cell = problem.system.family.hamiltonian.cell
    if cell is None:
        raise ValueError(
            f"the system {problem.system.name} has no periodic cell, whose waves could carry a wavefunction over to "
            "another number of electrons"
        )
    return cell


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _network(ansatz: object) -> Qernel:
    while isinstance(ansatz, CompetingPhases | MomentumProjected):
        ansatz = ansatz.ansatz
    if not isinstance(ansatz, Qernel):
        raise ValueError(f"a {type(ansatz).__name__} cannot be carried over to another number of electrons")
    return ansatz
