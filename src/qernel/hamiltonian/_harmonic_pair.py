from typing import ClassVar, Literal

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._potential import AbstractPotential, ParameterFunction, as_scalar


class HarmonicPair(AbstractPotential):
    r"""Harmonic interaction of all pairs with open boundaries,

    $$ V = \frac\kappa2 \sum_{i<j} |r_i - r_j|^2 = \frac{N\kappa}2 \sum_i |r_i - R|^2 , $$

    with the centre of mass R, about which it is a sum over electrons. Attractive for κ > 0. For κ < 0 it needs a trap
    that holds the electrons together, $\omega^2 + N\kappa > 0$.

    **Arguments:**

    - `strength`: κ in effective Hartree per squared Bohr radius, a number or a function of the Hamiltonian's
      parameters.

    **Source:** Moshinsky, Am. J. Phys. 36, 52 (1968); N particles: Johnson and Payne, Phys. Rev. Lett. 67, 1157 (1991).
    """

    boundary: ClassVar[Literal["open"]] = "open"
    strength: float | ParameterFunction

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, ""]:
        # Distances from the centre, not Σ r² - N R²: that cancels far from the origin.
        relative = r - jnp.mean(r, axis=0, keepdims=True)
        return 0.5 * r.shape[0] * as_scalar(self.strength, parameters, r.dtype) * jnp.sum(relative**2)
