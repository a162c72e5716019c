"""Interaction energy against the coordinates of the family."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import axes_of, ground_state, in_order, known_values, single_axis

from ._multiples import multiples
from ._plane import Lines
from ._quantity import Quantity
from ._rows import axis_text, energy_unit, known_on_line, places, shade_transition
from ._style import BLUE, new_figure, with_unit

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def interaction_figure(dataset: "xarray.Dataset", boundary: Lines = ()) -> "Figure":
    """Interaction energy, with exact values where known. Needs a potential called `interaction`."""
    dataset = ground_state(dataset)
    value, error = (np.asarray(dataset[name].values, np.float64) for name in ("interaction", "interaction_error"))
    if len(axes_of(dataset)) > 1:
        unit = energy_unit(dataset)
        return multiples(dataset, [Quantity(value, error, unit, "interaction energy")], boundary=boundary)
    order = in_order(dataset)
    x = places(dataset)[order]
    figure = new_figure(6.0, 3.8)
    axes = figure.subplots()
    shade_transition(axes, dataset, label=True)
    axes.errorbar(x, value[order], error[order], color=BLUE, marker="o", label="this wavefunction")
    known, axis = known_values(dataset), single_axis(dataset)
    if known is not None and axis is not None and "interaction" in known.terms:
        here = known_on_line(dataset, known)
        place, exact = known.coordinate(axis.name)[here], known.terms["interaction"][here]
        if np.isfinite(exact).any():
            axes.plot(place, exact, "s", ms=8, mfc="none", mec="black", label=known.method)
    axes.set_xlabel(axis_text(dataset))
    axes.set_ylabel(with_unit("interaction energy", energy_unit(dataset)))
    if np.ptp(value) > 0:
        axes.margins(y=0.08)
    axes.legend()
    return figure
