"""The [system] section of quantum dots."""

import functools
import math
from typing import Annotated, Any, Literal

import jax
from pydantic import Field, model_validator

from qernel.hamiltonian import Family
from qernel.layers import OpenEmbedding
from qernel.orbitals import OpenPairJastrow
from qernel.systems import Electrons, Finite, System, SystemSection, Values, check_points, electrons_text

from ._family import dot_family, dot_frequency
from ._mean_field import DotLength
from ._system import branches_of, dot_system

# Of one spin: integrals of the oscillator functions grow as the fourth power of their number.
_MOST_ELECTRONS = {2: 28, 3: 10}


class DotSection(SystemSection):
    """Electrons in a quantum dot: trap frequency and strength of the repulsion, each a value or several.

    Values of both are combined, or `points` lists the members, with a value of each coordinate in the order omega,
    strength.

    **Arguments:**

    - `name`: "dot".
    - `electrons`: [n_up, n_down]; `dimensions`: 2 or 3.
    - `omega`: trap frequencies, in effective Hartree.
    - `strength`: strengths S of the repulsion S/r.
    - `points`: in place of all combinations.

    **Raises:** a validation error for frequencies that are not positive, negative strengths, points that lack a
    coordinate, or more electrons than Hartree-Fock has integrals for.
    """

    name: Literal["dot"] = "dot"
    electrons: Electrons = (3, 3)
    dimensions: Annotated[int, Field(ge=2, le=3)] = 2
    omega: Values = (0.1, 0.28, 0.5, 1.0)
    strength: Values = (1.0,)
    points: tuple[tuple[Finite, ...], ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "DotSection":
        most = _MOST_ELECTRONS[self.dimensions]
        if max(self.electrons) > most:
            raise ValueError(
                f"electrons must be at most {most} of each spin in a dot of {self.dimensions} dimensions, got "
                f"{list(self.electrons)}"
            )
        if self.omega[0] <= 0:
            raise ValueError(f"omega must be positive, got {list(self.omega)}")
        if self.strength[0] < 0:
            raise ValueError(f"strength must not be negative, got {list(self.strength)}")
        combinations = math.prod(len(getattr(self, name)) for name in self.coordinates)
        check_points(self.points, self.coordinates, combinations)
        return self

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Names of what varies: everything that has several values; ω alone if nothing has."""
        return tuple(name for name in ("omega", "strength") if len(getattr(self, name)) > 1) or ("omega",)

    @property
    def references(self) -> tuple[str, ...]:
        return branches_of(self._family(whole=True)).lowest

    @property
    def summary(self) -> str:
        return f"{electrons_text(self.electrons)} in a quantum dot of {self.dimensions} dimensions"

    def system(self) -> System:
        with jax.enable_x64(True):
            whole = dot_system(self._family(whole=True))
            return whole.at(self._family(whole=False))

    def at(self, points: Any) -> "DotSection":
        return self.model_copy(update={"points": tuple(tuple(float(x) for x in point) for point in points)})

    def blocks(self, system: System, features: Any) -> dict[str, Any]:
        branches = branches_of(self._family(whole=True))
        length, dim, pair = DotLength(branches.frequency(branches.lowest[0])), self.dimensions, None
        if features.pair_shells:
            pair = functools.partial(
                OpenPairJastrow, dim=dim, length=length, centre=dot_frequency, harmonics=features.pair_shells
            )
        return {"embedding": OpenEmbedding(dim, length, harmonics=features.feature_shells), "pair": pair}

    def _family(self, *, whole: bool) -> Family:
        """The members, or with `whole` all combinations of the values: the range that wavefunctions are made for."""
        grid = {name: list(getattr(self, name)) for name in self.coordinates}
        points = grid if whole or not self.points else [list(point) for point in self.points]
        with jax.enable_x64(True):
            return dot_family(
                self.electrons, self.dimensions, self.omega[0], self.strength[0], self.coordinates, points
            )
