"""Maps of what was measured at points of a plane of two coordinates."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from qernel.evaluation import axes_of, known_values, points_of
from qernel.judgement import phase_boundaries

from ._quantity import Quantity
from ._style import BLACK, PURPLE, unit_text

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Lines in the plane, each a row of points.
Lines = Sequence[Float[np.ndarray, "_ 2"]]

# Of one grid, if at least half of its cells are measured.
_FILLED = 0.5
_MAPS = {"linear": "viridis", "signed": "RdBu_r", "log": "viridis"}


def value_map(figure: "Figure", panel: "Axes", dataset: "xarray.Dataset", quantity: Quantity) -> None:
    """Colour every point of the plane by the value of a quantity: whole cells of a grid, discs elsewhere."""
    from matplotlib.cm import ScalarMappable

    colours = ScalarMappable(_norm(quantity), _MAPS[quantity.scale])
    _paint(panel, dataset, quantity.values, colours)
    figure.colorbar(colours, ax=panel, label=quantity.label)
    error = quantity.largest_error
    panel.set_title(quantity.title + (f"\n(errors up to {error:.1g})" if np.isfinite(error) and error > 0 else ""))


def category_map(
    panel: "Axes", dataset: "xarray.Dataset", names: Sequence[str], colours: dict[str, str], title: str
) -> None:
    """Colour every point of the plane by a name, with a legend of the names that occur."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, NoNorm
    from matplotlib.patches import Patch

    shown = [name for name in colours if name in names]
    numbers = np.array([shown.index(name) for name in names], float)
    _paint(panel, dataset, numbers, ScalarMappable(NoNorm(), ListedColormap([colours[name] for name in shown])))
    patches: list[Any] = [Patch(color=colours[name], label=name.replace("_", " ")) for name in shown]
    # Below the panel: nowhere in it would be free of points.
    panel.legend(handles=patches, loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=len(patches))
    panel.set_title(title)


def draw_boundaries(figure: "Figure", panels: "Sequence[Axes]", dataset: "xarray.Dataset", boundary: Lines) -> None:
    """Where the ground state is known to change its phase, dashed, and where it was measured to, on every map."""
    from matplotlib.patheffects import withStroke

    # On dark and on light colours; the known one on top, since where all is well they coincide.
    halo = [withStroke(linewidth=4.0, foreground="white")]
    measured: dict[str, Any] = {"color": PURPLE, "lw": 2.6, "path_effects": halo, "zorder": 4}
    known: dict[str, Any] = {"color": BLACK, "lw": 1.3, "ls": (0, (4, 3)), "zorder": 5}
    lines = [("measured boundary", measured, np.asarray(line)) for line in boundary]
    lines += [("known boundary", known, line) for line in known_boundaries(dataset)]
    handles = {}
    for panel in panels:
        limits = panel.get_xlim(), panel.get_ylim()
        for name, style, line in lines:
            handles[name] = panel.plot(*line.T, **style)[0]
        panel.set_xlim(limits[0])
        panel.set_ylim(limits[1])
    if handles:
        figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=len(handles))


def measured_boundary(dataset: "xarray.Dataset", boundary: Lines | None) -> Lines:
    """The given lines, by default those on which the energies of two separate phases are equal."""
    if boundary is not None:
        return boundary
    return [line.points for line in phase_boundaries(dataset)]


def known_boundaries(dataset: "xarray.Dataset") -> list[Float[np.ndarray, "_ 2"]]:
    """The known boundaries of the two coordinates that vary."""
    known = known_values(dataset)
    if known is None:
        return []
    columns = [known.names.index(axis.name) for axis in axes_of(dataset)]
    return [line[:, columns] for line in known.boundaries]


def label_plane(panels: "Sequence[Axes]", dataset: "xarray.Dataset") -> None:
    """Names of the two coordinates along the axes of every map."""
    horizontal, vertical = axes_of(dataset)
    for panel in panels:
        short = [
            f"${axis.latex}$" + ("" if axis.unit == "1" else f" ({unit_text(axis.unit)})") for axis in axes_of(dataset)
        ]
        panel.set_xlabel(horizontal.text if len(panels) == 1 else short[0])
        panel.set_ylabel(vertical.text if len(panels) == 1 else short[1])
        panel.grid(False)


def grid_of(
    points: Float[np.ndarray, "rows 2"],
) -> tuple[Float[np.ndarray, " x"], Float[np.ndarray, " y"], Int[np.ndarray, "rows 2"]] | None:
    """The values along both axes of a grid and the place of every point in it; None if the points fill none."""
    scale = np.maximum(np.abs(points).max(axis=0), 1e-300)
    rounded = np.round(points / scale, 9)
    (first, i), (second, j) = (np.unique(column, return_index=True, return_inverse=True)[1:] for column in rounded.T)
    # The values themselves, not what is left of them after rounding.
    x, y = points[first, 0], points[second, 1]
    if min(len(x), len(y)) < 2 or len(points) < _FILLED * len(x) * len(y):
        return None
    return x, y, np.stack([i, j], axis=1)


def cell_edges(centres: Float[np.ndarray, " points"]) -> Float[np.ndarray, " edges"]:
    """Half way between neighbours; the outermost cells reach as far to either side."""
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])


def _paint(panel: "Axes", dataset, values: Float[np.ndarray, " rows"], colours) -> None:
    points = points_of(dataset)
    found = grid_of(points)
    style = {"cmap": colours.cmap, "norm": colours.norm}
    if found is None:
        # A disc of an eighth of the typical distance, on axes of two and a half inches.
        size = (2.5 * 72 / 2.5 / np.sqrt(len(points))) ** 2
        size = float(np.clip(size, 25, 260))
        panel.scatter(*points.T, c=values, s=size, edgecolors="#555555", linewidths=0.5, zorder=3, **style)
        panel.margins(0.08)
        return
    x, y, place = found
    table = np.full((len(x), len(y)), np.nan)
    table[place[:, 0], place[:, 1]] = values
    panel.pcolormesh(cell_edges(x), cell_edges(y), np.ma.masked_invalid(table).T, shading="flat", **style)
    panel.plot(*points.T, ".", ms=2.5, color="white", mec="#555555", mew=0.3, zorder=3)


def _norm(quantity: Quantity):
    from matplotlib.colors import LogNorm, Normalize

    values = quantity.values[np.isfinite(quantity.values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if quantity.scale == "signed":
        reach = max(abs(low), abs(high)) or 1.0
        return Normalize(-reach, reach)
    if quantity.scale == "log" and low > 0 and high > 10 * low:
        return LogNorm(low, high)
    # Values that differ by rounding alone are one colour.
    rounding = 1e-9 * max(abs(low), abs(high), 1e-300)
    return Normalize(low, high) if high - low > rounding else Normalize(low - 0.5, high + 0.5)
