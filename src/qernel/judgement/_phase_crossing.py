"""Where two phases that were measured separately exchange their order along a coordinate."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import ground_state, phases_of, positions_on, rows_of, separate_phases, single_axis

from ._branch_crossing import BranchCrossing, branch_crossing

if TYPE_CHECKING:
    import xarray

# Rows around a change of phase that its place is found from: farther ones ask more of the fit than they tell.
_ROWS = 6


def competitors(
    dataset: "xarray.Dataset",
) -> "tuple[tuple[xarray.Dataset, xarray.Dataset], tuple[str, str]] | None":
    """The two phases that are lowest on the two sides of a change of the lowest one, at the rows around it, and their
    names.

    None without separate phases, with several coordinates, without a change, or if both were measured at fewer than
    three rows.
    """
    axis = single_axis(dataset)
    if not phases_of(dataset) or axis is None:
        return None
    rows = rows_of(dataset)
    order = np.argsort(positions_on(dataset, axis))
    x = positions_on(dataset, axis)[order]
    lowest = ground_state(dataset)["phase"].values[order]
    changes = np.flatnonzero(lowest[1:] != lowest[:-1])
    if len(changes) == 0:
        return None
    energies = {name: dataset["energy"].sel(phase=name).values[order] for name in phases_of(dataset)}
    # Near a crossing the statistics may change the order to and fro: the largest step is the true one.
    step = [np.nan_to_num(energies[lowest[i]][i + 1] - energies[lowest[i + 1]][i + 1], nan=np.inf) for i in changes]
    change = int(changes[np.argmax(step)])
    names = (str(lowest[change]), str(lowest[change + 1]))
    both = np.flatnonzero(np.isfinite(energies[names[0]] + energies[names[1]]))
    if len(both) < 3:
        return None
    near = np.sort(both[np.argsort(np.abs(x[both] - (x[change] + x[change + 1]) / 2), kind="stable")[:_ROWS]])
    chosen = dataset.isel({rows: order[near]})
    phases = separate_phases(chosen)
    return (phases[names[0]], phases[names[1]]), names


def phase_crossing(dataset: "xarray.Dataset") -> tuple[BranchCrossing, tuple[str, str]] | None:
    """Where the energies of the [`competitors`][qernel.judgement.competitors] cross, and their names."""
    found = competitors(dataset)
    return None if found is None else (branch_crossing(*found[0]), found[1])
