"""The periodic cell as a drawing."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import xarray


def cell_drawing(dataset: "xarray.Dataset") -> str | None:
    """The periodic cell and the points of the primitive lattice, as SVG; None unless two-dimensional.

    It takes its colours from the page, so that it can be read on a dark one.
    """
    if "supercell" not in dataset or dataset["supercell"].shape != (2, 2):
        return None
    cell = dataset["supercell"].values
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) @ cell
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = 0.12 * float((high - low).max())
    low, high = low - margin, high + margin
    # Upwards is upwards: SVG counts from the top.
    flip = lambda points: np.stack([points[:, 0] - low[0], high[1] - points[:, 1]], axis=1)
    width, height = high - low
    unit = width / 100
    parts = [
        f'<rect width="{width:.4g}" height="{height:.4g}" fill="none"/>',
        f'<polygon points="{_points(flip(corners))}" class="cell" stroke-width="{0.6 * unit:.3g}"/>',
    ]
    legend = f"The periodic cell, {_lengths(cell)} {dataset['supercell'].attrs.get('units', '')}"
    if "primitive_lattice" in dataset:
        radius = 1.1 * unit
        sites = _lattice_points(dataset["primitive_lattice"].values, low + radius, high - radius)
        parts += [f'<circle cx="{x:.4g}" cy="{y:.4g}" r="{radius:.3g}"/>' for x, y in flip(sites)]
        legend += ", and the primitive lattice"
    return (
        f'<svg viewBox="0 0 {width:.4g} {height:.4g}" role="img" aria-label="{legend}"><title>{legend}</title>'
        f"{''.join(parts)}</svg>"
    )


def _points(points: Float[np.ndarray, "corners 2"]) -> str:
    return " ".join(f"{x:.4g},{y:.4g}" for x, y in points)


def _lengths(cell: Float[np.ndarray, "2 2"]) -> str:
    return " × ".join(f"{length:.3g}" for length in np.linalg.norm(cell, axis=1))


def _lattice_points(
    lattice: Float[np.ndarray, "2 2"], low: Float[np.ndarray, " 2"], high: Float[np.ndarray, " 2"]
) -> Float[np.ndarray, "sites 2"]:
    """Lattice points inside a rectangle."""
    box = np.array([[low[0], low[1]], [high[0], low[1]], [low[0], high[1]], [high[0], high[1]]])
    turns = box @ np.linalg.inv(lattice)
    first, last = np.floor(turns.min(axis=0)).astype(int), np.ceil(turns.max(axis=0)).astype(int)
    n = np.stack(np.meshgrid(*(np.arange(a, b + 1) for a, b in zip(first, last, strict=True))), axis=-1).reshape(-1, 2)
    sites = n @ lattice
    return sites[np.all((sites >= low) & (sites <= high), axis=1)]
