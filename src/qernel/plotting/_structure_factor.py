"""Structure factor in reciprocal space."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import ground_state
from qernel.lattice import Lattice
from qernel.observables import zone_corners

from ._density import wigner_seitz
from ._momentum_distribution import shells_figure
from ._rows import chosen_rows, row_title
from ._style import new_figure, unit_text

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def structure_factor_figure(dataset: "xarray.Dataset", rows: list[int] | None = None) -> "Figure | None":
    """Maps of S(q) at several rows with the Brillouin zone of the primitive lattice; in one and three dimensions S(q)
    against |q|. None without wave vectors."""
    if "structure_factor" not in dataset or "supercell" not in dataset:
        return None
    dataset = ground_state(dataset)
    rows = chosen_rows(dataset) if rows is None else rows
    if dataset["wave_vector"].shape[1] != 2:
        return shells_figure(dataset, "structure_factor", "structure factor S(q)", "wave_vector", "|q|", rows)
    width = max(6.4, 2.45 * len(rows) + 0.9)
    figure = new_figure(width, width / max(len(rows), 2.5) + 0.55)
    axes = figure.subplots(1, len(rows), sharex=True, sharey=True, squeeze=False)[0]
    _maps(figure, axes, dataset, rows)
    return figure


def _maps(figure, axes, dataset, rows) -> None:
    from matplotlib.collections import PolyCollection

    vectors = dataset["wave_vector"].values
    values = dataset["structure_factor"].values
    reciprocal = 2 * np.pi * np.linalg.inv(dataset["supercell"].values).T
    tile = wigner_seitz(reciprocal)
    top = float(np.nanmax(values[rows])) if len(rows) else 1.0
    reach = np.abs(vectors).max() * 1.02
    corners = zone = None
    if "primitive_lattice" in dataset:
        zone = 2 * np.pi * np.linalg.inv(dataset["primitive_lattice"].values).T
        corners = wigner_seitz(zone)
        reach = min(reach, 2.15 * np.linalg.norm(corners, axis=1).max())
    near = np.abs(vectors).max(axis=1) < reach + np.linalg.norm(tile, axis=1).max()
    collection = None
    for panel, row in zip(axes, rows, strict=True):
        collection = PolyCollection(
            [tile + q for q in vectors[near]],
            array=values[row][near],
            cmap="viridis",
            edgecolors="face",
            lw=0.2,
        )
        collection.set_clim(0, top)
        panel.add_collection(collection)
        panel.add_collection(PolyCollection([tile], facecolors="#bbbbbb", edgecolors="none"))
        if corners is not None:
            panel.plot(*np.vstack([corners, corners[:1]]).T, color="white", lw=1.2)
            if panel is axes[0]:
                _name_corner(panel, corners, zone)
        panel.set_xlim(-reach, reach)
        panel.set_ylim(-reach, reach)
        panel.set_aspect("equal")
        panel.set_facecolor("#eeeeee")
        panel.grid(False)
        panel.set_title(row_title(dataset, row))
    unit = unit_text(str(dataset["wave_vector"].attrs.get("units", "")))
    axes[0].set_ylabel(rf"$q_y$ ({unit})")
    for panel in axes:
        panel.set_xlabel(rf"$q_x$ ({unit})")
    figure.colorbar(collection, ax=list(axes), label=r"$S(q)$", fraction=0.05, pad=0.015)


def _name_corner(axes: "Axes", corners, reciprocal) -> None:
    """Write K beside the right-hand corner of a triangular lattice's zone."""
    if len(zone_corners(Lattice(2 * np.pi * np.linalg.inv(reciprocal).T))) == 0:
        return
    corner = corners[np.argmax(corners[:, 0])]
    axes.annotate("K", corner, xytext=(3, 3), textcoords="offset points", color="white", weight="bold")
