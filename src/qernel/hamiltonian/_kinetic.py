from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from ..parameters import one_real_number
from ._in_phase import without_phase


class Kinetic(eqx.Module):
    """Kinetic energy T = -(1/2m) Σ_i ∇_i², in any dimension.

    Its local value is -(p/2) (∇² log ψ + ∇ log ψ · ∇ log ψ) with `p = prefactor(parameters)` = 1/m.

    **Arguments:**

    - `mass`: mass in units of the effective mass that defines the effective atomic units.
    - `inverse_mass`: instead of `mass`, a function of the Hamiltonian's parameters that returns 1/m.

    Raises `ValueError` if the mass is not one positive number, or if both arguments are given.
    """

    mass: float | None = eqx.field(static=True)
    inverse_mass: Callable[[PyTree], Float[Array, ""]] | None

    def __init__(
        self,
        mass: ArrayLike | None = None,
        *,
        inverse_mass: Callable[[PyTree], Float[Array, ""]] | None = None,
    ):
        if mass is not None and inverse_mass is not None:
            raise ValueError("give either a mass or an inverse_mass, not both")
        if mass is None and inverse_mass is None:
            mass = 1.0
        self.mass = None if mass is None else _one_mass(np.asarray(mass))
        self.inverse_mass = inverse_mass

    def prefactor(self, parameters: PyTree) -> Float[Array, ""]:
        """1/m, at the widest enabled dtype or that of the parameters."""
        if self.inverse_mass is not None:
            return one_real_number(self.inverse_mass(without_phase(parameters)), "the inverse mass")
        assert self.mass is not None
        return jnp.asarray(1.0 / self.mass, dtype=float)


def _one_mass(mass: np.ndarray) -> float:
    if mass.shape:
        raise ValueError(
            f"all electrons have one mass, got the shape {mass.shape}: where it differs between Hamiltonians, "
            "give inverse_mass=, a function of their parameters"
        )
    if np.iscomplexobj(mass) or not (np.isfinite(mass) and mass > 0):
        raise ValueError(f"the mass must be positive, got {mass:g}")
    return float(mass)
