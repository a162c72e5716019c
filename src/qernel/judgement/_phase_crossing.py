"""Where two phases that were measured separately exchange their order along a coordinate."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import (
    axes_of,
    lowest_phases,
    phases_of,
    positions_on,
    rows_of,
    separate_phases,
    single_axis,
    with_error,
)

from ._branch_crossing import BranchCrossing, branch_crossing

if TYPE_CHECKING:
    import xarray

# Rows around a change of phase that its place is found from: farther ones ask more of the fit than they tell.
_ROWS = 6


Pair = tuple["xarray.Dataset", "xarray.Dataset"]


def competitors(dataset: "xarray.Dataset") -> list[tuple[Pair, tuple[str, str]]]:
    """Every two phases that are lowest on the two sides of a change of the lowest one, at the rows around it, and their
    names; the largest step of the energy first.

    None without separate phases, with several coordinates, without a change, or of phases of which both were measured
    at fewer than three rows.
    """
    axis = single_axis(dataset)
    if not phases_of(dataset) or axis is None:
        return []
    rows = rows_of(dataset)
    order = np.argsort(positions_on(dataset, axis))
    x = positions_on(dataset, axis)[order]
    lowest = np.array(lowest_phases(dataset))[order]
    energies = {name: dataset["energy"].sel(phase=name).values[order] for name in phases_of(dataset)}
    changes = np.flatnonzero(lowest[1:] != lowest[:-1])
    steps = [np.nan_to_num(energies[lowest[i]][i + 1] - energies[lowest[i + 1]][i + 1], nan=np.inf) for i in changes]
    found: dict[tuple[str, str], Pair] = {}
    # Near a crossing the statistics may change the order to and fro: of two phases the largest step is the true one,
    # and the way back another one only if the energies are seen to cross the other way.
    for i in changes[np.argsort(steps, kind="stable")[::-1]]:
        names = str(lowest[i]), str(lowest[i + 1])
        both = np.flatnonzero(np.isfinite(energies[names[0]] + energies[names[1]]))
        if names in found or len(both) < 3:
            continue
        near = np.sort(both[np.argsort(np.abs(x[both] - (x[i] + x[i + 1]) / 2), kind="stable")[:_ROWS]])
        phases = separate_phases(dataset.isel({rows: order[near]}))
        pair = phases[names[0]], phases[names[1]]
        if names[::-1] in found:
            back = branch_crossing(*pair)
            if not (back.crosses and back.kink < 0):
                continue
        found[names] = pair
    return [(pair, names) for names, pair in found.items()]


def phase_crossings(dataset: "xarray.Dataset") -> list[tuple[BranchCrossing, tuple[str, str]]]:
    """Where the energies of the [`competitors`][qernel.judgement.competitors] cross, and their names, by increasing
    coordinate."""
    found = [(branch_crossing(*pair), names) for pair, names in competitors(dataset)]
    return sorted(found, key=lambda one: np.nan_to_num(one[0].location, nan=np.inf))


def crossing_sentence(dataset: "xarray.Dataset", crossing: BranchCrossing, names: tuple[str, str]) -> str:
    """A change of the lowest phase of a table in words: where the energies cross, if two different states do."""
    axis, (first, second) = axes_of(dataset)[0], names
    if not crossing.crosses:
        return (
            f"The lowest phase changes from {first} to {second}, but the two are not told apart there: no crossing of "
            "levels."
        )
    at_zero = with_error(crossing.limit, crossing.limit_error)
    limit = (
        f" ({at_zero}{axis.suffix} at zero variance, systematic error included)" if np.isfinite(crossing.limit) else ""
    )
    return (
        f"First-order transition: the energies of the {first} and of the {second} cross at {axis.symbol} = "
        f"{with_error(crossing.location, crossing.error)}{axis.suffix}{limit}, where their slopes differ by "
        f"{with_error(abs(crossing.kink), crossing.kink_error)} {dataset['energy'].attrs['units']} per"
        f"{axis.suffix or ' unit'}."
    )
