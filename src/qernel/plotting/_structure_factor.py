"""Structure factor: at the zone corner against the parameter, and as maps in reciprocal space."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.lattice import Lattice
from qernel.observables import zone_corners

from ._density import wigner_seitz
from ._style import BLUE, axis_text, chosen_rows, in_order, new_figure, row_text, shade_transition

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def structure_factor_figure(dataset: "xarray.Dataset", rows: list[int] | None = None) -> "Figure | None":
    """S(K) against the parameter with error bars, above maps of S(q) with the moiré Brillouin zone.

    None without wave vectors. The maps are drawn for two-dimensional periodic systems.
    """
    if "structure_factor" not in dataset or "supercell" not in dataset:
        return None
    flat = dataset["wave_vector"].shape[1] == 2
    at_corner = bool(np.isfinite(dataset["structure_factor_K"].values).any())
    if not flat and not at_corner:
        return None
    rows = chosen_rows(dataset) if rows is None else rows
    width = max(6.4, 2.45 * len(rows) + 0.9) if flat else 6.4
    figure = new_figure(width, (2.9 if at_corner else 0) + (width / max(len(rows), 2.5) + 0.55 if flat else 0))
    parts = figure.subfigures(at_corner + flat, 1, squeeze=False)[:, 0]
    if at_corner:
        _curve(parts[0].subplots(), dataset)
    if flat:
        axes = parts[-1].subplots(1, len(rows), sharex=True, sharey=True, squeeze=False)[0]
        _maps(parts[-1], axes, dataset, rows)
    return figure


def _curve(axes: "Axes", dataset) -> None:
    order = in_order(dataset)
    x = dataset[str(dataset.attrs["axis"])].values[order]
    shade_transition(axes, dataset, label=True)
    value, error = (dataset[name].values[order] for name in ("structure_factor_K", "structure_factor_K_error"))
    axes.errorbar(x, value, error, color=BLUE, marker="o", label="this wavefunction")
    axes.set_xlabel(axis_text(dataset))
    axes.set_ylabel(r"$S(K)$, zone corner")
    axes.set_ylim(0, 1.1 * float(np.nanmax(value)))
    axes.legend(loc="lower right")


def _maps(figure, axes, dataset, rows) -> None:
    from matplotlib.collections import PolyCollection

    vectors = dataset["wave_vector"].values
    values = dataset["structure_factor"].values
    reciprocal = 2 * np.pi * np.linalg.inv(dataset["supercell"].values).T
    tile = wigner_seitz(reciprocal)
    top = float(np.nanmax(values[rows])) if len(rows) else 1.0
    reach = np.abs(vectors).max() * 1.02
    if "moire_lattice" in dataset:
        zone = 2 * np.pi * np.linalg.inv(dataset["moire_lattice"].values).T
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
        if "moire_lattice" in dataset:
            panel.plot(*np.vstack([corners, corners[:1]]).T, color="white", lw=1.2)
            if panel is axes[0]:
                _name_corner(panel, corners, zone)
        panel.set_xlim(-reach, reach)
        panel.set_ylim(-reach, reach)
        panel.set_aspect("equal")
        panel.set_facecolor("#eeeeee")
        panel.grid(False)
        panel.set_title(row_text(dataset, row))
    unit = str(dataset["wave_vector"].attrs.get("units", "")).replace("1/nm", r"nm$^{-1}$")
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
