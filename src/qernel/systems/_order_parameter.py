"""An observable that tells two phases of matter apart."""

import dataclasses
from typing import TYPE_CHECKING

from qernel.observables import AbstractObservable

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True)
class OrderParameter:
    """An observable that is small in one phase of matter and large in another.

    **Arguments:**

    - `name`: of the variable that `observable` measures.
    - `low`, `high`: names of the phases where it is small and where it is large.
    - `smallest`: a change of the order parameter by less is no change of phase.
    - `signature`: name of a variable, 1 where the large phase shows its signature by another sign, and 0 elsewhere.
    - `what`: the signature in words.
    """

    observable: AbstractObservable
    name: str
    low: str
    high: str
    smallest: float
    signature: str = ""
    what: str = ""

    def label(self, dataset: "xarray.Dataset") -> None:
        """Write into the table's labels what a verdict must know of the order parameter."""
        for field in ("low", "high", "smallest", "signature", "what"):
            dataset[self.name].attrs[field] = getattr(self, field)


def label_order_parameters(dataset: "xarray.Dataset", parameters: tuple[OrderParameter, ...]) -> None:
    """Label the order parameters of a system in its table, those that were measured."""
    for parameter in parameters:
        if parameter.name in dataset:
            parameter.label(dataset)
    dataset.attrs["order_parameters"] = [p.name for p in parameters if p.name in dataset]
