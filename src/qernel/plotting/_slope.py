"""The Hellmann-Feynman check of the energies."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import axes_of, positions_on, slope_of
from qernel.judgement import SlopeLine, slope_lines

from ._known import draw_known_slopes
from ._rows import logarithmic_axis, shade_transition
from ._style import BLACK, RED, new_figure, unit_text

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Lines of points that a legend can name.
_NAMED = 6


def slope_figure(dataset: "xarray.Dataset") -> "Figure | None":
    r"""$dE/d\lambda$ from the energies against $\langle\partial H/\partial\lambda\rangle$, and their difference; None
    where the check cannot be made.

    A column for each coordinate. Of several coordinates or phases, each line of rows on which a single coordinate
    differs has a colour: circles are measured, crosses come from the energies of neighbours on the line.
    """
    lines = slope_lines(dataset)
    if not lines:
        return None
    if len(axes_of(dataset)) == 1 and len(lines) == 1:
        return _single(dataset, lines[0])
    axes = [axis for axis in axes_of(dataset) if any(line.axis.name == axis.name for line in lines)]
    figure = new_figure(5.0 * len(axes), 5.0)
    panels = figure.subplots(2, len(axes), sharex="col", squeeze=False, height_ratios=[2, 1])
    for column, axis in enumerate(axes):
        above, below = panels[:, column]
        _several(above, below, dataset, [line for line in lines if line.axis.name == axis.name])
        if len(axes_of(dataset)) == 1:
            draw_known_slopes(above, dataset)
            above.legend()
        above.set_ylabel(rf"$dE/d{axis.latex}$ per electron")
        below.set_ylabel("difference")
        below.set_xlabel(axis.text)
        if axis.logarithmic and np.all(dataset[axis.name].values > 0):
            logarithmic_axis(below)
    figure.align_ylabels()
    return figure


def _single(dataset, line: SlopeLine) -> "Figure":
    check, axis, symbol = line.check, line.axis, line.axis.latex
    figure = new_figure(6.0, 5.0)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    for panel in (above, below):
        shade_transition(panel, dataset, label=panel is above)
    slope, error = (values[line.rows] for values in _slopes(dataset, line))
    above.errorbar(
        positions_on(dataset, axis)[line.rows],
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
    draw_known_slopes(above, dataset, line.phase)
    above.set_ylabel(rf"$dE/d{symbol}$ per electron")
    above.legend()
    below.axhline(0, color=RED, lw=1.0)
    below.errorbar(check.middle, check.difference, check.error, color=BLACK, marker="s", mfc="white", ls="none")
    below.fill_between(
        check.middle, -check.uncertainty, check.uncertainty, color=RED, alpha=0.2, lw=0, label="interpolation"
    )
    below.set_ylabel("difference")
    below.set_xlabel(axis.text)
    if axis.logarithmic and np.all(dataset[axis.name].values > 0):
        logarithmic_axis(below)
    below.legend()
    figure.align_ylabels()
    return figure


def _several(above: "Axes", below: "Axes", dataset, lines: list[SlopeLine]) -> None:
    from matplotlib import colormaps

    named = set(np.round(np.linspace(0, len(lines) - 1, min(len(lines), _NAMED))).astype(int).tolist())
    below.axhline(0, color="grey", lw=0.8)
    for number, (line, colour) in enumerate(
        zip(lines, colormaps["viridis"](np.linspace(0, 0.9, len(lines))), strict=True)
    ):
        slope, error = (values[line.rows] for values in _slopes(dataset, line))
        label = _others(dataset, line) if number in named else None
        above.errorbar(positions_on(dataset, line.axis)[line.rows], slope, error, color=colour, marker="o", label=label)
        check = line.check
        style = {"color": colour, "marker": "x", "ls": "none"}
        above.errorbar(check.middle, check.from_energies, check.from_energies_error, **style)
        # What the interpolation may miss is no statistical error, but no disagreement either.
        below.errorbar(check.middle, check.difference, np.hypot(check.error, check.uncertainty), **style)
    above.legend()


def _others(dataset, line: SlopeLine) -> str:
    """The coordinates that are the same all along a line, and its phase."""
    others = [axis for axis in axes_of(dataset) if axis.name != line.axis.name]
    words = [
        f"${axis.latex}$ = {positions_on(dataset, axis)[line.rows[0]]:.4g}{unit_text(axis.suffix)}" for axis in others
    ]
    return ", ".join(words + [line.phase.replace("_", " ")] * bool(line.phase))


def _slopes(dataset, line: SlopeLine) -> tuple[np.ndarray, np.ndarray]:
    if line.phase:
        dataset = dataset.sel(phase=line.phase)
    name = slope_of(dataset, line.axis)
    return np.asarray(dataset[name].values, np.float64), np.asarray(dataset[f"{name}_error"].values, np.float64)
