"""Maps of the electron density in real space."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from qernel.lattice import Lattice

from ._style import chosen_rows, new_figure, row_text

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def density_figure(dataset: "xarray.Dataset", rows: list[int] | None = None) -> "Figure | None":
    """The density at several rows, in Cartesian space over a rectangle filled by the periodic cell.

    Moiré cells are outlined, the periodic cell dashed; where a single bin is mostly noise, bins are merged
    for the picture. None unless the system is two-dimensional and
    periodic.
    """
    if "density" not in dataset or "supercell" not in dataset or dataset["density"].ndim != 3:
        return None
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    rows = chosen_rows(dataset) if rows is None else rows
    cell = dataset["supercell"].values
    window = _window(cell)
    columns = len(rows)
    panel = 2.7
    figure = new_figure(panel * columns + 0.9, panel * window[1] / window[0] + 0.35, "compressed")
    axes = np.atleast_1d(figure.subplots(1, columns, sharex=True, sharey=True))
    values = legible(dataset["density"].values[rows], dataset["density_error"].values[rows])
    colours = ScalarMappable(Normalize(0, float(np.nanmax(values))), "magma")
    for panel_axes, row, density in zip(axes, rows, values, strict=True):
        _map(panel_axes, density, cell, window, colours)
        if "moire_lattice" in dataset:
            _outline(panel_axes, dataset["moire_lattice"].values, window, color="white", lw=0.5, alpha=0.55)
        _frame(panel_axes, cell, window)
        panel_axes.set_title(row_text(dataset, row))
    unit = str(dataset["supercell"].attrs.get("units", ""))
    scale = np.linalg.norm(dataset["moire_lattice"].values[0]) if "moire_lattice" in dataset else window[0] / 4
    _scale_bar(axes[0], window, float(scale), unit)
    units = str(dataset["density"].attrs.get("units", ""))
    figure.colorbar(colours, ax=list(axes), label=f"density ({units})", fraction=0.05, pad=0.015)
    return figure


def legible(
    density: Float[np.ndarray, "rows x y"], error: Float[np.ndarray, "rows x y"]
) -> Float[np.ndarray, "rows coarse_x coarse_y"]:
    """The density with bins merged two by two until the noise is a tenth of the peaks or less."""
    # Root mean square: empty bins have no error of their own.
    noise = float(np.sqrt(np.nanmean(error**2))) if np.isfinite(error).any() else 0.0
    while noise > 0.1 * np.nanquantile(density, 0.99) and all(n % 2 == 0 and n >= 24 for n in density.shape[1:]):
        rows, x, y = density.shape
        density = density.reshape(rows, x // 2, 2, y // 2, 2).mean(axis=(2, 4))
        noise /= 2
    return density


def _window(cell: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, " 2"]:
    """Width and height of the rectangle shown: one whole periodic cell and parts of its copies."""
    lengths = np.linalg.norm(cell, axis=1)
    area = abs(np.linalg.det(cell))
    # A skewed cell leans over by up to half of its length; both directions show part of the next copy.
    lean = 0.5 if area < 0.99 * np.prod(lengths) else 0.0
    width = (1.15 + lean) * max(lengths)
    return np.array([width, max(1.6 * area / max(lengths), 0.5 * width)])


def _map(axes: "Axes", density: Float[np.ndarray, "x y"], cell, window, colours) -> None:
    """Colour the window: every pixel belongs to the bin that its fractional coordinates fall into."""
    bins = np.array(density.shape)
    fractions = [np.linspace(0, 1, n + 1) for n in bins]
    # The corners of the window in fractional coordinates say how many copies of the cell reach into it.
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * window @ np.linalg.inv(cell)
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int)
    for i in range(low[0], high[0]):
        for j in range(low[1], high[1]):
            f = np.stack(np.meshgrid(fractions[0] + i, fractions[1] + j, indexing="ij"), axis=-1)
            points = f @ cell
            if np.any(points.max(axis=(0, 1)) < 0) or np.any(points.min(axis=(0, 1)) > window):
                continue
            axes.pcolormesh(
                points[..., 0],
                points[..., 1],
                density,
                cmap=colours.cmap,
                norm=colours.norm,
                shading="flat",
                rasterized=True,
            )
    axes.set_xlim(0, window[0])
    axes.set_ylim(0, window[1])
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _outline(axes: "Axes", lattice: Float[np.ndarray, "2 2"], window, **style) -> None:
    """Wigner-Seitz cells around every lattice point, where a moiré potential has its minima."""
    from matplotlib.collections import PolyCollection

    polygon = wigner_seitz(lattice)
    reach = np.linalg.norm(window) + np.linalg.norm(lattice, axis=1).max()
    count = int(np.ceil(reach / min(np.linalg.norm(polygon, axis=1)))) + 1
    n = np.stack(np.meshgrid(*[np.arange(-count, count + 1)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    centres = n @ lattice
    margin = np.linalg.norm(lattice, axis=1).max()
    near = np.all((centres > -margin) & (centres < window + margin), axis=1)
    cells = [polygon + centre for centre in centres[near]]
    axes.add_collection(PolyCollection(cells, facecolors="none", edgecolors=style.pop("color"), **style))


def _frame(axes: "Axes", cell, window) -> None:
    """The periodic cell, shifted so that it lies in the window."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ cell
    shift = (window - corners.max(axis=0) - corners.min(axis=0)) / 2
    axes.plot(*(corners + shift).T, color="white", ls=(0, (4, 3)), lw=1.0)


def _scale_bar(axes: "Axes", window, length: float, unit: str) -> None:
    power = 10.0 ** np.floor(np.log10(length))
    nice = max(step * power for step in (1, 2, 5, 10) if step * power <= length * 1.3)
    x, y = 0.05 * window[0], 0.06 * window[1]
    box = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.5}
    axes.plot([x, x + nice], [y, y], color="white", lw=3, solid_capstyle="butt", zorder=5)
    axes.text(
        x + nice / 2,
        y * 1.35,
        f"{nice:g} {unit}",
        color="white",
        ha="center",
        va="bottom",
        bbox=box,
        zorder=5,
    )


def wigner_seitz(lattice: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "corners 2"]:
    """Corners of the Wigner-Seitz cell, in order; of a reciprocal lattice, the first Brillouin zone."""
    from scipy.spatial import Voronoi

    n = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    points = n @ Lattice(lattice).reduced
    origin = int(np.flatnonzero(~n.any(axis=1))[0])
    diagram = Voronoi(points)
    corners = diagram.vertices[diagram.regions[diagram.point_region[origin]]]
    return corners[np.argsort(np.arctan2(corners[:, 1], corners[:, 0]))]
