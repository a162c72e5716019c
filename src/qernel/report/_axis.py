"""The coordinate of the family, in words and symbols."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray

_KNOWN = {
    "depth_meV": ("V₀", "moiré potential depth", "meV"),
    "phase_degrees": ("φ", "moiré phase", "°"),
    "effective_mass": ("m*", "effective mass", "mₑ"),
    "dielectric": ("εᵣ", "dielectric constant", ""),
    "lattice_constant_nm": ("a_M", "moiré lattice constant", "nm"),
}


@dataclass(frozen=True)
class Axis:
    """Key in the data set, symbol, name and unit of the parameter λ along which the family is ordered."""

    key: str
    symbol: str
    name: str
    unit: str

    @property
    def head(self) -> str:
        """Head of a column."""
        return f"{self.symbol} ({self.unit})" if self.unit else self.symbol

    def value(self, number: float) -> str:
        """A value with its unit."""
        return f"{number:g} {self.unit}".rstrip() if self.unit != "°" else f"{number:g}°"

    def span(self, numbers: np.ndarray) -> str:
        """`V₀ = 0 to 30 meV`, or a single value."""
        low, high = float(np.min(numbers)), float(np.max(numbers))
        return (
            f"{self.symbol} = {self.value(high)}" if low == high else f"{self.symbol} = {low:g} to {self.value(high)}"
        )


def axis_of(dataset: "xarray.Dataset", key: str | None = None) -> Axis:
    """The axis of a data set, or another coordinate."""
    key = str(dataset.attrs["axis"]) if key is None else key
    plain = key.replace("_", " ")
    symbol, name, unit = _KNOWN.get(key, (plain, plain, ""))
    return Axis(key, symbol, name, unit)
