"""A phase of matter that a system may be in, as far as a run must know it."""

import dataclasses
from collections.abc import Callable
from typing import Any

from jax.typing import DTypeLike

from qernel.orbitals import AbstractOrbitals

# orbitals(dtype, solve): solved for, or zeros of the same shapes.
OrbitalsOf = Callable[[DTypeLike, bool], AbstractOrbitals]


@dataclasses.dataclass(frozen=True)
class Phase:
    """Mean-field orbitals of one phase of matter along a family.

    **Arguments:**

    - `name`: of this set of orbitals, as configurations call it.
    - `orbitals`: a function `orbitals(dtype, solve)` that returns orbitals of every λ, one for each electron. With
      `solve` false they need only have the right shapes: a checkpoint will be read into them.
    - `matter`: the phase of matter, by default the name. Two sets may stand for one phase of matter.
    - `about`: what the orbitals are, in words.
    - `memory`: bytes that solving for them takes at least, if they are many.
    - `complex`: whether the orbitals are complex, which the wavefunction must be then.
    - `momentum`: total momentum of their determinant in units of the supercell's reciprocal vectors, if it has one; the
      real part of one with the momentum K has K and -K.
    """

    name: str
    orbitals: OrbitalsOf
    matter: str = ""
    about: str = ""
    memory: int = 0
    complex: bool = False
    momentum: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"the name of a phase heads a column of the results: '{self.name}' cannot be one")
        for field in ("matter", "about"):
            if not getattr(self, field):
                object.__setattr__(self, field, self.name)


def matter_of(phases: tuple[Phase, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """The phases of matter that sets of orbitals stand for.

    **Raises:** `ValueError` for a name that no phase has.
    """
    known: dict[str, Any] = {phase.name: phase.matter for phase in phases}
    for name in names:
        if name not in known:
            raise ValueError(f"there are no orbitals '{name}': there are {', '.join(known) or 'none'}")
    return tuple(known[name] for name in names)
