"""Interaction energy against the coordinates of the family."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import axes_of, ground_state, in_order, known_values, single_axis
from qernel.judgement import interaction_of

from ._known import draw_known_branches
from ._multiples import multiples
from ._palette import term_colours, term_label
from ._plane import Lines, measured_boundary
from ._quantity import Quantity
from ._rows import energy_unit, known_on_line, label_axis, places, shade_transition
from ._style import new_figure, with_unit

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def interaction_figure(dataset: "xarray.Dataset", boundary: Lines | None = None) -> "Figure | None":
    """The energy of the first potential through which electrons act on one another, with exact values where known; None
    without one.

    **Arguments:** `boundary`: lines in the plane of two coordinates where the ground state changes, by default where
    the measured energies of separate phases are equal.
    """
    name = interaction_of(dataset)
    if name is None:
        return None
    rows = ground_state(dataset)
    value, error = (np.asarray(rows[variable].values, np.float64) for variable in (name, f"{name}_error"))
    words, colour = term_label(rows, name), term_colours(rows)[name]
    words = words if words.endswith("energy") else f"{words} energy"
    if len(axes_of(rows)) > 1:
        quantity = Quantity(value, error, energy_unit(rows), words, colour)
        return multiples(rows, [quantity], boundary=measured_boundary(dataset, boundary))
    order = in_order(rows)
    x = places(rows)[order]
    figure = new_figure(6.0, 3.8)
    axes = figure.subplots()
    shade_transition(axes, rows, label=True)
    axes.errorbar(x, value[order], error[order], color=colour, marker="o", label="this wavefunction")
    known, axis = known_values(rows), single_axis(rows)
    if not draw_known_branches(axes, rows, name) and known is not None and axis is not None and name in known.terms:
        here = known_on_line(rows, known)
        place, exact = known.coordinate(axis.name)[here], known.terms[name][here]
        if np.isfinite(exact).any():
            axes.plot(place, exact, "s", ms=8, mfc="none", mec="black", label=known.method)
    label_axis(axes, rows)
    axes.set_ylabel(with_unit(words, energy_unit(rows)))
    if np.ptp(value) > 0:
        axes.margins(y=0.08)
    axes.legend()
    return figure
