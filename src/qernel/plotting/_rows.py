"""The rows of a table in figures: where they are, what they are called, which are shown."""

import itertools
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from qernel.evaluation import (
    KnownValues,
    axes_of,
    coordinates_of,
    in_order,
    known_values,
    lowest_phases,
    points_of,
    positions_on,
    rows_of,
    single_axis,
)
from qernel.judgement import order_jump, order_parameter

from ._style import BLACK, SHADE, in_math, unit_text

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes


def axis_text(dataset: "xarray.Dataset") -> str:
    """Label of the horizontal axis of figures against the first coordinate that varies."""
    axes = axes_of(dataset)
    return axes[0].text if axes else "Hamiltonian"


def label_axis(panel: "Axes", dataset: "xarray.Dataset") -> None:
    """Label the horizontal axis of a panel, and make it logarithmic where the coordinate is to be seen so."""
    panel.set_xlabel(axis_text(dataset))
    axes = axes_of(dataset)
    if axes and axes[0].logarithmic and np.all(places(dataset) > 0):
        logarithmic_axis(panel)


def logarithmic_axis(panel: "Axes") -> None:
    """A logarithmic horizontal axis with the numbers 1, 2 and 5 of each decade."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def energy_unit(dataset: "xarray.Dataset") -> str:
    """Unit of energies per electron, for labels: `Ha* per electron`."""
    return str(dataset["energy"].attrs.get("units", "per electron"))


def places(dataset: "xarray.Dataset") -> Float[np.ndarray, " rows"]:
    """Where each row is along the horizontal axis: the first coordinate that varies, the row's number without any."""
    axes = axes_of(dataset)
    return positions_on(dataset, axes[0]) if axes else np.arange(dataset.sizes[rows_of(dataset)], dtype=float)


def row_title(dataset: "xarray.Dataset", row: int) -> str:
    """Title of one row: its coordinates, and its phase if several were measured."""
    title = ", ".join(
        f"${axis.latex}$ = {positions_on(dataset, axis)[row]:.4g}{unit_text(axis.suffix)}" for axis in axes_of(dataset)
    )
    phase = lowest_phases(dataset)
    return (title or f"Hamiltonian {row}") + (f"\n{phase[row].replace('_', ' ')}" if phase else "")


def shade_transition(axes: "Axes", dataset: "xarray.Dataset", label: bool = False) -> None:
    """Mark the interval in which the order parameter jumps, if it does, and where the exact ground state changes."""
    found, name = order_jump(dataset), order_parameter(dataset)
    if found is not None and name is not None:
        symbol = in_math(str(dataset[name].attrs.get("symbol", name)))
        # Within one step of the grid it jumps; over several it is resolved, and changes fast.
        text = f"{symbol} jumps" if found.steps == 1 else f"half of the change of {symbol}"
        axes.axvspan(found.low, found.high, color=SHADE, lw=0, zorder=0, label=text if label else None)
    mark_known_places(axes, dataset, label)


def mark_known_places(axes: "Axes", dataset: "xarray.Dataset", label: bool = False) -> None:
    """Dashed lines where the exact ground state changes, with a band of their errors."""
    axis, known = single_axis(dataset), known_values(dataset)
    if axis is None or known is None:
        return
    for number, (place, error) in enumerate(known.places(axis.name)):
        text = "known boundary" if label and number == 0 else None
        axes.axvline(place, color=BLACK, lw=0.9, ls=(0, (4, 3)), zorder=1, label=text)
        if error > 0:
            axes.axvspan(place - error, place + error, color=BLACK, alpha=0.12, lw=0, zorder=0)


def known_on_line(dataset: "xarray.Dataset", known: KnownValues) -> Bool[np.ndarray, " known"]:
    """Which of the known values lie on the line of the table's single coordinate: the others are those of its rows."""
    axis = single_axis(dataset)
    same = np.ones(len(known.points), bool)
    for other in coordinates_of(dataset):
        if axis is None or other.name != axis.name:
            here = positions_on(dataset, other)
            same &= np.isclose(known.coordinate(other.name), here[0], rtol=1e-6, atol=0)
    return same


def chosen_rows(dataset: "xarray.Dataset", count: int = 4) -> list[int]:
    """The rows to show as maps.

    Along one coordinate about `count`: the ends, both sides of a transition, and evenly between. Of several coordinates
    the rows nearest to the corners of the range and to its centre.
    """
    if len(axes_of(dataset)) > 1:
        return _corners_and_centre(dataset)
    order = in_order(dataset)
    if len(order) <= count:
        return [int(row) for row in order]
    x = places(dataset)[order]
    shown = sorted({0, len(order) - 1, *_sides(dataset, x, order)})
    while len(shown) < count:
        # Halve the widest gap.
        gaps = [(x[b] - x[a], a, b) for a, b in zip(shown, shown[1:], strict=False) if b - a > 1]
        if not gaps:
            break
        _, a, b = max(gaps)
        middle = a + 1 + int(np.argmin(np.abs(x[a + 1 : b] - (x[a] + x[b]) / 2)))
        shown = sorted({*shown, middle})
    return [int(order[place]) for place in shown[:count]]


def _sides(dataset, x, order) -> list[int]:
    """The two rows between which the order parameter jumps, or the ground state changes its phase."""
    found = order_jump(dataset)
    if found is not None:
        return [int(np.searchsorted(x, found.low)), int(np.searchsorted(x, found.high))]
    phase = lowest_phases(dataset)
    changes = [i for i in range(len(x) - 1) if phase and phase[order[i]] != phase[order[i + 1]]]
    return [changes[0], changes[0] + 1] if changes else []


def _corners_and_centre(dataset) -> list[int]:
    points = points_of(dataset)
    low, size = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-300)
    unit = (points - low) / size
    dim = points.shape[1]
    # In a plane its four corners; of more coordinates the lowest corner, the ends of its edges, and the highest.
    corners = np.array(list(itertools.product([0.0, 1.0], repeat=dim)))
    corners = corners[np.isin(corners.sum(axis=1), [0, 1, dim])]
    targets = np.concatenate([corners[:1], np.full((1, dim), 0.5), corners[1:]])
    rows = [int(np.argmin(np.linalg.norm(unit - target, axis=1))) for target in targets]
    order = in_order(dataset).tolist()
    return sorted(dict.fromkeys(rows), key=order.index)
