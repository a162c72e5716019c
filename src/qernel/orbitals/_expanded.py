from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PyTree

from ._orbitals import AbstractOrbitals
from ._plane_waves import PlaneWaves


def with_twist(
    r: Float[Array, "electrons dim"],
    values: Num[Array, "electrons orbitals"],
    waves: PlaneWaves,
    twist: tuple[float, ...],
) -> Num[Array, "electrons orbitals"]:
    """Multiply by exp(iθ·f) with f the fractional coordinates, unless θ = 0."""
    if not any(twist):
        return values
    angles = waves.lattice.fractional(r) @ jnp.asarray(twist, r.dtype)
    phase = jax.lax.complex(jnp.cos(angles), jnp.sin(angles))
    return phase[:, None] * values.astype(phase.dtype)


def checked_twist(twist: Sequence[float] | None, dim: int) -> tuple[float, ...]:
    """The angles of a twist, one for each of `dim` cell vectors: zeros for `None`; `ValueError` for another number."""
    angles = (0.0,) * dim if twist is None else tuple(float(t) for t in twist)
    if len(angles) != dim:
        raise ValueError(f"a twist needs {dim} angles, got {len(angles)}")
    return angles


class ExpandedOrbitals(AbstractOrbitals):
    """Orbitals expanded in real plane waves, φ_n(r) = e^{iθ·f(r)} Σ_a χ_a(r) C_an, the same for every
    Hamiltonian.

    f are the fractional coordinates in the cell: φ(r + A_d) = e^{iθ_d} φ(r).

    **Arguments:**

    - `waves`: the plane waves χ_a.
    - `coefficients`: C, (basis, orbitals), real or complex; those of `bloch_orbitals` and `hartree_fock` fit.
    - `twist`: angles θ_d in radians, one for each cell vector; `None` for none. With a twist the values are
      complex.

    Raises `ValueError` if the coefficients do not fit the basis.
    """

    waves: PlaneWaves
    coefficients: Num[Array, "basis orbitals"]
    twist: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        waves: PlaneWaves,
        coefficients: Num[Array | np.ndarray, "..."],
        twist: Sequence[float] | None = None,
    ):
        table = jnp.asarray(coefficients)
        if table.ndim != 2 or table.shape[0] != waves.size or not table.shape[1]:
            raise ValueError(
                f"coefficients need the shape (basis, orbitals) with {waves.size} basis functions and at least one "
                f"orbital, got {table.shape}"
            )
        self.waves = waves
        self.coefficients = table
        self.twist = checked_twist(twist, waves.lattice.dim)

    @property
    def orbitals(self) -> int:
        return self.coefficients.shape[1]

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Num[Array, "electrons orbitals"]:
        del parameters
        with jax.named_scope("qernel.orbitals.ExpandedOrbitals"):
            return with_twist(r, self.waves.expand(r, self.coefficients), self.waves, self.twist)
