"""The [system] section of electron gases."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import jax
from pydantic import model_validator

from qernel.hamiltonian import Family
from qernel.lattice import shells
from qernel.systems import (
    Electrons,
    Finite,
    OpenShellSection,
    System,
    Values,
    check_points,
    electrons_text,
    periodic_blocks,
)

from ._crystal import wigner_crystal
from ._family import GAS_COORDINATES, gas_cell, gas_family
from ._filling import plane_wave_filling
from ._system import gas_system

# Diffusion Monte Carlo has the crystal below the liquid from r_s = 31 to 35 in the plane and from about 100 in space:
# at half of this the two are taken to compete.
_COMPETE = {2: 16.0, 3: 50.0}


# Of backflow, which is of short range: wave numbers up to twice those that are filled.
_DENSITY_SHELLS = 6


class GasSection(OpenShellSection):
    """Electrons with a neutralising background: density parameter r_s and twists, each a value or several.

    Values of all are combined, or `points` lists the members, with a value of each coordinate that has several, in the
    order r_s, twist_1, twist_2, twist_3.

    **Arguments:**

    - `name`: "electron_gas".
    - `electrons`: [n_up, n_down].
    - `cell`: "square" or "triangular" in the plane, "cubic", "bcc" or "fcc" in space.
    - `r_s`: density parameters, in Bohr radii.
    - `twist_1`, `twist_2`, `twist_3`: twists along the vectors of the cell, in turns.
    - `points`: in place of all combinations.

    **Raises:** a validation error for density parameters that are not positive, a third twist in the plane, or points
    that lack a coordinate.
    """

    name: Literal["electron_gas"] = "electron_gas"
    electrons: Electrons = (7, 7)
    cell: Literal["square", "triangular", "cubic", "bcc", "fcc"] = "cubic"
    r_s: Values = (1.0, 2.0, 5.0, 10.0, 20.0)
    twist_1: Values = (0.0,)
    twist_2: Values = (0.0,)
    twist_3: Values = (0.0,)
    points: tuple[tuple[Finite, ...], ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "GasSection":
        if self.r_s[0] <= 0:
            raise ValueError(f"r_s must be positive, got {list(self.r_s)}")
        if self.dimensions == 2 and self.twist_3 != (0.0,):
            raise ValueError(f"a {self.cell} cell has two vectors: leave out twist_3, got {list(self.twist_3)}")
        check_points(self.points, self.coordinates, math.prod(len(self._values(name)) for name in self.coordinates))
        return self

    @property
    def dimensions(self) -> int:
        """Two or three, as the cell has."""
        return gas_cell(self.cell, 1).dim

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of what varies: everything that has several values; r_s alone if nothing has."""
        names = [coordinate.name for coordinate in GAS_COORDINATES]
        return tuple(name for name in names if len(self._values(name)) > 1) or ("r_s",)

    @property
    def member_units(self) -> bool:
        return True

    @property
    def references(self) -> tuple[str, ...]:
        crystal = wigner_crystal(gas_cell(self.cell, sum(self.electrons)), self.electrons)
        compete = crystal is not None and self.r_s[-1] >= _COMPETE[self.dimensions]
        return ("liquid", "crystal") if compete else ("liquid",)

    def complex_references(self, names: Sequence[str]) -> tuple[str, ...]:
        turns = [self._values(f"twist_{k + 1}") for k in range(self.dimensions)]
        twisted = any(values != (0.0,) for values in turns)
        filling = plane_wave_filling(gas_cell(self.cell, sum(self.electrons)), self.electrons)
        return tuple(name for name in names if name == "liquid" and (twisted or not filling.real))

    @property
    def summary(self) -> str:
        return f"{electrons_text(self.electrons)} of a gas in a {self.cell} cell"

    def system(self) -> System:
        with jax.enable_x64(True):
            whole = gas_system(self._family(whole=True))
            return whole.at(self._family(whole=False))

    def at(self, points: Any) -> "GasSection":
        return self.model_copy(update={"points": tuple(tuple(float(x) for x in point) for point in points)})

    def blocks(self, system: System, features: Any) -> dict[str, Any]:
        cell = system.family.hamiltonian.cell
        assert cell is not None
        return periodic_blocks(cell, features) | {
            "density_waves": shells(cell, _DENSITY_SHELLS),
            # Of plasmons, (4/3)^{1/4} r_s^{-1/4} in units of r_s: at the middle of the densities.
            "cusp_range": 1.07 * (self.r_s[0] * self.r_s[-1]) ** -0.125,
        }

    def _values(self, name: str) -> tuple[float, ...]:
        return getattr(self, name)

    def _family(self, *, whole: bool) -> Family:
        """The members, or with `whole` all combinations of the values: the range that wavefunctions are made for."""
        grid = {name: list(self._values(name)) for name in self.coordinates}
        points = grid if whole or not self.points else [list(point) for point in self.points]
        twist = [self._values(f"twist_{k + 1}")[0] for k in range(self.dimensions)]
        with jax.enable_x64(True):
            return gas_family(
                self.electrons, self.cell, points, coordinates=self.coordinates, r_s=self.r_s[0], twist=twist
            )
