"""Beginning a run with what another one, of fewer electrons, has learnt."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from rich.console import Console

from qernel.ansatz import CompetingPhases, MomentumProjected, Qernel
from qernel.lattice import Lattice, shells, supercell, triangular
from qernel.presets import Config, build, load
from qernel.run_directory import Problem
from qernel.run_directory import RunDirectory
from qernel.training import transferred

from qernel.run_directory import restore

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


def with_network_of(run: Path, source: str, overrides: list[str]) -> list[str]:
    """The overrides of a new run that give it the network of a trained one, unless they say otherwise."""
    trained = _configuration(run)
    ansatz = trained.model_dump(mode="json")["ansatz"]
    network = [f"ansatz.{name}={_toml(ansatz[name])}" for name in _NETWORK]
    config = load(source, [*network, *overrides])
    cell, old_cell = (_cell(c) for c in (config, trained))
    longest = np.linalg.norm(shells(old_cell, trained.ansatz.feature_shells), axis=1).max()
    count = config.ansatz.feature_shells
    while np.linalg.norm(shells(cell, count), axis=1).max() < longest * (1 - 1e-9):
        count += 1
    # The features of the trained network must be among those of the new one.
    return [*network, f"ansatz.feature_shells={count}", *overrides]


def _cell(config: Config) -> Lattice:
    a = config.system.lattice_constant_nm
    return supercell(triangular(a), config.system.supercell).lattice


def _toml(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _configuration(run: Path) -> Config:
    directory = RunDirectory(run)
    if not directory.exists:
        raise ValueError(f"{run} is not the directory of a run: it has no config.toml")
    return load(directory.config, [])


def begun_from(problem: Problem, run: Path, console: Console) -> Problem:
    """The problem with a wavefunction that begins with what a trained run knows.

    **Raises:** `ValueError` if there is no such run or the two do not fit.
    """
    trained = build(_configuration(run), references=False)
    trained, state = restore(trained, RunDirectory(run), console, repair=False)
    cells = [p.family.hamiltonian.cell for p in (problem, trained)]
    assert cells[0] is not None and cells[1] is not None
    if _phases(problem) != _phases(trained):
        raise ValueError(
            f"{run} was trained for the phases {_phases(trained)}, and this run asks for {_phases(problem)}"
        )
    with jax.enable_x64(True), console.status(f"taking over what {run} has learnt"):
        transfer = transferred(
            _network(problem.ansatz),
            _network(state.ansatz),
            problem.family.parameters,
            cell=cells[0],
            old_cell=cells[1],
            key=jax.random.fold_in(problem.key, 1),
        )
    what = (
        "the network and the pair function" if transfer.network else "the pair function (the network has other sizes)"
    )
    console.print(
        f"from {run}, {trained.electrons} electrons, step {int(state.step)}: {what}, fitted to {transfer.misfit:.1%} "
        "of its variance",
        soft_wrap=True,
    )
    return dataclasses.replace(problem, ansatz=eqx.tree_at(_network, problem.ansatz, transfer.ansatz))


def _phases(problem: Problem) -> Sequence[str]:
    """Liquid and crystal, however their orbitals are made."""
    names = {"plane_waves": "liquid", "gaussians": "crystal"}
    return [names.get(name, name) for name in problem.config.ansatz.references]


def _network(ansatz: object) -> Qernel:
    while isinstance(ansatz, CompetingPhases | MomentumProjected):
        ansatz = ansatz.ansatz
    if not isinstance(ansatz, Qernel):
        raise ValueError(f"a {type(ansatz).__name__} cannot be carried over to another number of electrons")
    return ansatz
