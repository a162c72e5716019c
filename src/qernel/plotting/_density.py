"""The electron density in real space."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from qernel.evaluation import ground_state
from qernel.lattice import Lattice

from ._curves import curves_figure
from ._legible import legible
from ._open_density import open_density_maps, scale_bar
from ._rows import chosen_rows, row_title
from ._style import bare, new_figure, with_unit

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def density_figure(dataset: "xarray.Dataset", rows: list[int] | None = None) -> "Figure | None":
    """The density at several rows: maps in two dimensions, curves in one; None without a density.

    In a periodic cell the map is in Cartesian space over a rectangle filled by the cell: primitive cells are outlined,
    the periodic cell dashed. With open boundaries it covers the box of the measurement. A density in three dimensions
    is shown along its third one: integrated over it with open boundaries, averaged in a cell. Where a single bin is
    mostly noise, bins are merged for the picture.
    """
    if "density" not in dataset:
        return None
    dataset = ground_state(dataset)
    rows = chosen_rows(dataset) if rows is None else rows
    if dataset["density"].ndim == 2:
        return _density_curves(dataset, rows)
    if "supercell" not in dataset:
        return open_density_maps(dataset, rows)
    return _periodic_maps(dataset, rows)


def _periodic_maps(dataset, rows: list[int]) -> "Figure":
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    cell, primitive = (_seen_along_third(dataset, name) for name in ("supercell", "primitive_lattice"))
    assert cell is not None
    values, error = dataset["density"].values[rows], dataset["density_error"].values[rows]
    mean = ""
    if values.ndim == 4:
        values, error, mean = values.mean(axis=3), np.sqrt((error**2).mean(axis=3) / error.shape[3]), "mean "
    window = _window(cell)
    columns = len(rows)
    panel = 2.7
    figure = new_figure(panel * columns + 0.9, panel * window[1] / window[0] + 0.35, "compressed")
    axes = np.atleast_1d(figure.subplots(1, columns, sharex=True, sharey=True))
    values = legible(values, error)
    colours = ScalarMappable(Normalize(0, float(np.nanmax(values))), "magma")
    for panel_axes, row, density in zip(axes, rows, values, strict=True):
        _map(panel_axes, density, cell, window, colours)
        if primitive is not None:
            _outline(panel_axes, primitive, window, color="white", lw=0.5, alpha=0.55)
        _frame(panel_axes, cell, window)
        panel_axes.set_title(row_title(dataset, row))
    unit = str(dataset["supercell"].attrs.get("units", ""))
    scale = np.linalg.norm(primitive[0]) if primitive is not None else window[0] / 4
    scale_bar(axes[0], window, float(scale), unit)
    label = with_unit(f"{mean}density", str(dataset["density"].attrs.get("units", "")))
    figure.colorbar(colours, ax=list(axes), label=label.replace(" (", "\n("), fraction=0.05, pad=0.015)
    return figure


def _density_curves(dataset, rows: list[int]) -> "Figure":
    x, unit = np.asarray(dataset["x"].values, np.float64), str(dataset["x"].attrs.get("units", ""))
    if "supercell" in dataset:
        # Fractional coordinates of the cell.
        x, unit = x * abs(float(dataset["supercell"].values[0, 0])), str(dataset["supercell"].attrs.get("units", ""))
    return curves_figure(dataset, "density", "density", x, with_unit("position x", unit), rows)


def _seen_along_third(dataset, name: str) -> Float[np.ndarray, "2 2"] | None:
    """Two vectors of a plane lattice; of one in space the first two, seen along the third of the cell."""
    if name not in dataset:
        return None
    vectors = np.asarray(dataset[name].values, np.float64)
    if len(vectors) == 2:
        return vectors
    # Both lattices are seen from the direction of the periodic cell's third vector.
    a, _, third = np.asarray(dataset["supercell"].values, np.float64)
    third = third / np.linalg.norm(third)
    along = a - (a @ third) * third
    along /= np.linalg.norm(along)
    return vectors[:2] @ np.stack([along, np.cross(third, along)], axis=1)


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
    bare(axes)


def _outline(axes: "Axes", lattice: Float[np.ndarray, "2 2"], window, **style) -> None:
    """Wigner-Seitz cells around every lattice point."""
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


def wigner_seitz(lattice: Float[np.ndarray, "2 2"]) -> Float[np.ndarray, "corners 2"]:
    """Corners of the Wigner-Seitz cell, in order; of a reciprocal lattice, the first Brillouin zone."""
    from scipy.spatial import Voronoi

    n = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    points = n @ Lattice(lattice).reduced
    origin = int(np.flatnonzero(~n.any(axis=1))[0])
    diagram = Voronoi(points)
    corners = diagram.vertices[diagram.regions[diagram.point_region[origin]]]
    return corners[np.argsort(np.arctan2(corners[:, 1], corners[:, 0]))]
