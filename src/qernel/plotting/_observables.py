"""All other observables that are numbers, against the coordinates of the family."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import ground_state, order_parameters_of

from ._multiples import multiples
from ._plane import Lines, measured_boundary
from ._quantity import is_measured, measured

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def observables_figure(dataset: "xarray.Dataset", boundary: Lines | None = None) -> "Figure | None":
    """A panel with error bars for every observable that is a number, those of one's own included; None without any.

    Order parameters and their signatures have the [order figure][qernel.plotting.order_figure].

    **Arguments:** `boundary`: lines in the plane of two coordinates where the ground state changes, by default where
    the measured energies of separate phases are equal.
    """
    rows = ground_state(dataset)
    names = scalar_observables(rows)
    if not names:
        return None
    quantities = [measured(rows, name) for name in names]
    return multiples(rows, quantities, boundary=measured_boundary(dataset, boundary))


def scalar_observables(dataset: "xarray.Dataset") -> list[str]:
    """Names of the observables that are numbers, besides order parameters and their signatures."""
    orders = order_parameters_of(dataset)
    shown = {*orders, *(str(dataset[name].attrs.get("signature", "")) for name in orders)}
    listed = np.atleast_1d(dataset.attrs.get("observables", [])).tolist()
    return [name for name in listed if name not in shown and is_measured(dataset, name)]
