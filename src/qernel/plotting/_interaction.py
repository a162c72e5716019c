"""Interaction energy against the parameter of the family."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import known_values

from ._style import BLUE, axis_text, energy_unit, in_order, new_figure, shade_transition

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def interaction_figure(dataset: "xarray.Dataset") -> "Figure":
    """Interaction energy, with exact values where known. Needs a potential called `interaction`."""
    order = in_order(dataset)
    x = dataset[str(dataset.attrs["axis"])].values[order]
    figure = new_figure(6.0, 3.8)
    axes = figure.subplots()
    shade_transition(axes, dataset, label=True)
    value, error = (dataset[name].values[order] for name in ("interaction", "interaction_error"))
    axes.errorbar(x, value, error, color=BLUE, marker="o", label="this wavefunction")
    known = known_values(dataset)
    if known is not None and len(known.depth):
        axes.plot(known.depth, known.interaction, "s", ms=8, mfc="none", mec="black", label="exact diagonalisation")
    axes.set_xlabel(axis_text(dataset))
    axes.set_ylabel(f"interaction energy ({energy_unit(dataset)})")
    span = np.ptp(value)
    if span > 0:
        axes.margins(y=0.08)
    axes.legend()
    return figure
