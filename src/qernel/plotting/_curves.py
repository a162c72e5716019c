"""Functions of a position or a distance at several rows."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from qernel.evaluation import ground_state

from ._rows import chosen_rows, row_title
from ._style import new_figure, with_unit

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def curves(
    axes: "Axes", dataset: "xarray.Dataset", variable: str, x: Float[np.ndarray, " points"], rows: list[int]
) -> None:
    """A curve of a variable for every row, with a band of one standard error."""
    for row, colour in zip(rows, row_colours(rows), strict=True):
        value, error = dataset[variable].values[row], dataset[f"{variable}_error"].values[row]
        axes.plot(x, value, color=colour, label=row_title(dataset, row).replace("\n", ", "))
        axes.fill_between(x, value - error, value + error, color=colour, alpha=0.25, lw=0)


def row_colours(rows: list[int]) -> Float[np.ndarray, "rows 4"]:
    """From dark to light in the order of the rows."""
    from matplotlib import colormaps

    return colormaps["viridis"](np.linspace(0, 0.85, len(rows)))


def pair_correlation_figure(dataset: "xarray.Dataset", rows: list[int] | None = None) -> "Figure | None":
    """g(r) at several rows with bands of one standard error; parallel and antiparallel spins side by side where both
    occur. None without pair correlations."""
    if "pair_correlation" not in dataset:
        return None
    dataset = ground_state(dataset)
    rows = chosen_rows(dataset) if rows is None else rows
    names = [name for name in ("parallel", "antiparallel") if f"pair_correlation_{name}" in dataset]
    figure = new_figure(6.0 if not names else 9.0, 3.8)
    panels = figure.subplots(1, max(1, len(names)), sharey=True, squeeze=False)[0]
    for panel, name in zip(panels, names or [""], strict=True):
        panel.axhline(1, color="grey", lw=0.8)
        curves(panel, dataset, f"pair_correlation_{name}".rstrip("_"), dataset["r"].values, rows)
        panel.set_title(f"{name} spins" if name else "")
        panel.set_xlabel(_distance(dataset))
        panel.set_xlim(0, None)
        panel.set_ylim(0, None)
    panels[0].set_ylabel("pair correlation g(r)")
    panels[0].legend()
    return figure


def pair_distances_figure(dataset: "xarray.Dataset", rows: list[int] | None = None) -> "Figure | None":
    """The distribution of pair distances at several rows with bands of one standard error; None without it."""
    if "pair_distances" not in dataset:
        return None
    dataset = ground_state(dataset)
    rows = chosen_rows(dataset) if rows is None else rows
    figure = curves_figure(
        dataset, "pair_distances", "distribution P(r)", dataset["r"].values, _distance(dataset), rows
    )
    figure.axes[0].set_xlim(0, None)
    return figure


def curves_figure(
    dataset: "xarray.Dataset", variable: str, words: str, x: Float[np.ndarray, " points"], label: str, rows: list[int]
) -> "Figure":
    """A variable (`words`) at several rows against a position or a distance (`label`)."""
    figure = new_figure(6.0, 3.8)
    axes = figure.subplots()
    curves(axes, dataset, variable, x, rows)
    axes.set_xlabel(label)
    axes.set_ylabel(with_unit(words, str(dataset[variable].attrs.get("units", ""))))
    axes.set_ylim(0, None)
    axes.legend()
    return figure


def _distance(dataset) -> str:
    return with_unit("distance r", str(dataset["r"].attrs.get("units", "")))
