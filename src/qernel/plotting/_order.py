"""Order parameters, and the phase of the ground state, against the coordinates of the family."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import (
    axes_of,
    ground_state,
    in_order,
    lowest_phases,
    order_parameters_of,
    phases_of,
    separate_phases,
)

from ._known import draw_known_branches
from ._multiples import multiples
from ._palette import phase_colours
from ._plane import Lines, category_map, measured_boundary
from ._quantity import is_measured, measured
from ._rows import label_axis, places, shade_transition
from ._style import BLACK, BLUE, RED, new_figure

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def order_figure(dataset: "xarray.Dataset", boundary: Lines | None = None) -> "Figure | None":
    """Order parameters with error bars; in a plane of two coordinates the phase of the ground state too. None where
    neither is known.

    Along one coordinate separate phases are shown as well, where they were measured, and rings mark the rows that show
    an order parameter's other signature.

    **Arguments:** `boundary`: lines in the plane of two coordinates where the ground state changes, by default where
    the measured energies of separate phases are equal.
    """
    rows = ground_state(dataset)
    names = [name for name in order_parameters_of(rows) if is_measured(rows, name)]
    if len(axes_of(dataset)) > 1:
        phase = phase_of_rows(dataset) if len(axes_of(dataset)) == 2 else []
        colours = phase_colours(dataset)
        first = [lambda panel: category_map(panel, rows, phase, colours, "phase of the ground state")] * bool(phase)
        if not names and not first:
            return None
        quantities = [measured(rows, name) for name in names]
        return multiples(rows, quantities, boundary=measured_boundary(dataset, boundary), first=first)
    if not names:
        return None
    figure = new_figure(6.4 if len(names) == 1 else 4.4 * min(len(names), 3), 3.4)
    for panel, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        shade_transition(panel, rows, label=True)
        _curve(panel, dataset, name)
        label_axis(panel, rows)
        panel.legend(loc="best")
    return figure


def phase_of_rows(dataset: "xarray.Dataset") -> list[str]:
    """The phase of matter of every row: the lowest of separate phases, or what the signature of the first order
    parameter says; empty if nothing says it."""
    if phases_of(dataset):
        return lowest_phases(dataset)
    for name in order_parameters_of(dataset)[:1]:
        attrs = dataset[name].attrs
        signature = str(attrs.get("signature", ""))
        if signature in dataset:
            high = dataset[signature].values > 0.5
            return [str(attrs["high"] if found else attrs["low"]) for found in high]
    return []


def _curve(panel: "Axes", dataset, name: str) -> None:
    rows = ground_state(dataset)
    order, quantity, x = in_order(rows), measured(rows, name), places(rows)
    assert quantity.errors is not None
    colours = phase_colours(dataset)
    for phase, table in separate_phases(dataset).items():
        if is_measured(table, name):
            there, of_phase = in_order(table), measured(table, name)
            style = {"color": colours[phase], "marker": "s", "mfc": "none", "lw": 0.9, "ls": "--"}
            errors = None if of_phase.errors is None else of_phase.errors[there]
            label = phase.replace("_", " ")
            panel.errorbar(places(table)[there], of_phase.values[there], errors, label=label, **style)
    colour, label = (BLACK, "lowest phase") if phases_of(dataset) else (BLUE, "this wavefunction")
    panel.errorbar(x[order], quantity.values[order], quantity.errors[order], color=colour, marker="o", label=label)
    draw_known_branches(panel, dataset, name)
    attrs = rows[name].attrs
    signature = str(attrs.get("signature", ""))
    if signature in rows:
        shown = rows[signature].values > 0.5
        if shown.any():
            label = str(attrs.get("what", "")) or signature.replace("_", " ")
            panel.plot(x[shown], quantity.values[shown], "o", ms=9, mfc="none", mec=RED, mew=1.0, label=label)
    panel.set_ylabel(quantity.label)
    panel.set_title(quantity.title)
    if np.nanmin(quantity.values) >= 0:
        panel.set_ylim(0, 1.1 * float(max(np.nanmax(quantity.values), 1e-12)))
