"""The units that results are given in."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Units:
    """Units of energy and length of a system's results, and what the Hamiltonian's own units are in them.

    Inside, energies are in effective Hartree and lengths in effective Bohr radii, whatever these are for a Hamiltonian
    with a given kinetic term.

    **Arguments:** `energy`, `length`: names, such as "meV" and "nm"; `hartree`, `bohr`: an effective Hartree and an
    effective Bohr radius in these units.

    **Raises:** `ValueError` if one of the two is not positive and finite.

    **Example:** `Units("meV", 380.96, "nm", 0.756)`.
    """

    energy: str = "Ha*"
    hartree: float = 1.0
    length: str = "a_B*"
    bohr: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("energy", self.hartree), ("length", self.bohr)):
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"the unit of {name} must be positive and finite, got {value:g}")

    @property
    def per_electron(self) -> str:
        """Unit of an energy per electron."""
        return f"{self.energy} per electron"


# The Hamiltonian's own units.
EFFECTIVE_UNITS = Units()
