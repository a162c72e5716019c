"""What a run says of its training, with the physics that it is about."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Float

from qernel.evaluation import KnownValues, coordinates_of, known_values, read_netcdf
from qernel.presets import ConfigurationError, configuration_text, parse
from qernel.run_directory import Problem, RunDirectory, read_metrics, read_training
from qernel.systems import System
from qernel.training import TrainingRecord

Points = Float[np.ndarray, "points coordinates"]


@runtime_checkable
class AnyRun(Protocol):
    """A run of a script, [`Run`][qernel.runs.Run]: it knows its system, whatever made it."""

    @property
    def path(self) -> Path: ...

    @property
    def problem(self) -> Problem: ...


@dataclasses.dataclass(frozen=True)
class Physics:
    """What two runs must have in common, and what is known of it.

    - `facts`: name and value of everything that defines the system besides the points; `unit` of energies.
    - `known`: reference values at points of the family, whose coordinates are `names`.
    - `parameters`: those of the Hamiltonians at points, None where only results are left of the system.
    """

    facts: dict[str, str]
    unit: str
    electrons: int
    names: tuple[str, ...]
    known: Callable[[Points], KnownValues | None]
    parameters: Callable[[Points], list[np.ndarray]] | None = None


@dataclasses.dataclass(frozen=True)
class Training:
    """A training, read: `record` of its steps, and since its beginning the `seconds` that they took, the first one's
    with compiling, and the `samples`, local energies of all members and phases. NaN where a table does not say it."""

    name: str
    path: Path
    physics: Physics
    record: TrainingRecord
    seconds: Float[np.ndarray, " steps"]
    samples: Float[np.ndarray, " steps"]


def read_run(run: "str | os.PathLike | AnyRun", name: str = "") -> Training:
    """Read the training of a run: its directory, or the [`Run`][qernel.runs.Run] itself.

    The system is that of the configuration; of a run that a script has made by its directory alone, what its results
    say.

    **Raises:** `ValueError` that names the run, if there is no directory, no step, no clock in its metrics, or nothing
    that says what its system is.
    """
    path = Path(run) if isinstance(run, str | os.PathLike) else run.path
    if not path.is_dir():
        raise ValueError(f"there is no run {path}: it is no directory")
    directory = RunDirectory(path)
    try:
        record = read_training(directory.metrics)
    except ValueError as error:
        raise ValueError(f"{path} has no training to compare: {error}") from None
    if not np.isfinite(record.seconds).any():
        raise ValueError(f"{path} has no seconds in its metrics.csv: an earlier version wrote it; train it again")
    physics = _of_directory(directory) if isinstance(run, str | os.PathLike) else _of_system(run.problem.system)
    if physics.names != record.names:
        raise ValueError(
            f"the metrics of {path} have the coordinates {', '.join(record.names) or 'none'}, its system "
            f"{', '.join(physics.names) or 'none'}: they are not of one run"
        )
    seconds = np.cumsum(np.nan_to_num(record.seconds))
    return Training(name or path.name, path, physics, record, seconds, np.cumsum(_samples(directory.metrics, record)))


def _samples(metrics: Path, record: TrainingRecord) -> Float[np.ndarray, " steps"]:
    """Local energies of each step, of all members in all phases.

    The table has the variance of a member's local energies and the naive error of their mean, σ/√n: that is n, however
    the walkers are shared out among the members. Those that were not finite were computed as well.
    """
    counts: dict[int, float] = {}
    for row in read_metrics(metrics):
        variance, error, bad = (float(row[column]) for column in ("variance", "error", "bad_walkers"))
        used = round(variance / error**2) if np.isfinite(variance) and error > 0 else 0
        # An eigenstate has no variance to tell its walkers by.
        unknown = np.isfinite(variance) and not error > 0
        step = int(row["step"])
        counts[step] = counts.get(step, 0.0) + (np.nan if unknown else used + bad)
    found = np.array([counts[int(step)] for step in record.step])
    known = np.isfinite(found)
    return np.where(known, found, np.median(found[known])) if known.any() else found


def _of_directory(directory: RunDirectory) -> Physics:
    try:
        config = parse(configuration_text(directory.config)) if directory.exists else None
    except ConfigurationError:
        # A script writes what it knows.
        config = None
    if config is not None:
        with jax.enable_x64(True):
            return _of_system(config.system.system())
    if directory.results.is_file():
        return _of_results(directory)
    raise ValueError(
        f"{directory.path} was made by a script and has not been measured: nothing in it says what its system is. "
        "Compare its Run in a script, or measure it first"
    )


def _of_system(system: System) -> Physics:
    family, units = system.family, system.units
    hamiltonian = family.hamiltonian
    names = tuple(coordinate.name for coordinate in family.coordinates)
    cell = None if hamiltonian.cell is None else hamiltonian.cell.matrix * units.bohr

    def at(points: Points):
        with jax.enable_x64(True):
            return family.at(points)

    def known(points: Points) -> KnownValues | None:
        return None if system.known is None else system.known(at(points))

    def parameters(points: Points) -> list[np.ndarray]:
        return [np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(at(points).parameters)]

    facts = _facts(system.name, hamiltonian.electrons, hamiltonian.dim, list(hamiltonian.potentials), cell)
    return Physics(facts, units.per_electron, hamiltonian.n_electrons, names, known, parameters)


def _of_results(directory: RunDirectory) -> Physics:
    dataset = read_netcdf(directory.results)
    attributes = dataset.attrs
    electrons = int(attributes["electrons_up"]), int(attributes["electrons_down"])
    cell = dataset["supercell"].values if "supercell" in dataset else None
    names = tuple(axis.name for axis in coordinates_of(dataset))
    potentials = np.atleast_1d(attributes["potentials"]).tolist()
    facts = _facts(str(attributes.get("system", "")), electrons, int(attributes["dimensions"]), potentials, cell)
    known = known_values(dataset)
    return Physics(facts, str(dataset["energy"].attrs["units"]), sum(electrons), names, lambda points: known)


def _facts(name: str, electrons: tuple[int, int], dim: int, potentials: list[str], cell) -> dict[str, str]:
    # Six digits: a cell in nm has been multiplied and rounded elsewhere than another.
    matrix = "none" if cell is None else str([[float(f"{x:.6g}") for x in row] for row in np.asarray(cell).tolist()])
    return {
        "system": name,
        "electrons up and down": f"{electrons[0]}, {electrons[1]}",
        "dimensions": f"{dim}",
        "potentials": ", ".join(sorted(potentials)),
        "periodic cell": matrix,
    }
