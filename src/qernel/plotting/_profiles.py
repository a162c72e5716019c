"""Observables that are functions of one or two numbers, whatever the system: curves and maps."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import ground_state, rows_of

from ._curves import curves
from ._legible import legible
from ._plane import cell_edges
from ._rows import chosen_rows, row_title
from ._style import new_figure, with_unit

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

# With figures of their own.
_ELSEWHERE = ("density", "pair_correlation", "pair_distances", "momentum_distribution", "structure_factor")


def profiles_figure(dataset: "xarray.Dataset", rows: list[int] | None = None) -> "Figure | None":
    """A panel for every observable along one axis, those of one's own included, at several rows with bands of one
    standard error; None without any."""
    dataset = ground_state(dataset)
    names = _observables_over(dataset, 1)
    if not names:
        return None
    rows = chosen_rows(dataset) if rows is None else rows
    figure = new_figure(6.0 if len(names) == 1 else 4.5 * len(names), 3.8)
    for panel, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        axis = dataset[dataset[name].dims[1]]
        curves(panel, dataset, name, np.asarray(axis.values, np.float64), rows)
        panel.set_xlabel(_label(axis))
        panel.set_ylabel(_label(dataset[name]))
        panel.axhline(0, color="grey", lw=0.6)
    figure.axes[0].legend()
    return figure


def maps_figure(dataset: "xarray.Dataset", rows: list[int] | None = None) -> "Figure | None":
    """A row of maps for every observable over two axes, at several rows of the table; None without any."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    dataset = ground_state(dataset)
    names = _observables_over(dataset, 2)
    if not names:
        return None
    rows = chosen_rows(dataset) if rows is None else rows
    figure = new_figure(2.7 * len(rows) + 0.9, 3.1 * len(names), "compressed")
    panels = figure.subplots(len(names), len(rows), squeeze=False)
    for line, name in zip(panels, names, strict=True):
        across, up = (dataset[dimension] for dimension in dataset[name].dims[1:])
        values = legible(dataset[name].values[rows], dataset[f"{name}_error"].values[rows])
        x, y = (cell_edges(np.asarray(axis.values, np.float64)) for axis in (across, up))
        x, y = x[:: (len(x) - 1) // values.shape[1]], y[:: (len(y) - 1) // values.shape[2]]
        low, high = min(0.0, float(np.nanmin(values))), float(np.nanmax(values)) or 1.0
        colours = ScalarMappable(Normalize(low, high), "magma")
        for panel, row, value in zip(line, rows, values, strict=True):
            style = {"cmap": colours.cmap, "norm": colours.norm, "shading": "flat", "rasterized": True}
            panel.pcolormesh(x, y, value.T, **style)
            panel.set_title(row_title(dataset, row))
            panel.set_xlabel(_label(across))
            panel.grid(False)
            if across.attrs.get("units") == up.attrs.get("units"):
                panel.set_aspect("equal")
        line[0].set_ylabel(_label(up))
        figure.colorbar(colours, ax=list(line), label=_label(dataset[name], symbol=True), fraction=0.05, pad=0.015)
    return figure


def _observables_over(dataset, axes: int) -> list[str]:
    """Names of the observables that have so many axes of numbers beside the rows, and no figure of their own."""

    def shown(name: str) -> bool:
        grids = dataset[name].dims[1:]
        own = name.startswith(_ELSEWHERE) or f"{name}_error" not in dataset
        if own or dataset[name].dims[0] != rows_of(dataset) or len(grids) != axes:
            return False
        # Places that nothing describes are numbers of states, not an axis.
        described = all(d in dataset.coords and dataset[d].attrs.get("long_name") for d in grids)
        return described and bool(np.isfinite(dataset[name].values).any())

    return [str(name) for name in dataset.data_vars if dataset[name].ndim == axes + 1 and shown(str(name))]


def _label(array, symbol: bool = False) -> str:
    words = str(array.attrs.get("symbol" if symbol else "long_name", "") or array.attrs.get("long_name", array.name))
    return with_unit(words, str(array.attrs.get("units", "1")))
