"""Maps of the electron density with open boundaries."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ._legible import legible
from ._plane import cell_edges
from ._rows import row_title
from ._style import bare, new_figure, unit_text, with_unit

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Densities whose maxima differ by more than this factor have no colours in common.
_SPAN = 5.0


def open_density_maps(dataset: "xarray.Dataset", rows: list[int]) -> "Figure":
    """Maps over the box of the measurement; in three dimensions of the density integrated along z.

    Where the rows' largest densities differ by more than a factor of five each is shown relative to its own.
    """
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    names = ("x", "y", "z")[: dataset["density"].ndim - 1]
    edges = [cell_edges(np.asarray(dataset[name].values, np.float64)) for name in names]
    values, error = dataset["density"].values[rows], dataset["density_error"].values[rows]
    label = with_unit("density", str(dataset["density"].attrs.get("units", "")))
    length = str(dataset["x"].attrs.get("units", ""))
    if len(names) == 3:
        width = float(np.diff(edges[2])[0])
        values, error = values.sum(axis=3) * width, np.sqrt((error**2).sum(axis=3)) * width
        label = with_unit("density integrated along z", f"electrons per {length}^2")
    values, x, y = _merged(values, error, edges[0], edges[1])
    span = np.array([np.ptp(x), np.ptp(y)])
    panel = 2.7
    # A narrow box needs room for the title of its panel.
    height = float(np.clip(panel * span[1] / span[0], 0.6, 2 * panel))
    figure = new_figure(panel * len(rows) + 0.9, height + 0.6, "compressed")
    axes = np.atleast_1d(figure.subplots(1, len(rows), sharex=True, sharey=True))
    highest = np.nanmax(values, axis=(1, 2))
    if np.min(highest) > 0 and np.max(highest) > _SPAN * np.min(highest):
        # On one scale the thin ones would be black.
        values, label = values / highest[:, None, None], "density over its maximum"
    colours = ScalarMappable(Normalize(0, float(np.nanmax(values)) or 1.0), "magma")
    for axis, row, density in zip(axes, rows, values, strict=True):
        style = {"cmap": colours.cmap, "norm": colours.norm, "shading": "flat", "rasterized": True}
        axis.pcolormesh(x, y, density.T, **style)
        bare(axis)
        axis.set_title(row_title(dataset, row))
    scale_bar(axes[0], span, float(span[0] / 4), length, origin=(float(x[0]), float(y[0])))
    figure.colorbar(colours, ax=list(axes), label=label.replace(" (", "\n("), fraction=0.05, pad=0.015)
    return figure


def _merged(values, error, x, y):
    """Bins merged for the picture where one alone is mostly noise, and their edges."""
    merged = legible(values, error)
    factors = [old // new for old, new in zip(values.shape[1:], merged.shape[1:], strict=True)]
    return merged, x[:: factors[0]], y[:: factors[1]]


def scale_bar(
    axes: "Axes", window: Float[np.ndarray, " 2"], length: float, unit: str, origin: tuple[float, float] = (0.0, 0.0)
) -> None:
    """A bar of about `length`, of a round number of units, in the lower left corner of a window."""
    power = 10.0 ** np.floor(np.log10(length))
    nice = max(step * power for step in (1, 2, 5, 10) if step * power <= length * 1.3)
    x, y = origin[0] + 0.05 * window[0], origin[1] + 0.06 * window[1]
    box = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.5}
    axes.plot([x, x + nice], [y, y], color="white", lw=3, solid_capstyle="butt", zorder=5)
    axes.text(
        x + nice / 2,
        y + 0.021 * window[1],
        f"{nice:g} {unit_text(unit)}",
        color="white",
        ha="center",
        va="bottom",
        bbox=box,
        zorder=5,
    )
