from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..parameters import AxisNumbers, CheckedAxes, along_axes, checked_axes
from ._potential import AbstractPotential


class Harmonic(AbstractPotential):
    r"""Harmonic trap at the origin, of one frequency or of one for each axis a (unit mass),

    $$ V = \frac12 \sum_i \sum_a \omega_a^2 x_{ia}^2 . $$

    **Arguments:**

    - `frequency`: ω in effective Hartree, for all axes; or a sequence $\omega_a$. Each may be a number or a function of
      the Hamiltonian's parameters. A single function may also return an array with the frequencies of all axes.

    **Raises:** `ValueError` if a given number is not positive; where it is called, if the frequencies do not fit the
    dimensions.
    """

    boundary: ClassVar[Literal["open"]] = "open"
    frequency: CheckedAxes

    def __init__(self, frequency: AxisNumbers):
        self.frequency = checked_axes("trap frequency", frequency)

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, ""]:
        frequency = along_axes("trap frequency", self.frequency, parameters, r.shape[1], r.dtype)
        return 0.5 * jnp.sum(frequency**2 * jnp.sum(r**2, axis=0))
