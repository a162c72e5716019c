"""Momentum distribution and structure factor against the length of the wave vector."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import ground_state

from ._curves import row_colours
from ._rows import chosen_rows, row_title
from ._style import new_figure, with_unit

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def momentum_distribution_figure(dataset: "xarray.Dataset", rows: list[int] | None = None) -> "Figure | None":
    """n(k) against |k| at several rows: the mean over each shell, with single wave vectors behind; None without n(k).

    The error of a shell is the mean of its members' errors: an upper bound, since those of ±k are not independent.
    """
    if "momentum_distribution" not in dataset:
        return None
    dataset = ground_state(dataset)
    rows = chosen_rows(dataset) if rows is None else rows
    return shells_figure(dataset, "momentum_distribution", "momentum distribution n(k)", "k_vector", "|k|", rows)


def shells_figure(
    dataset: "xarray.Dataset", variable: str, words: str, vectors: str, symbol: str, rows: list[int]
) -> "Figure":
    """Values at wave vectors against their length: means over shells of one length, single vectors behind."""
    figure = new_figure(6.0, 3.8)
    axes = figure.subplots()
    axes.axhline(0, color="grey", lw=0.8)
    length = np.linalg.norm(dataset[vectors].values, axis=1)
    scale = max(float(length.max()), 1e-300)
    _, shell = np.unique(np.round(length / scale, 6), return_inverse=True)
    over_shell = lambda values: np.bincount(shell, values) / np.bincount(shell)
    for row, colour in zip(rows, row_colours(rows), strict=True):
        value, error = (dataset[f"{variable}{end}"].values[row] for end in ("", "_error"))
        axes.plot(length, value, ".", ms=2.5, color=colour, alpha=0.3)
        axes.errorbar(
            over_shell(length),
            over_shell(value),
            over_shell(error),
            color=colour,
            marker="o",
            label=row_title(dataset, row).replace("\n", ", "),
        )
    axes.set_xlabel(with_unit(symbol, str(dataset[vectors].attrs.get("units", ""))))
    axes.set_ylabel(words)
    axes.legend()
    return figure
