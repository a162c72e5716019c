"""A semiconductor, and the conversion between meV, nm and its effective atomic units."""

from typing import TypeVar

import equinox as eqx
import numpy as np
from jaxtyping import Array

from qernel.units import Units

_BOHR_NM = 0.05291772102576113
_HARTREE_MEV = 27211.386279117556
# Far beyond any material, and its square is far from the limits of single precision.
_FAR = 1e12

Quantity = TypeVar("Quantity", float, int, np.ndarray, Array)


class Material(eqx.Module):
    """A two-dimensional semiconductor with a moiré superlattice, and its effective atomic units.

    With an effective mass m* (in electron masses) and a dielectric constant ε_r, lengths are measured in
    a_B* = (ε_r / m*) a_B and energies in Ha* = (m* / ε_r²) Ha, so that

        H = Σ_i [-∇_i² / 2 + V(r_i)] + Σ_{i<j} 1 / r_ij.

    The defaults are holes in WSe2/WS2 (arXiv:2604.26018): a_B* = 0.755967 nm, Ha* = 380.9594 meV.

    **Arguments:**

    - `effective_mass`: m*, in electron masses.
    - `dielectric`: ε_r.
    - `lattice_constant_nm`: moiré lattice constant a_M in nm.

    **Raises:** `ValueError` if any of them is not positive and finite, or the units that follow from them are so large
    or small that single precision could not compute in them.
    """

    effective_mass: float = eqx.field(static=True, default=0.35, converter=float)
    dielectric: float = eqx.field(static=True, default=5.0, converter=float)
    lattice_constant_nm: float = eqx.field(static=True, default=8.031, converter=float)

    def __check_init__(self) -> None:
        for name, value in (
            ("effective mass", self.effective_mass),
            ("dielectric constant", self.dielectric),
            ("moiré lattice constant", self.lattice_constant_nm),
        ):
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"the {name} must be positive, got {value:g}")
            if not 1 / _FAR < value < _FAR:
                raise ValueError(f"the {name} of a semiconductor cannot be {value:g}")
        for name, value in (
            ("effective Hartree in meV", self.hartree_meV),
            ("effective Bohr radius in nm", self.bohr_nm),
            ("moiré lattice constant in effective Bohr radii", self.lattice_constant),
        ):
            if not 1 / _FAR < value < _FAR:
                raise ValueError(
                    f"the {name} would be {value:.3g}, which is no energy or length of a semiconductor: check the "
                    f"effective mass {self.effective_mass:g}, the dielectric constant {self.dielectric:g} and the "
                    f"lattice constant {self.lattice_constant_nm:g} nm"
                )

    @property
    def bohr_nm(self) -> float:
        """Effective Bohr radius a_B* in nm."""
        return self.dielectric / self.effective_mass * _BOHR_NM

    @property
    def hartree_meV(self) -> float:
        """Effective Hartree Ha* in meV."""
        return self.effective_mass / self.dielectric**2 * _HARTREE_MEV

    @property
    def lattice_constant(self) -> float:
        """Moiré lattice constant in effective Bohr radii."""
        return self.lattice_constant_nm / self.bohr_nm

    @property
    def units(self) -> Units:
        """Units of results: meV and nm."""
        return Units("meV", self.hartree_meV, "nm", self.bohr_nm)

    def to_hartree(self, energy_meV: Quantity) -> Quantity:
        """Energy from meV to effective Hartree."""
        return energy_meV / self.hartree_meV  # pyright: ignore[reportReturnType]

    def to_meV(self, energy_hartree: Quantity) -> Quantity:
        """Energy from effective Hartree to meV."""
        return energy_hartree * self.hartree_meV  # pyright: ignore[reportReturnType]

    def to_bohr(self, length_nm: Quantity) -> Quantity:
        """Length from nm to effective Bohr radii."""
        return length_nm / self.bohr_nm  # pyright: ignore[reportReturnType]

    def to_nm(self, length_bohr: Quantity) -> Quantity:
        """Length from effective Bohr radii to nm."""
        return length_bohr * self.bohr_nm  # pyright: ignore[reportReturnType]
