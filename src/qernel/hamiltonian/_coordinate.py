import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._in_phase import InPhase, without_phase


@dataclasses.dataclass(frozen=True)
class Coordinate:
    """A number that a family of Hamiltonians varies, and how it stands in the Hamiltonian's parameters.

    **Arguments:**

    - `name`: how commands and tables call it, its unit included where it has one: `depth_meV`, `kappa`.
    - `parameter`: the entry of the parameters that holds it: a key of a dictionary or a field of a module.
    - `unit`: as figures print it; "1" without one.
    - `symbol`: in text, such as `V₀`, by default the name; `latex`: in figures, such as `V_0`, by default the symbol.
    - `label`: what it is, in words, such as "moiré potential depth".
    - `scale`: the parameter's own unit in units of the coordinate: the coordinate is `scale` times the parameter.
    - `linear`: whether the Hamiltonian is linear in it. The tangents of the energy are then upper bounds.
    - `logarithmic`: whether figures show it on a logarithmic scale, such as a density over decades.
    - `read`, `write`: for a coordinate that is no single entry, functions instead of `parameter` and `scale`:
      `read(parameters)` is the coordinate of one Hamiltonian, `write(parameters, value)` are the parameters with
      another value of it. Functions of a module, not made anew for each family, so that nothing compiles twice.

    **Raises:** `ValueError` for a name that is none, or unless either `parameter` or both functions are given.

    **Example:** `Coordinate("omega", "omega", symbol="ω", linear=False)`.
    """

    name: str
    parameter: str | None = None
    unit: str = "1"
    symbol: str = ""
    latex: str = ""
    label: str = ""
    scale: float = 1.0
    linear: bool = False
    logarithmic: bool = False
    read: Callable[[PyTree], Float[Array, ""]] | None = None
    write: Callable[[PyTree, Float[Array, ""]], PyTree] | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"a coordinate's name heads a column and is typed in commands: '{self.name}' cannot be")
        if (self.parameter is None) == (self.read is None) or (self.read is None) != (self.write is None):
            raise ValueError(
                f"the coordinate {self.name} needs either the name of a parameter, or both read and write functions"
            )
        # A name may have several underscores, of which no formula can make subscripts.
        latex = self.symbol if self.symbol.count("_") <= 1 else self.symbol.replace("_", r"\_")
        latex = latex or self.name.replace("_", r"\_")
        for field, value in (("symbol", self.plain), ("latex", latex), ("label", self.plain)):
            if not getattr(self, field):
                object.__setattr__(self, field, value)

    @property
    def dimension(self) -> str:
        """Name of the axis in labelled results: the coordinate's name without its unit."""
        return self.name.removesuffix(f"_{self.unit}")

    @property
    def plain(self) -> str:
        """The name as a word."""
        return self.dimension.replace("_", " ")

    def of(self, parameters: PyTree) -> Float[Array, ""]:
        """The coordinate of one Hamiltonian, in its unit.

        **Raises:** `ValueError` if the parameters have no such entry, or it is not one number.
        """
        parameters = without_phase(parameters)
        found = self.scale * jnp.asarray(self._entry(parameters)) if self.read is None else self.read(parameters)
        if jnp.shape(found):
            raise ValueError(f"a coordinate is one number: {self.name} has the shape {jnp.shape(found)} in one member")
        return jnp.asarray(found)

    def at(self, parameters: PyTree, value: Float[Array, ""]) -> PyTree:
        """The parameters of one Hamiltonian with another value of the coordinate."""
        if isinstance(parameters, InPhase):
            return InPhase(self.at(parameters.parameters, value), parameters.number)
        if self.write is not None:
            return self.write(parameters, value)
        old = jnp.asarray(self._entry(parameters))
        new = (value / self.scale).astype(jnp.result_type(old, float))
        return eqx.tree_at(self._entry, parameters, new)

    def tangent(self, parameters: PyTree) -> PyTree:
        """The derivative of the parameters of one Hamiltonian along the coordinate, per its unit."""
        value = self.of(parameters)
        return jax.jvp(lambda x: self.at(parameters, x), (value,), (jnp.ones_like(value),))[1]

    def text(self, value: float) -> str:
        """A value with symbol and unit, for messages: `V₀ = 12.5 meV`."""
        return f"{self.symbol} = {value:g}" + ("" if self.unit == "1" else f" {self.unit}")

    def _entry(self, parameters: Any) -> Any:
        assert self.parameter is not None
        entries = parameters if isinstance(parameters, dict) else vars(parameters)
        if self.parameter not in entries:
            raise ValueError(
                f"the coordinate {self.name} is the parameter '{self.parameter}', and the Hamiltonian's parameters are "
                f"{', '.join(map(str, entries)) or 'none'}"
            )
        return entries[self.parameter]
