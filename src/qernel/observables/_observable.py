"""Observables: what can be measured on recorded samples, built-in or of one's own."""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, Num, PRNGKeyArray

from qernel.ansatz import Ansatz
from qernel.hamiltonian import Hamiltonian
from qernel.units import Units

from ._estimate import Estimate
from ._walker_means import walker_means


@dataclasses.dataclass(frozen=True)
class Grid:
    """Places where an array-valued observable is measured, along one dimension of it.

    **Arguments:** `values`, or vectors; their `unit`; `text`, what they are.
    """

    values: Num[np.ndarray, "*points_components"]
    unit: str = "1"
    text: str = ""


@dataclasses.dataclass(frozen=True)
class Measured:
    """One measured quantity of one state: its expectation value, and what the results say about it.

    - `estimate`: value and standard error; `dimensions`: names of its axes, if it is an array.
    - `unit`, `text`: as labels of results say it; `symbol`, as figures do, by default the name in words.
    - `grids`: [`Grid`][qernel.observables.Grid]s by the names of dimensions.
    """

    estimate: Estimate
    unit: str = "1"
    text: str = ""
    symbol: str = ""
    dimensions: tuple[str, ...] = ()
    grids: Mapping[str, Grid] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The state that an observable is asked for, and the samples drawn from it.

    - `samples`: positions drawn from |ψ|², NaN where a term of the energy was not finite.
    - `hamiltonian`, `parameters`, `ansatz`: of this state; `units`: of the results; `key`: for random numbers.
    """

    samples: Float[np.ndarray, "walkers records electrons dim"]
    hamiltonian: Hamiltonian
    parameters: Any
    ansatz: Ansatz
    units: Units
    key: PRNGKeyArray


class AbstractObservable(eqx.Module):
    """An observable: from the samples of a state to named quantities with errors.

    A function of one configuration is simply [`Observable`][qernel.observables.Observable]`(name, function)`.
    """

    @abc.abstractmethod
    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        """The quantities of one state by name; the same names, shapes and grids for every state of a system."""


class Observable(AbstractObservable):
    r"""The mean of a function of one configuration, $\langle f(r; \lambda)\rangle$, with the error from the walkers.

    **Arguments:**

    - `name`: of the variable in the results.
    - `function`: f, called with one configuration `r`, `"electrons dim"`, in effective Bohr radii, and the parameters
      of the Hamiltonian; returns a number or an array. It is compiled.
    - `unit`, `text`, `symbol`: as in [`Measured`][qernel.observables.Measured].
    - `scale`: the factor from the function's unit to `unit`.
    - `dimensions`, `grids`: of an array.
    - `figure`: a function that draws the labelled table and returns a Matplotlib figure; a number has one without it.

    **Raises:** `ValueError` for a name that cannot be a variable's.

    **Example:** `Observable("radius2", lambda r, parameters: jnp.mean(jnp.sum(r**2, axis=1)), "a_B*^2")`.
    """

    name: str = eqx.field(static=True)
    function: Callable[[Float[Array, "electrons dim"], Any], Array] = eqx.field(static=True)
    unit: str = eqx.field(static=True, default="1")
    text: str = eqx.field(static=True, default="")
    symbol: str = eqx.field(static=True, default="")
    scale: float = eqx.field(static=True, default=1.0)
    dimensions: tuple[str, ...] = eqx.field(static=True, default=())
    grids: Mapping[str, Grid] = eqx.field(static=True, default_factory=dict)
    figure: Callable[[Any], Any] | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"the name of an observable heads a column of the results: '{self.name}' cannot be one")

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        means = walker_means(Partial(_at, self.function, measurement.parameters), measurement.samples)
        found = means.estimate()
        scaled = Estimate(self.scale * found.value, self.scale * found.error)
        return {self.name: Measured(scaled, self.unit, self.text, self.symbol, self.dimensions, self.grids)}


def _at(function, parameters, r):
    return jax.numpy.asarray(function(r, parameters))
