"""The [system] section of traps."""

import functools
import math
from typing import Annotated, Any, Literal

import jax
from pydantic import Field, model_validator

from qernel.layers import OpenEmbedding
from qernel.orbitals import OpenPairJastrow
from qernel.systems import Electrons, Finite, System, SystemSection, Values, check_points, electrons_text

from ._family import FREQUENCIES, trap_family, trap_lengths
from ._fillings import filling_name, fillings_of
from ._system import trap_system

# The fillings that compete are found by sorting the levels at many points of the range.
_MOST_ELECTRONS = 200


class TrapSection(SystemSection):
    """Fermions in a harmonic trap: frequencies and the strength of the interaction, each a value or several.

    What has several values is a coordinate, and all combinations are members, or those that `points` lists, with a
    value of each coordinate in the order omega_x, omega_y, omega_z, kappa.

    **Arguments:**

    - `name`: "trap".
    - `electrons`: [n, 0]; `dimensions`: 1, 2 or 3.
    - `omega_x`, `omega_y`, `omega_z`: frequencies along the axes, of which the first `dimensions` count, in ω₀.
    - `kappa`: strength of the interaction.
    - `points`: in place of all combinations.

    **Raises:** a validation error for electrons of both spins, frequencies that are not positive, or points that lack a
    coordinate.
    """

    name: Literal["trap"] = "trap"
    electrons: Electrons = (3, 0)
    dimensions: Annotated[int, Field(ge=1, le=3)] = 2
    omega_x: Values = (1.0,)
    omega_y: Values = (1.0, 4.0)
    omega_z: Values = (1.0,)
    kappa: Values = (0.0, 0.3)
    points: tuple[tuple[Finite, ...], ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "TrapSection":
        if self.electrons[1]:
            raise ValueError(f"electrons must all be of one spin, [n, 0], got {list(self.electrons)}")
        if self.electrons[0] > _MOST_ELECTRONS:
            raise ValueError(f"electrons must be at most {_MOST_ELECTRONS} in a trap, got {self.electrons[0]}")
        for name in FREQUENCIES[: self.dimensions]:
            if min(getattr(self, name)) <= 0:
                raise ValueError(f"{name} must be positive, got {list(getattr(self, name))}")
        combinations = math.prod(len(getattr(self, name)) for name in self.coordinates)
        check_points(self.points, self.coordinates, combinations)
        return self

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of what varies: everything that has several values; κ alone if nothing has."""
        names = (*FREQUENCIES[: self.dimensions], "kappa")
        return tuple(name for name in names if len(getattr(self, name)) > 1) or ("kappa",)

    @property
    def references(self) -> tuple[str, ...]:
        return tuple(filling_name(filling) for filling in fillings_of(self._family(whole=True)))

    @property
    def summary(self) -> str:
        return f"{electrons_text(self.electrons)} in a trap of {self.dimensions} dimension{'s' * (self.dimensions > 1)}"

    def system(self) -> System:
        with jax.enable_x64(True):
            whole = trap_system(self._family(whole=True))
            return whole.at(self._family(whole=False))

    def at(self, points: Any) -> "TrapSection":
        return self.model_copy(update={"points": tuple(tuple(float(x) for x in point) for point in points)})

    def blocks(self, system: System, features: Any) -> dict[str, Any]:
        dim, pair = self.dimensions, None
        if features.pair_shells:
            pair = functools.partial(OpenPairJastrow, dim=dim, length=trap_lengths, harmonics=features.pair_shells)
        return {"embedding": OpenEmbedding(dim, trap_lengths, harmonics=features.feature_shells), "pair": pair}

    def _family(self, *, whole: bool):
        """The members, or with `whole` all combinations of the values: the range that wavefunctions are made for."""
        names = FREQUENCIES[: self.dimensions]
        fixed = {name: getattr(self, name)[0] for name in names}
        grid = {name: list(getattr(self, name)) for name in self.coordinates}
        points = grid if whole or not self.points else [list(point) for point in self.points]
        with jax.enable_x64(True):
            return trap_family(self.electrons[0], fixed, self.kappa[0], self.coordinates, points)
