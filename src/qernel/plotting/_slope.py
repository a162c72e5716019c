"""The Hellmann-Feynman check of the energy curve."""

from typing import TYPE_CHECKING

from qernel.evaluation import ground_state, in_order, positions_on, single_axis
from qernel.judgement import slope_check

from ._rows import axis_text, shade_transition
from ._style import BLACK, RED, new_figure

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def slope_figure(dataset: "xarray.Dataset") -> "Figure | None":
    r"""$dE/d\lambda$ from the energies against $\langle\partial H/\partial\lambda\rangle$, and their difference, along one
    coordinate; None where it cannot be made."""
    check, axis = slope_check(dataset), single_axis(dataset)
    if check is None or axis is None:
        return None
    dataset = ground_state(dataset)
    order = in_order(dataset)
    symbol = axis.latex
    figure = new_figure(6.0, 5.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    for panel in (above, below):
        shade_transition(panel, dataset, label=panel is above)
    slope, error = (dataset[name].values[order] for name in ("slope", "slope_error"))
    above.errorbar(
        positions_on(dataset, axis)[order],
        slope,
        error,
        color=RED,
        marker="o",
        label=rf"$\langle\partial H/\partial {symbol}\rangle$, measured",
    )
    above.errorbar(
        check.middle,
        check.from_energies,
        check.from_energies_error,
        color=BLACK,
        marker="s",
        mfc="white",
        ls="none",
        label=rf"$\Delta E/\Delta {symbol}$, from the energies",
    )
    above.set_ylabel(rf"$dE/d{symbol}$ per electron")
    above.legend()
    below.axhline(0, color=RED, lw=1.0)
    below.errorbar(check.middle, check.difference, check.error, color=BLACK, marker="s", mfc="white", ls="none")
    below.fill_between(
        check.middle, -check.uncertainty, check.uncertainty, color=RED, alpha=0.2, lw=0, label="interpolation"
    )
    below.set_ylabel("difference")
    below.set_xlabel(axis_text(dataset))
    below.legend()
    figure.align_ylabels()
    return figure
