"""A transition in several sizes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qernel.evaluation import in_order, positions_on
from qernel.plotting import in_math, new_figure, unit_text, with_unit

from ._analysis import line_of, size_transition
from ._quantity import SizedQuantity, electrons_of, sized_quantities

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def scaling_figure(datasets: Sequence["xarray.Dataset"]) -> "Figure":
    """Interaction energy and order parameter over N against the coordinate for every size, and their steepest slopes
    against N.

    The interaction energy is drawn relative to its value at the first row, which the size shifts.
    """
    from matplotlib import colormaps

    axis = line_of(datasets[0])
    quantities = sized_quantities(datasets)[::-1]
    figure = new_figure(10.0, 3.0 * max(len(quantities), 1))
    panels = figure.subplots(max(len(quantities), 1), 2, sharex="col", width_ratios=[1.6, 1], squeeze=False)
    # The last colours are too pale for lines.
    colours = colormaps["viridis"]([i / max(len(datasets), 2) for i in range(len(datasets))])
    for quantity, (panel, beside) in zip(quantities, panels, strict=False):
        for dataset, colour in zip(datasets, colours, strict=True):
            rows, n = in_order(dataset), electrons_of(dataset)
            values, errors = quantity.of(dataset)
            base = 0.0 if quantity.per_electron else values[rows[0]]
            style = {"color": colour, "marker": "o"}
            x = positions_on(dataset, axis)[rows]
            panel.errorbar(x, values[rows] - base, errors[rows], label=f"N = {n}", **style)
            found = size_transition(dataset, values, errors)
            if found.stretch is not None:
                panel.axvspan(found.stretch.low, found.stretch.high, color=colour, alpha=0.12, lw=0)
                beside.errorbar(n, abs(found.slope), found.slope_error, **style)
        panel.set_ylabel(_label(quantity))
        beside.set_ylabel(f"steepest slope\n({unit_text(_per(quantity.unit, axis.unit))})")
        beside.set_xscale("log")
        beside.set_ylim(bottom=0)
    panels[0, 0].legend()
    panels[-1, 0].set_xlabel(axis.text)
    last = panels[-1, 1]
    last.set_xlabel("electrons $N$")
    sizes = [electrons_of(dataset) for dataset in datasets]
    last.set_xticks(sizes, [str(n) for n in sizes])
    last.minorticks_off()
    figure.align_ylabels()
    return figure


def _label(quantity: SizedQuantity) -> str:
    if quantity.per_electron:
        return f"{in_math(quantity.symbol.removesuffix('/N'))}$/N$"
    return with_unit(f"{quantity.symbol} energy, change\n", quantity.unit).replace("\n (", "\n(")


def _per(unit: str, of: str) -> str:
    """The unit of a slope."""
    if of == "1":
        return "per unit" if unit == "1" else f"{unit} per unit"
    return f"1/{of}" if unit == "1" else f"{unit} per {of}"
