"""Pair correlation function against distance."""

from typing import TYPE_CHECKING

import numpy as np

from ._style import chosen_rows, new_figure, row_text

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def pair_correlation_figure(dataset: "xarray.Dataset", rows: list[int] | None = None) -> "Figure | None":
    """g(r) at several rows with bands of one standard error; parallel and antiparallel spins side by side where both
    occur. None without pair correlations."""
    if "pair_correlation" not in dataset:
        return None
    from matplotlib import colormaps

    rows = chosen_rows(dataset) if rows is None else rows
    names = [name for name in ("parallel", "antiparallel") if f"pair_correlation_{name}" in dataset]
    figure = new_figure(6.0 if not names else 9.0, 3.8)
    panels = figure.subplots(1, max(1, len(names)), sharey=True, squeeze=False)[0]
    r = dataset["r"].values
    for panel, name in zip(panels, names or [""], strict=True):
        variable = f"pair_correlation_{name}".rstrip("_")
        panel.axhline(1, color="grey", lw=0.8)
        for row, colour in zip(rows, colormaps["viridis"](np.linspace(0, 0.85, len(rows))), strict=True):
            value, error = dataset[variable].values[row], dataset[f"{variable}_error"].values[row]
            panel.plot(r, value, color=colour, label=row_text(dataset, row))
            panel.fill_between(r, value - error, value + error, color=colour, alpha=0.25, lw=0)
        panel.set_title(f"{name} spins" if name else "")
        panel.set_xlabel(f"distance r ({dataset['r'].attrs.get('units', '')})")
        panel.set_xlim(0, None)
        panel.set_ylim(0, None)
    panels[0].set_ylabel("pair correlation g(r)")
    panels[0].legend()
    return figure
