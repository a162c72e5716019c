"""A transition in cells of several sizes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._analysis import interaction_transition, order_transition

from qernel.evaluation import in_order
from qernel.plotting import axis_text, energy_unit, new_figure

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def scaling_figure(datasets: Sequence["xarray.Dataset"]) -> "Figure":
    """Interaction energy and S(K)/N against the coordinate for every size, and their steepest slopes against N.

    The interaction energy is drawn relative to its value at the first depth, which the size shifts.
    """
    from matplotlib import colormaps

    figure = new_figure(10.0, 6.0)
    (interaction, slope_interaction), (order, slope_order) = figure.subplots(2, 2, sharex="col", width_ratios=[1.6, 1])
    colours = colormaps["viridis"](
        [i / max(len(datasets), 2) for i in range(len(datasets))]  # the last colours are too pale for lines
    )
    for dataset, colour in zip(datasets, colours, strict=True):
        rows = in_order(dataset)
        x = dataset[str(dataset.attrs["axis"])].values[rows]
        get = lambda name, dataset=dataset, rows=rows: dataset[name].values[rows]
        changes = order_transition(dataset), interaction_transition(dataset)
        n = changes[0].electrons
        style = {"color": colour, "marker": "o"}
        energy = get("interaction")
        interaction.errorbar(x, energy - energy[0], get("interaction_error"), label=f"N = {n}", **style)
        order.errorbar(x, get("structure_factor_K") / n, get("structure_factor_K_error") / n, **style)
        for panel, beside, found in ((order, slope_order, changes[0]), (interaction, slope_interaction, changes[1])):
            if found.stretch is not None:
                panel.axvspan(found.stretch.low, found.stretch.high, color=colour, alpha=0.12, lw=0)
                beside.errorbar(n, abs(found.slope), found.slope_error, **style)
    unit = energy_unit(datasets[0])
    interaction.set_ylabel(f"interaction energy, change\n({unit})")
    interaction.legend()
    order.set_ylabel("$S(K)/N$")
    order.set_xlabel(axis_text(datasets[0]))
    slope_interaction.set_ylabel("steepest slope\n(meV per electron per meV)")
    slope_order.set_ylabel("steepest slope of $S(K)/N$\n(1/meV)")
    slope_order.set_xlabel("electrons $N$")
    for panel in (slope_interaction, slope_order):
        panel.set_xscale("log")
        panel.set_ylim(bottom=0)
    sizes = [int(dataset.attrs["electrons_up"]) + int(dataset.attrs["electrons_down"]) for dataset in datasets]
    slope_order.set_xticks(sizes, [str(n) for n in sizes])
    slope_order.minorticks_off()
    figure.align_ylabels()
    return figure
