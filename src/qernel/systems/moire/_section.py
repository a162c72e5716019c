"""The [system] section of moiré configurations."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, model_validator

from qernel.lattice import Lattice, shells, supercell, triangular
from qernel.systems import (
    MOST_MEMBERS,
    Electrons,
    Finite,
    OpenShellSection,
    Positive,
    SizedSection,
    System,
    Values,
    electrons_text,
    periodic_blocks,
)

from ._liquids import Liquids, liquids
from ._material import Material
from ._orbitals import orbital_nodes
from ._sizes import cell_of, cells_in, check_cells, electrons_in
from ._system import moire_system

Square = tuple[tuple[int, int], tuple[int, int]]


def _supercell(value: Any) -> Square:
    """n, [n1, n2] or a matrix, as a matrix of integers."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        rows: Any = ((value, 0), (0, value))
    elif isinstance(value, tuple) and len(value) == 2 and not any(isinstance(v, tuple) for v in value):
        rows = ((value[0], 0), (0, value[1]))
    else:
        rows = value
    numbers = [n for row in rows for n in row] if _is_square(rows) else None
    if numbers is None or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise ValueError(
            f"must be n, [n1, n2] or a matrix of whole numbers such as [[2, 1], [-1, 1]], got {_toml(value)}"
        )
    if not all(math.isfinite(n) and n == round(n) for n in numbers):
        raise ValueError(
            "must hold whole moiré cells: a supercell with the vectors "
            f"{_toml(rows)} is incommensurate with the moiré lattice"
        )
    (a, b), (c, d) = ((int(n) for n in row) for row in rows)
    if a * d - b * c == 0:
        raise ValueError(f"must have two independent vectors, got {_toml(value)}")
    check_cells(((a, b), (c, d)))
    return (a, b), (c, d)


def _is_square(rows: Any) -> bool:
    return isinstance(rows, tuple) and len(rows) == 2 and all(isinstance(r, tuple) and len(r) == 2 for r in rows)


def _toml(value: Any) -> str:
    return str(value)[:200].replace("(", "[").replace(")", "]")


class MoireSection(SizedSection, OpenShellSection):
    """The material, the supercell and the family of potential depths.

    **Arguments:**

    - `name`: "moire".
    - `effective_mass`, `dielectric`, `lattice_constant_nm`: of the [`Material`][qernel.systems.moire.Material].
    - `phi_degrees`: φ of the moiré potential.
    - `supercell`: n, [n1, n2] or a matrix of whole numbers, in moiré cells.
    - `electrons`: [n_up, n_down].
    - `depths_meV`: potential depths that are trained.
    - `depth_range_meV`: the range that the wavefunction is made for, by default that of the depths.
    - `orbital_spacing_meV`: distance of the depths at which orbitals are solved for, and between which they are
      interpolated.

    **Raises:** a validation error for a supercell that is not whole, no depths, or a range that does not hold them.
    """

    name: Literal["moire"] = "moire"
    effective_mass: Positive = 0.35
    dielectric: Positive = 5.0
    lattice_constant_nm: Positive = 8.031
    phi_degrees: Finite = 45.0
    supercell: Annotated[Square, BeforeValidator(_supercell)] = ((3, 0), (0, 3))
    electrons: Electrons = (6, 0)
    depths_meV: Values = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0)
    depth_range_meV: tuple[()] | tuple[Finite, Finite] = ()
    orbital_spacing_meV: Positive = 2.5

    @model_validator(mode="after")
    def _in_range(self) -> "MoireSection":
        low, high = self.depth_range
        if not (
            math.isfinite(low) and math.isfinite(high) and low <= self.depths_meV[0] <= self.depths_meV[-1] <= high
        ):
            raise ValueError(
                f"depth_range_meV must be [low, high] around all of depths_meV, got {list(self.depth_range_meV)}"
            )
        if (high - low) / self.orbital_spacing_meV > MOST_MEMBERS:
            raise ValueError(
                f"orbital_spacing_meV asks for {(high - low) / self.orbital_spacing_meV:.3g} sets of orbitals between "
                f"{low:g} and {high:g} meV, and {MOST_MEMBERS} are the most: take a larger spacing"
            )
        # What follows from them must be a number that single precision holds.
        _ = self.material
        return self

    @property
    def depth_range(self) -> tuple[float, float]:
        """The range of depths, in meV, that the wavefunction is made for: that of the trained ones by default."""
        return self.depth_range_meV or (self.depths_meV[0], self.depths_meV[-1])

    @property
    def material(self) -> Material:
        """The semiconductor."""
        return Material(self.effective_mass, self.dielectric, self.lattice_constant_nm)

    @property
    def cells(self) -> int:
        """Moiré cells in the periodic cell."""
        return cells_in(self.supercell)

    @property
    def sizes(self) -> tuple[str, ...]:
        return ("3", "9", "12")

    @property
    def size_label(self) -> str:
        return f"cells-{self.cells}"

    def resized(self, size: str) -> "MoireSection":
        index = cell_of(size)
        electrons = electrons_in(index, self.electrons, self.supercell)
        return self.model_copy(update={"supercell": index, "electrons": electrons})

    def feature_shells_for(self, other: SizedSection, shells: int, least: int) -> int:
        if not isinstance(other, MoireSection):
            raise ValueError(f"the waves of the system {other.name} are none of a moiré lattice")
        longest = _longest(other, shells) * (1 - 1e-9)
        while _longest(self, least) < longest:
            least += 1
        return least

    @property
    def references(self) -> tuple[str, ...]:
        liquid, *further = self._liquids.named
        return (liquid, "crystal", *further)

    def complex_references(self, names: Sequence[str]) -> tuple[str, ...]:
        own = self._liquids.complex_names
        # Plane waves are filled as the first liquid is.
        filled = {"plane_waves": "liquid"}
        return tuple(name for name in names if filled.get(name, name) in own)

    @property
    def _liquids(self) -> Liquids:
        nodes = orbital_nodes(*self.depth_range, self.orbital_spacing_meV)
        return liquids(self.material, self.supercell, self.electrons, nodes, self.phi_degrees)

    @property
    def summary(self) -> str:
        return f"{electrons_text(self.electrons)} in {self.cells} moiré cells"

    def system(self) -> System:
        return moire_system(
            self.material,
            self.supercell,
            self.electrons,
            self.depths_meV,
            phi_degrees=self.phi_degrees,
            depth_range_meV=self.depth_range,
            orbital_spacing_meV=self.orbital_spacing_meV,
        )

    def at(self, points: Any) -> "MoireSection":
        depths = tuple(sorted(float(depth) for (depth,) in points))
        return self.model_copy(update={"depths_meV": depths, "depth_range_meV": self.depth_range})

    def blocks(self, system: System, features: Any) -> dict[str, Any]:
        cell = system.family.hamiltonian.cell
        assert cell is not None
        return periodic_blocks(cell, features)


def _longest(section: MoireSection, count: int) -> float:
    """Length of the longest wave of so many shells, in inverse nm."""
    lattice: Lattice = supercell(triangular(section.lattice_constant_nm), section.supercell).lattice
    return float(np.linalg.norm(shells(lattice, count), axis=1).max())
