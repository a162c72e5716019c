"""Momentum distribution against the length of the wave vector."""

from typing import TYPE_CHECKING

import numpy as np

from ._style import chosen_rows, new_figure, row_text

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def momentum_distribution_figure(dataset: "xarray.Dataset", rows: list[int] | None = None) -> "Figure | None":
    """n(k) against |k| at several rows: the mean over each shell, with single wave vectors behind; None without n(k).

    The error of a shell is the mean of its members' errors: an upper bound, since those of ±k are not independent.
    """
    if "momentum_distribution" not in dataset:
        return None
    from matplotlib import colormaps

    rows = chosen_rows(dataset) if rows is None else rows
    length = np.linalg.norm(dataset["momentum"].values, axis=1)
    scale = max(float(length.max()), 1e-300)
    _, shell = np.unique(np.round(length / scale, 6), return_inverse=True)
    over_shell = lambda values: np.bincount(shell, values) / np.bincount(shell)
    figure = new_figure(6.0, 3.8)
    axes = figure.subplots()
    axes.axhline(0, color="grey", lw=0.8)
    for row, colour in zip(rows, colormaps["viridis"](np.linspace(0, 0.85, len(rows))), strict=True):
        value, error = (dataset[f"momentum_distribution{end}"].values[row] for end in ("", "_error"))
        axes.plot(length, value, ".", ms=2.5, color=colour, alpha=0.3)
        axes.errorbar(
            over_shell(length),
            over_shell(value),
            over_shell(error),
            color=colour,
            marker="o",
            label=row_text(dataset, row),
        )
    unit = str(dataset["momentum"].attrs.get("units", "")).replace("1/nm", r"nm$^{-1}$")
    axes.set_xlabel(f"|k| ({unit})")
    axes.set_ylabel("momentum distribution n(k)")
    axes.legend()
    return figure
