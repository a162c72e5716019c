"""Several quantities of a table side by side, whatever its rows are: on a line, in a plane, or in more coordinates."""

import itertools
import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from qernel.evaluation import axes_of, in_order, points_of

from ._plane import Lines, draw_boundaries, label_plane, value_map
from ._quantity import Quantity
from ._rows import label_axis, places, shade_transition
from ._style import new_figure, unit_text

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colours that can be told apart, and lines of a legend.
_NAMED = 10
_TITLE = 38


def multiples(
    dataset: "xarray.Dataset",
    quantities: Sequence[Quantity],
    *,
    boundary: Lines | None = None,
    first: "Sequence[Callable[[Axes], None]]" = (),
) -> "Figure":
    """A panel for every quantity: points joined along one coordinate, maps of two.

    Of more coordinates, points against the first one, in a colour for each point of the others. No line joins rows that
    differ in more than the coordinate that it is drawn against.

    **Arguments:** `boundary`: lines in the plane of two coordinates where the ground state was found to change, by
    default none; `first`: functions that draw panels before those of the quantities.
    """
    axes = axes_of(dataset)
    count = len(quantities) + len(first)
    columns = {1: 1, 2: 2, 4: 2}.get(count, 3)
    rows = -(-count // columns)
    plane = len(axes) == 2
    single = 5.6 if count == 1 else 3.6
    figure = new_figure(single * columns, (3.9 if count == 1 else 2.9) * rows + (0.35 if plane or len(axes) > 2 else 0))
    grid = figure.subplots(rows, columns, squeeze=False)
    for panel in grid.ravel()[count:]:
        panel.set_visible(False)
    panels = list(grid.ravel()[:count])
    for draw, panel in zip(first, panels, strict=False):
        draw(panel)
    for quantity, panel in zip(quantities, panels[len(first) :], strict=True):
        if plane:
            value_map(figure, panel, dataset, quantity)
        else:
            _curve(panel, dataset, quantity)
    for panel in panels:
        panel.set_title(wrapped(panel.get_title()))
    if plane:
        label_plane(panels, dataset)
        draw_boundaries(figure, panels, dataset, boundary or ())
    else:
        for panel in panels:
            shade_transition(panel, dataset, label=panel is panels[0])
            label_axis(panel, dataset)
        _legend(figure, panels[0], len(axes) > 2)
    return figure


def others_of(dataset: "xarray.Dataset") -> list[tuple[str, Int[np.ndarray, " rows"]]]:
    """Groups of rows that differ in the first coordinate alone, in order, each with the others' values in words."""
    axes = axes_of(dataset)
    if len(axes) < 2:
        return [("", in_order(dataset))]
    others = np.round(points_of(dataset)[:, 1:], 12)
    distinct = np.unique(others, axis=0)
    position = places(dataset)
    found = []
    for values in distinct:
        rows = np.flatnonzero((others == values).all(axis=1))
        words = ", ".join(
            f"${axis.latex}$ = {v:.4g}{unit_text(axis.suffix)}" for axis, v in zip(axes[1:], values, strict=True)
        )
        found.append((words, rows[np.argsort(position[rows], kind="stable")]))
    return found


def _curve(panel: "Axes", dataset, quantity: Quantity) -> None:
    from matplotlib import colormaps

    groups, x = others_of(dataset), places(dataset)
    joined = len(axes_of(dataset)) < 2
    colours = [quantity.colour] if joined else colormaps["viridis"](np.linspace(0, 0.9, len(groups)))
    # With many colours a legend of some of them is enough to read the order.
    named = set(np.round(np.linspace(0, len(groups) - 1, min(len(groups), _NAMED))).astype(int).tolist())
    for number, ((words, rows), colour) in enumerate(zip(groups, colours, strict=True)):
        panel.errorbar(
            x[rows],
            quantity.values[rows],
            None if quantity.errors is None else quantity.errors[rows],
            color=colour,
            marker="o",
            ls="-" if joined else "none",
            label=words if words and number in named else None,
        )
    panel.set_ylabel(quantity.label)
    panel.set_title(quantity.title)
    positive = quantity.values[np.isfinite(quantity.values)]
    if quantity.scale == "log" and len(positive) and positive.min() > 0:
        panel.set_yscale("log")


def _legend(figure: "Figure", panel: "Axes", of_others: bool) -> None:
    handles, labels = panel.get_legend_handles_labels()
    if handles and of_others:
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 4))
    elif handles:
        panel.legend()


def wrapped(text: str, width: int = _TITLE) -> str:
    """Text on lines that fit above a panel."""
    return "\n".join(itertools.chain.from_iterable(textwrap.wrap(part, width) for part in text.split("\n")))
