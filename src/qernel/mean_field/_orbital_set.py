import equinox as eqx
import numpy as np
from jaxtyping import Num

from ..orbitals import PlaneWaves


class OrbitalSet(eqx.Module):
    """Mean-field orbitals of each spin, φ_n(r) = Σ_a χ_a(r) C_an, orthonormal under the cell average.

    **Fields:**

    - `waves`: the real plane waves χ_a.
    - `coefficients`: (C of spin up, C of spin down), each (basis, orbitals), real or complex, float64 numpy.
    """

    waves: PlaneWaves
    coefficients: tuple[Num[np.ndarray, "basis up"], Num[np.ndarray, "basis down"]]

    def __check_init__(self):
        for c in self.coefficients:
            if c.ndim != 2 or c.shape[0] != self.waves.size:
                raise ValueError(
                    f"coefficients need the shape (basis, orbitals) with {self.waves.size} basis functions, "
                    f"got {c.shape}"
                )
            if c.shape[1] > c.shape[0]:
                raise ValueError(
                    f"{c.shape[1]} orbitals need at least as many plane waves, got {c.shape[0]}: raise the cutoff"
                )

    @property
    def electrons(self) -> tuple[int, int]:
        """Numbers of orbitals (up, down)."""
        return self.coefficients[0].shape[1], self.coefficients[1].shape[1]
