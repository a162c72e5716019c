"""The ground state among phases that were measured separately."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import Int

from qernel.judgement import BranchCrossing, branch_crossing
from ._evaluation import Evaluation

if TYPE_CHECKING:
    import xarray

# What is kept of the phases that are not the lowest, each with its error where it has one.
# Rows around a change of phase that its place is found from.
_ROWS = 6
_KEPT = ("energy", "slope", "kinetic", "interaction", "structure_factor_K", "variance", "r_hat")


def lowest_phases(
    evaluations: Sequence[Evaluation], rows: Sequence[Int[np.ndarray, " _"]]
) -> tuple[Evaluation, Int[np.ndarray, " hamiltonians"]]:
    """The measurements of the phase of lowest energy at each Hamiltonian, and its number.

    Where two energies agree within their errors σ, the lower estimate is too low by up to σ/√π on average.

    **Arguments:** `evaluations`, one of each phase; `rows`, the numbers of the Hamiltonians that each was measured at,
    which together are all of them.
    """
    energies = np.full((len(evaluations), 1 + max(int(found.max(initial=-1)) for found in rows)), np.inf)
    places = np.zeros(energies.shape, int)
    for phase, (evaluation, found) in enumerate(zip(evaluations, rows, strict=True)):
        means = np.nanmean(evaluation.series["energy"], axis=(1, 2))
        energies[phase, found] = np.where(np.isfinite(means), means, np.finfo(float).max)
        places[phase, found] = np.arange(len(found))
    chosen = np.argmin(energies, axis=0)

    def pick(*leaves):
        return np.stack([leaves[phase][places[phase, row]] for row, phase in enumerate(chosen)])

    # The rest has no axis of Hamiltonians.
    names = {field.name for field in dataclasses.fields(Evaluation)} - {"wave_vectors", "n_electrons", "real"}
    picked = {name: jax.tree.map(pick, *(getattr(evaluation, name) for evaluation in evaluations)) for name in names}
    return dataclasses.replace(evaluations[0], **picked), chosen


def add_phases(
    dataset: "xarray.Dataset",
    phases: Mapping[str, tuple[Int[np.ndarray, " _"], "xarray.Dataset"]],
    lowest: Sequence[str],
    names: Sequence[str],
) -> "xarray.Dataset":
    """Name the phase of every row, and add what was measured of all phases: `energy_liquid`, `energy_liquid_error`
    and so on; NaN where a phase was not measured.

    **Arguments:** `phases`, the rows where each phase was measured, and its table of them; `lowest`, the name of the
    phase of every row; `names`, of all phases.
    """
    dimension = dataset["energy"].dims[0]
    added = {"phase": (dimension, np.array(lowest), {"long_name": "phase of lowest energy"})}
    kept = [variable for name in _KEPT for variable in (name, f"{name}_error") if variable in dataset]
    for name in names:
        for variable in kept:
            values = np.full(len(lowest), np.nan)
            if name in phases:
                rows, phase = phases[name]
                values[rows] = phase[variable].values
            added[_of_phase(variable, name)] = (dimension, values, dataset[variable].attrs)
    dataset = dataset.assign(added)
    dataset.attrs["phase_names"] = list(names)
    return dataset


def _of_phase(variable: str, name: str) -> str:
    return f"{variable.removesuffix('_error')}_{name}" + ("_error" if variable.endswith("_error") else "")


def separate_phases(dataset: "xarray.Dataset") -> dict[str, "xarray.Dataset"]:
    """The data set of every phase by name, of what [`add_phases`][qernel.observables.add_phases] kept, at the rows
    where it was measured; empty without separate phases."""
    names = np.atleast_1d(dataset.attrs.get("phase_names", [])).tolist()
    return {
        name: _phase(dataset, name, np.flatnonzero(np.isfinite(dataset[f"energy_{name}"].values))) for name in names
    }


def _phase(dataset: "xarray.Dataset", name: str, rows: Int[np.ndarray, " rows"]) -> "xarray.Dataset":
    stored = {variable: _of_phase(variable, name) for kept in _KEPT for variable in (kept, f"{kept}_error")}
    phase = dataset[[]].assign({variable: dataset[s] for variable, s in stored.items() if s in dataset})
    phase.attrs["axis"] = dataset.attrs["axis"]
    return phase.isel({dataset["energy"].dims[0]: rows})


def competitors(dataset: "xarray.Dataset") -> tuple[tuple["xarray.Dataset", "xarray.Dataset"], tuple[str, str]] | None:
    """The two phases that are lowest on the two sides of a change of the lowest one, at the rows around it, and their
    names.

    None without separate phases, without a change, or if both were measured at fewer than three rows.
    """
    phases = separate_phases(dataset)
    if not phases:
        return None
    axis = str(dataset.attrs["axis"])
    order = np.argsort(dataset[axis].values)
    x, lowest = dataset[axis].values[order], dataset["phase"].values[order]
    changes = np.flatnonzero(lowest[1:] != lowest[:-1])
    if len(changes) == 0:
        return None
    energies = {name: dataset[f"energy_{name}"].values[order] for name in phases}
    # Near a crossing the statistics may change the order to and fro: the largest step is the true one.
    step = [np.nan_to_num(energies[lowest[i]][i + 1] - energies[lowest[i + 1]][i + 1], nan=np.inf) for i in changes]
    change = int(changes[np.argmax(step)])
    names = (str(lowest[change]), str(lowest[change + 1]))
    both = np.flatnonzero(np.isfinite(energies[names[0]] + energies[names[1]]))
    if len(both) < 3:
        return None
    near = np.sort(both[np.argsort(np.abs(x[both] - (x[change] + x[change + 1]) / 2), kind="stable")[:_ROWS]])
    return (_phase(dataset, names[0], order[near]), _phase(dataset, names[1], order[near])), names


def phase_crossing(dataset: "xarray.Dataset") -> tuple[BranchCrossing, tuple[str, str]] | None:
    """Where the energies of the [`competitors`][qernel.observables.competitors] cross, and their names."""
    found = competitors(dataset)
    return None if found is None else (branch_crossing(*found[0]), found[1])
