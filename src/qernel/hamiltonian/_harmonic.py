from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ._potential import AbstractPotential, Boundary, ParameterFunction, as_scalar, one_real_number


class Harmonic(AbstractPotential):
    """Isotropic harmonic trap at the origin, V = (ω²/2) Σ_i r_i² (unit mass).

    **Arguments:**

    - `frequency`: ω in effective Hartree, or a function of the Hamiltonian's parameters that returns it.

    Raises `ValueError` if a given number is not positive.
    """

    boundary: ClassVar[Boundary] = "open"
    frequency: float | ParameterFunction

    def __check_init__(self) -> None:
        if callable(self.frequency):
            return
        frequency = float(one_real_number(self.frequency, "the trap frequency"))
        if not (np.isfinite(frequency) and frequency > 0):
            raise ValueError(f"the trap frequency must be positive, got {frequency:g}")

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, ""]:
        frequency = as_scalar(self.frequency, parameters, r.dtype)
        return 0.5 * frequency**2 * jnp.sum(r**2)
