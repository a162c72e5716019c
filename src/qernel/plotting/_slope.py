"""The Hellmann-Feynman check of the energy curve."""

from typing import TYPE_CHECKING

from qernel.judgement import slope_check

from ._style import BLACK, RED, axis_text, in_order, new_figure, shade_transition

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def slope_figure(dataset: "xarray.Dataset") -> "Figure | None":
    """dE/dV₀ from the energies against ⟨∂H/∂V₀⟩, and their difference; None where it cannot be made."""
    check = slope_check(dataset)
    if check is None:
        return None
    order = in_order(dataset)
    axis = str(dataset.attrs["axis"])
    symbol = "V_0" if axis == "depth_meV" else r"\lambda"
    figure = new_figure(6.0, 5.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    for panel in (above, below):
        shade_transition(panel, dataset, label=panel is above)
    slope, error = (dataset[name].values[order] for name in ("slope", "slope_error"))
    above.errorbar(
        dataset[axis].values[order],
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
