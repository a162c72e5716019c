"""Energies above the exact ones: row by row, at worst, and on average."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ._known_values import known_at_rows
from ._phases import ground_state

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True)
class AboveExact:
    """Energies less the exact ones, per electron in the unit of the results; NaN where the exact one is not known.

    **Fields:** `value` at every row, its statistical `error`, and `exact_error`, that of the exact energy, which comes
    beside it.
    """

    value: Float[np.ndarray, " rows"]
    error: Float[np.ndarray, " rows"]
    exact_error: Float[np.ndarray, " rows"]

    @property
    def known(self) -> int:
        """Rows at which both energies are known."""
        return int(np.isfinite(self.value).sum())

    @property
    def worst(self) -> int:
        """The row that lies farthest above.

        **Raises:** `ValueError` if no exact energy is known.
        """
        return int(np.nanargmax(self.value))

    @property
    def mean(self) -> float:
        """Over the rows at which the exact energy is known."""
        return float(np.nanmean(self.value))


def above_exact(dataset: "xarray.Dataset", phase: str | None = None) -> AboveExact:
    """The energies of a table against the exact ones, of the lowest phase at every row against the ground state.

    **Arguments:** `phase`: those of one phase of matter that was measured separately, against the exact branch of the
    same name.
    """
    rows = ground_state(dataset) if phase is None else dataset.sel(phase=phase)
    energy, error = (np.asarray(rows[name].values, np.float64) for name in ("energy", "energy_error"))
    exact, exact_error = (known_at_rows(rows, name, phase) for name in ("exact", "exact_error"))
    return AboveExact(energy - exact, error, exact_error)
