"""A number at every row of a table, as a figure shows it."""

import dataclasses
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float

from ._style import BLUE, in_math, with_unit

if TYPE_CHECKING:
    import xarray

Scale = Literal["linear", "signed", "log"]


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A number at every row of a table.

    - `values`, and `errors` where they are known; `label` of its axis, with the unit; `title` in words.
    - `colour` of its points; `scale` of maps: "signed" where zero separates two meanings, "log" for what spans decades.
    """

    values: Float[np.ndarray, " rows"]
    errors: Float[np.ndarray, " rows"] | None
    label: str
    title: str = ""
    colour: str = BLUE
    scale: Scale = "linear"

    @property
    def largest_error(self) -> float:
        """The largest standard error, NaN if none is known."""
        if self.errors is None or not np.isfinite(self.errors).any():
            return float("nan")
        return float(np.nanmax(self.errors))


def measured(dataset: "xarray.Dataset", name: str) -> Quantity:
    """A variable of a table and its error, labelled with its symbol and unit and titled with what it is."""
    attrs = dataset[name].attrs
    plain = name.replace("_", " ")
    symbol = in_math(str(attrs.get("symbol", plain)))
    error = f"{name}_error"
    label, title = with_unit(symbol, str(attrs.get("units", "1"))), str(attrs.get("long_name", plain))
    errors = np.asarray(dataset[error].values, np.float64) if error in dataset else None
    return Quantity(np.asarray(dataset[name].values, np.float64), errors, label, title)


def is_measured(dataset: "xarray.Dataset", name: str) -> bool:
    """Whether a table has a variable that is a number anywhere."""
    return name in dataset and bool(np.isfinite(dataset[name].values).any())
