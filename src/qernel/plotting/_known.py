"""Exact values of the phases of matter in figures, each phase in its colour."""

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from qernel.evaluation import KnownBranch, KnownValues, known_values, single_axis

from ._palette import phase_colours
from ._rows import known_on_line
from ._style import BLACK

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

# Open squares are exact throughout.
SQUARES: dict[str, Any] = {"marker": "s", "ms": 7, "mfc": "none", "mew": 1.1, "ls": "none"}


def known_branches(
    dataset: "xarray.Dataset",
) -> list[tuple[KnownBranch, str, Int[np.ndarray, " places"], Float[np.ndarray, " places"]]]:
    """Of every exact branch along a table's single coordinate: itself, its colour, the numbers of the known points on
    the line, by increasing coordinate, and their places; none without."""
    known, axis = known_values(dataset), single_axis(dataset)
    if known is None or axis is None:
        return []
    place = known.coordinate(axis.name)
    here = np.flatnonzero(known_on_line(dataset, known))
    here = here[np.argsort(place[here], kind="stable")]
    colours = phase_colours(dataset)
    return [(branch, colours.get(branch.name, BLACK), here, place[here]) for branch in known.branches]


def draw_known_branches(axes: "Axes", dataset: "xarray.Dataset", name: str) -> bool:
    """Squares at the exact values of a quantity (`structure_factor`, a term of the energy) in every branch; whether
    there are any."""
    drawn = False
    for branch, colour, here, place in known_branches(dataset):
        values = branch.values.get(name, np.full(len(branch.exact), np.nan))[here]
        if np.isfinite(values).any():
            axes.plot(place, values, mec=colour, label=f"exact, {branch.words}", zorder=3, **SQUARES)
            drawn = True
    return drawn


def draw_known_slopes(axes: "Axes", dataset: "xarray.Dataset", phase: str = "") -> None:
    """Squares at the exact slopes between neighbouring known points, of every branch (or that of one phase), or of the
    ground state where branches are not known one by one."""
    known, axis = known_values(dataset), single_axis(dataset)
    if known is None or axis is None:
        return
    branches = [entry for entry in known_branches(dataset) if phase in ("", entry[0].name)]
    for branch, colour, here, place in branches:
        _slopes(axes, place, branch.exact[here], colour, f"exact, {branch.words}")
    # Across a change of the ground state the mean slope is that of neither side.
    if not branches and not phase and not known.boundaries:
        here = known_on_line(dataset, known)
        _slopes(axes, known.coordinate(axis.name)[here], known.exact[here], BLACK, known.method)


def _slopes(axes: "Axes", place, energy, colour: str, label: str) -> None:
    there = np.isfinite(energy)
    x, y = place[there], energy[there]
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    if len(x) > 1 and (np.diff(x) > 0).all():
        axes.plot((x[1:] + x[:-1]) / 2, np.diff(y) / np.diff(x), mec=colour, label=label, zorder=3, **SQUARES)


def draw_above_lowest(axes: "Axes", dataset: "xarray.Dataset") -> None:
    """How far every exact branch lies above the lowest one, as lines with squares."""
    known = known_values(dataset)
    if known is None:
        return
    for branch, colour, here, place in known_branches(dataset):
        above = (branch.exact - known.exact)[here]
        there = np.isfinite(above)
        style = {**SQUARES, "ls": ":", "lw": 1.0, "color": colour}
        axes.plot(place[there], above[there], label=f"exact, {branch.words}", **style)


def exact_difference(
    known: KnownValues, first: str, second: str
) -> tuple[Float[np.ndarray, " known"], Float[np.ndarray, " known"]] | None:
    """The exact energy of one branch less that of another, and its error: that of two errors without correlation, of
    which a common part of the two calculations leaves less. None where one is not known."""
    low, high = known.branch(first), known.branch(second)
    if low is None or high is None:
        return None
    return high.exact - low.exact, np.hypot(low.exact_error, high.exact_error)
