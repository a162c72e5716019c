"""Crossings, gaps, order and energies of several sizes against 1/N."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import positions_on
from qernel.plotting import BLUE, RED, energy_unit, new_figure, unit_text

from ._analysis import line_of
from ._limit import common_rows, infinite_size, lowest_energies, size_crossing
from ._quantity import electrons_of, sized_quantities

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

# Points of the coordinate that are drawn, so that lines can be told apart.
_POINTS = 6


def limit_figure(datasets: Sequence["xarray.Dataset"]) -> "Figure":
    """Where two phases cross in every size, the gaps of the interaction energy and of the order parameter over N there,
    the order parameter over N and the energy per electron at points that all sizes have, all against 1/N.

    Energies are drawn relative to those of the largest size. Lines are those of
    [`infinite_size`][qernel.studies.scaling.infinite_size], dashed where they do not describe the sizes.
    """
    from matplotlib import colormaps

    datasets = sorted(datasets, key=electrons_of)
    sizes, axis = [electrons_of(d) for d in datasets], line_of(datasets[0])
    figure = new_figure(10.0, 7.5)
    panels = figure.subplots(2, 2, sharex=True)
    crossings = [one for one in map(size_crossing, datasets) if one is not None]
    for name, label, colour, marker in (("place", "measured", BLUE, "o"), ("limit", "at zero variance", RED, "s")):
        error = "error" if name == "place" else "limit_error"
        values, errors = (np.array([getattr(one, key) for one in crossings]) for key in (name, error))
        if np.isfinite(values).any():
            style = {"color": colour, "marker": marker, "label": label}
            _line(panels[0, 0], [one.electrons for one in crossings], values, errors, style)
    panels[0, 0].set_ylabel(f"energies cross at ({unit_text(axis.unit)})")
    if crossings:
        panels[0, 0].legend()
    quantities = {q.key: q for q in sized_quantities(datasets)}
    if "interaction" in quantities and crossings:
        gaps, errors = (
            np.array([getattr(one, key)["interaction"] for one in crossings]) for key in ("gaps", "gap_errors")
        )
        _line(panels[0, 1], [one.electrons for one in crossings], gaps, errors, {"color": BLUE, "marker": "o"})
    panels[0, 1].set_ylabel(f"interaction energy, gap at the crossing\n({energy_unit(datasets[0])})")
    rows = common_rows(datasets)
    chosen = np.unique(np.linspace(0, len(rows[0]) - 1, min(_POINTS, len(rows[0]))).round().astype(int))
    places = positions_on(datasets[0], axis)[rows[0]]
    colours = colormaps["viridis"](np.linspace(0, 0.9, max(len(chosen), 1)))
    energies, energy_errors = lowest_energies(datasets, rows)
    for point, colour in zip(chosen, colours, strict=False):
        style = {"color": colour, "marker": "o", "label": axis.value(float(places[point]))}
        if "order" in quantities:
            order = np.array(
                [[part[r[point]] for part in quantities["order"].of(d)] for d, r in zip(datasets, rows, strict=True)]
            )
            _line(panels[1, 0], sizes, order[:, 0], order[:, 1], style)
        panels[1, 1].errorbar(
            1 / np.array(sizes), energies[:, point] - energies[-1, point], energy_errors[:, point], **style
        )
    if "order" in quantities:
        panels[1, 0].set_ylabel(quantities["order"].symbol)
        panels[1, 0].set_ylim(bottom=0)
    panels[1, 1].set_ylabel(f"energy, less that of $N = {sizes[-1]}$\n({energy_unit(datasets[0])})")
    if len(chosen):
        panels[1, 1].legend(title=f"${axis.latex}$", ncols=2)
    for panel in panels.ravel():
        panel.set_visible(panel.has_data())
    for panel in panels[1]:
        panel.set_xlabel("$1/N$")
        panel.set_xlim(left=0)
    for panel in panels[0]:
        above = panel.secondary_xaxis("top")
        above.set_xticks([1 / n for n in sizes], [str(n) for n in sizes])
        above.set_xlabel("electrons $N$")
    figure.align_ylabels()
    return figure


def _line(panel, sizes, values, errors, style):
    panel.errorbar(1 / np.array(sizes), values, errors, ls="none", **style)
    line = infinite_size(sizes, values, errors)
    if line is not None:
        x = np.array([0, 1 / min(sizes)])
        panel.plot(x, line.value + line.slope * x, color=style["color"], lw=1, ls="-" if line.describes else "--")
