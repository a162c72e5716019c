"""What is followed from size to size."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from qernel.evaluation import ground_state
from qernel.judgement import interaction_of, order_parameter

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True)
class SizedQuantity:
    """A quantity of a table that can be compared between sizes.

    - `key`: what it is for: "order" or "interaction"; `name`: of the table's variable.
    - `symbol`: as tables head their columns with it; `words`: as sentences begin with it; `unit`: of its values.
    - `per_electron`: whether the variable is still to be divided by the number of electrons N.
    """

    key: str
    name: str
    symbol: str
    words: str
    unit: str
    per_electron: bool

    def of(self, dataset: "xarray.Dataset") -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
        """Values and errors at the rows of a table, of the ground state."""
        lowest = ground_state(dataset)
        share = electrons_of(dataset) if self.per_electron else 1
        return lowest[self.name].values / share, lowest[f"{self.name}_error"].values / share


def sized_quantities(datasets: Sequence["xarray.Dataset"]) -> list[SizedQuantity]:
    """The order parameter over N, which stays finite in the phase where it is large and vanishes as 1/N in the other;
    and the interaction energy per electron. Those of them that all tables hold."""
    found = []
    orders, interactions = ({of(dataset) for dataset in datasets} for of in (order_parameter, interaction_of))
    if len(orders) == 1 and (name := orders.pop()) is not None:
        symbol = f"{datasets[0][name].attrs.get('symbol', name)}/N"
        found.append(SizedQuantity("order", name, symbol, symbol, "1", True))
    if len(interactions) == 1 and (name := interactions.pop()) is not None:
        plain = name.replace("_", " ")
        unit = str(datasets[0][name].attrs["units"])
        found.append(SizedQuantity("interaction", name, plain, f"The {plain} energy per electron", unit, False))
    return found


def electrons_of(dataset: "xarray.Dataset") -> int:
    """Number of electrons of a table."""
    return int(dataset.attrs["electrons_up"]) + int(dataset.attrs["electrons_down"])
