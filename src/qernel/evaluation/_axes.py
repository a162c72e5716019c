"""The coordinates of a table of results, read from the labels that it carries."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas
from jaxtyping import Bool, Float, Int

from qernel.hamiltonian import Coordinate, Family

if TYPE_CHECKING:
    import xarray


# The rows of a family with several coordinates: its points.
MEMBER = "member"


@dataclasses.dataclass(frozen=True)
class Axis:
    """A coordinate of the rows of a table, in words and symbols.

    **Fields:** `name`, `symbol`, `latex`, `label`, `unit`, `linear` and `logarithmic` of the
    [`Coordinate`][qernel.hamiltonian.Coordinate].
    """

    name: str
    symbol: str
    latex: str
    label: str
    unit: str
    linear: bool
    logarithmic: bool = False

    @property
    def dimension(self) -> str:
        """Name of the axis in labelled results."""
        return self.name.removesuffix(f"_{self.unit}")

    @property
    def suffix(self) -> str:
        """The unit after a number, with the space before it."""
        return "" if self.unit == "1" else f" {self.unit}"

    @property
    def head(self) -> str:
        """Head of a column: `U (eV)`."""
        return self.symbol if self.unit == "1" else f"{self.symbol} ({self.unit})"

    @property
    def text(self) -> str:
        """Label of an axis of a figure: `strength of the repulsion $U$ (eV)`."""
        unit = "" if self.unit == "1" else f" ({self.unit})"
        return f"${self.latex}${unit}" if self.label == self.symbol else f"{self.label} ${self.latex}${unit}"

    def value(self, number: float) -> str:
        """A value with its unit."""
        return f"{number:g}{self.suffix}"

    def span(self, numbers: Float[np.ndarray, " rows"]) -> str:
        """`U = 0 to 30 eV`, or a single value."""
        low, high = float(np.min(numbers)), float(np.max(numbers))
        return f"{self.symbol} = " + (self.value(high) if low == high else f"{low:g} to {self.value(high)}")


def labelled_rows(family: Family) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Coordinates of the rows of a family's table as xarray takes them, attributes that name them, and the dimension.

    One coordinate that varies is the dimension, an index under its name without unit; several are columns of points
    along the dimension `member`.
    """
    varying = family.varying
    if not varying:
        return {MEMBER: np.arange(family.size)}, {"rows": MEMBER, "coordinate_names": [], "axes": []}, MEMBER
    rows = varying[0].dimension if len(varying) == 1 else MEMBER
    labels: dict[str, Any] = {}
    for coordinate, values in zip(family.coordinates, family.points.T, strict=True):
        entry = (rows, values, attributes_of(coordinate))
        labels[coordinate.name] = entry
        if coordinate.dimension == rows:
            labels[rows] = entry
    names = [coordinate.name for coordinate in family.coordinates]
    return labels, {"rows": rows, "coordinate_names": names, "axes": [c.name for c in varying]}, rows


def attributes_of(coordinate: Coordinate) -> dict[str, Any]:
    """Labels of a coordinate in a table."""
    return {
        "units": coordinate.unit,
        "long_name": coordinate.label,
        "symbol": coordinate.symbol,
        "latex": coordinate.latex,
        "linear": int(coordinate.linear),
        "logarithmic": int(coordinate.logarithmic),
    }


def rows_of(dataset: "xarray.Dataset") -> str:
    """Name of the dimension that counts the Hamiltonians of a table."""
    return str(dataset.attrs["rows"])


def axes_of(dataset: "xarray.Dataset") -> tuple[Axis, ...]:
    """The coordinates that vary over the rows of a table."""
    return tuple(axis_named(dataset, name) for name in np.atleast_1d(dataset.attrs["axes"]).tolist())


def coordinates_of(dataset: "xarray.Dataset") -> tuple[Axis, ...]:
    """All coordinates of a table's family, whether they vary or not."""
    return tuple(axis_named(dataset, name) for name in np.atleast_1d(dataset.attrs["coordinate_names"]).tolist())


def axis_named(dataset: "xarray.Dataset", name: str) -> Axis:
    """One coordinate by name."""
    attrs = dataset[name].attrs
    unit, plain = str(attrs.get("units", "1")), name.replace("_", " ")
    symbol, latex, label = (str(attrs.get(key, plain)) for key in ("symbol", "latex", "long_name"))
    return Axis(name, symbol, latex, label, unit, bool(attrs.get("linear", 0)), bool(attrs.get("logarithmic", 0)))


def single_axis(dataset: "xarray.Dataset") -> Axis | None:
    """The coordinate along which the rows of a table lie on a line, None if several vary (or none is known)."""
    axes = axes_of(dataset)
    return axes[0] if len(axes) == 1 else None


def positions_on(dataset: "xarray.Dataset", axis: Axis) -> Float[np.ndarray, " rows"]:
    """The values of a coordinate at every row."""
    return np.asarray(dataset[axis.name].values, np.float64)


def points_of(dataset: "xarray.Dataset") -> Float[np.ndarray, "rows axes"]:
    """The values of the coordinates that vary, at every row."""
    axes = axes_of(dataset)
    return np.stack([positions_on(dataset, axis) for axis in axes], axis=1)


def same_points(
    points: Float[np.ndarray, "points coordinates"],
    others: Float[np.ndarray, "others coordinates"],
    tolerance: float = 1e-6,
) -> Bool[np.ndarray, "points others"]:
    """Which points are which of the others, up to a share of the largest value of each coordinate: numbers that were
    written and read, or converted between units, are not the same to the last digit."""
    scale = np.maximum(np.abs(points).max(axis=0, initial=0.0), np.abs(others).max(axis=0, initial=0.0))
    return (np.abs(points[:, None] - others[None]) <= tolerance * scale).all(axis=2)


def in_order(dataset: "xarray.Dataset") -> Int[np.ndarray, " rows"]:
    """Rows by increasing coordinate, the first one first."""
    axes = axes_of(dataset)
    if not axes:
        return np.arange(dataset.sizes[rows_of(dataset)])
    return np.lexsort([positions_on(dataset, axis) for axis in axes[::-1]])


def row_text(dataset: "xarray.Dataset", row: int) -> str:
    """A row in words, for messages: `U = 12.5 eV`, `ω_y = 1.9, κ = 0.27`."""
    return (
        ", ".join(f"{axis.symbol} = {axis.value(positions_on(dataset, axis)[row])}" for axis in axes_of(dataset))
        or f"Hamiltonian {row}"
    )


def slope_of(dataset: "xarray.Dataset", axis: Axis) -> str | None:
    """Name of the variable that holds ∂H/∂λ of one coordinate λ, None if it was not measured."""
    for name in (f"slope_{axis.name}", "slope"):
        if name in dataset:
            return name
    return None


def indexed(dataset: "xarray.Dataset") -> "xarray.Dataset":
    """The table with an index of points, where its rows lie in a plane (or space) of coordinates."""
    names = np.atleast_1d(dataset.attrs.get("coordinate_names", [])).tolist()
    if dataset.attrs.get("rows") != MEMBER or not names or isinstance(dataset.indexes.get(MEMBER), pandas.MultiIndex):
        return dataset
    points = list(zip(*(dataset[name].values.tolist() for name in names), strict=True))
    if len(set(points)) < len(points):
        # Points that occur twice cannot be told apart by their coordinates.
        return dataset
    return dataset.set_index({MEMBER: names})
