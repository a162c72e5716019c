"""The [system] section of a configuration: what every system's section has in common."""

import abc
import itertools
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ._system import System

# JAX counts steps and walkers in whole numbers of 32 bits.
MOST = 2**31 - 1
# Networks compute in single precision, in which the square of a larger number, or of its inverse, is none.
_LARGEST = 1e15
# The matrices of a wavefunction hold the square of this, their derivatives its cube.
MOST_ELECTRONS = 1000
# Members of a family, each with walkers of its own; and the points that a measurement takes one after another.
MOST_MEMBERS = 10_000


def _not_tiny(value: float) -> float:
    if value < 1 / _LARGEST:
        raise ValueError(f"must be at least {1 / _LARGEST:g}, got {value:g}")
    return value


Positive = Annotated[float, Field(gt=0, le=_LARGEST, allow_inf_nan=False), AfterValidator(_not_tiny)]
Finite = Annotated[float, Field(ge=-_LARGEST, le=_LARGEST, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=MOST)]


def _electrons(value: tuple[int, int]) -> tuple[int, int]:
    if min(value) < 0 or sum(value) < 1:
        raise ValueError(f"must be [n_up, n_down] with at least one electron and no negative number, got {list(value)}")
    if sum(value) > MOST_ELECTRONS:
        raise ValueError(f"must be at most {MOST_ELECTRONS} together, got {list(value)}")
    return value


def distinct(value: tuple[float, ...]) -> tuple[float, ...]:
    """Values of a coordinate in ascending order.

    **Raises:** `ValueError` for none, too many, or a value that is there twice.
    """
    if not value:
        raise ValueError("must name at least one value, got []")
    if len(value) > MOST_MEMBERS:
        raise ValueError(f"must name at most {MOST_MEMBERS} values, got {len(value)}")
    twice = next((x for x, again in itertools.pairwise(sorted(value)) if x == again), None)
    if twice is not None:
        raise ValueError(f"must not name a value twice, got {twice:g} more than once")
    return tuple(sorted(value))


def check_points(points: tuple[tuple[float, ...], ...], coordinates: tuple[str, ...], combinations: int) -> None:
    """Check the points of a section whose coordinates are what has several values.

    **Arguments:** `points`, which stand in place of all `combinations` of the values, or none; `coordinates`, names.

    **Raises:** `ValueError` for too many members, or a point that lacks a coordinate.
    """
    members = len(points) or combinations
    if members > MOST_MEMBERS:
        raise ValueError(f"a family has at most {MOST_MEMBERS} members, and there are {members} combinations")
    for point in points:
        if len(point) != len(coordinates):
            raise ValueError(
                f"points need a value of each of {', '.join(coordinates)}, which have several values, got {list(point)}"
            )


Electrons = Annotated[tuple[int, int], AfterValidator(_electrons)]
# Values of a coordinate, ascending.
Values = Annotated[tuple[Finite, ...], AfterValidator(distinct)]


class Section(BaseModel):
    """A section of a configuration: strict and immutable, no unknown key, no silent conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SystemSection(Section, abc.ABC):
    """The physics in a configuration. Each system has one of its own, with a literal `name`."""

    name: str
    electrons: Electrons

    @abc.abstractmethod
    def system(self) -> System:
        """The system that the section describes, at the points that are trained."""

    @abc.abstractmethod
    def at(self, points: Any) -> "SystemSection":
        """The section with other trained points, `(points, coordinates)`, made for the same range of them."""

    @abc.abstractmethod
    def blocks(self, system: System, features: Any) -> dict[str, Any]:
        """Blocks of a [`qernel`][qernel.ansatz.qernel] of the system, as its keyword arguments.

        **Arguments:** `features`: an object with `feature_shells` and `pair_shells`, sizes of the features of
        positions and of pairs, as in the section [ansatz].
        """

    @property
    @abc.abstractmethod
    def references(self) -> tuple[str, ...]:
        """Names of the sets of orbitals that a wavefunction starts from unless it is told others."""

    @property
    def member_units(self) -> bool:
        """Whether the energy scales of the members differ so much that an optimiser takes each in its own unit."""
        return False

    @property
    @abc.abstractmethod
    def summary(self) -> str:
        """The system in half a line: `6 electrons in 9 moiré cells`."""


def electrons_text(electrons: tuple[int, int]) -> str:
    """`6 electrons`, or `3 + 3 electrons` of both spins."""
    up, down = electrons
    if up and down:
        return f"{up} + {down} electrons"
    return f"{up + down} electron{'s' if up + down > 1 else ''}"
