from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ._coulomb_divergence import AbstractCoulomb, CoulombDivergence
from ._potential import AbstractPotential, ParameterFunction, as_scalar


class Coulomb(AbstractCoulomb):
    """Coulomb repulsion with open boundaries, V = strength Σ_{i<j} 1/r_ij.

    **Arguments:**

    - `strength`: a number, or a function of the Hamiltonian's parameters.
    """

    strength: float | ParameterFunction = 1.0

    @property
    def divergence(self) -> CoulombDivergence:
        return CoulombDivergence(self.strength)

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, ""]:
        first, second = np.triu_indices(r.shape[0], 1)
        distance = jnp.sqrt(jnp.sum((r[first] - r[second]) ** 2, axis=-1))
        return as_scalar(self.strength, parameters, r.dtype) * jnp.sum(1.0 / distance)


class Nuclei(AbstractPotential):
    """Attraction of fixed point charges with open boundaries, V = -strength Σ_i Σ_A Z_A / |r_i - R_A|.

    The constant repulsion between the nuclei, Σ_{A<B} Z_A Z_B / R_AB, is not included; it is `repulsion`.

    **Arguments:**

    - `positions`: R_A, shape (nuclei, dim), in effective Bohr radii.
    - `charges`: Z_A, shape (nuclei,).
    - `strength`: a number, or a function of the Hamiltonian's parameters.

    Raises `ValueError` if the shapes do not match or two nuclei coincide.
    """

    positions: Float[Array, "nuclei dim"]
    charges: Float[Array, " nuclei"]
    strength: float | ParameterFunction

    def __init__(
        self,
        positions: Sequence[Sequence[float]] | np.ndarray | Array,
        charges: Sequence[float] | np.ndarray | Array,
        *,
        strength: float | ParameterFunction = 1.0,
    ):
        places, values = np.asarray(positions, np.float64), np.asarray(charges, np.float64)
        if places.ndim != 2 or values.shape != places.shape[:1]:
            raise ValueError(
                "nuclei need positions of shape (nuclei, dim) and one charge each, "
                f"got {places.shape} and {values.shape}"
            )
        first, second = np.triu_indices(len(places), 1)
        if np.any(np.all(places[first] == places[second], axis=1)):
            raise ValueError("two nuclei are at the same position")
        self.positions = jnp.asarray(places, dtype=float)
        self.charges = jnp.asarray(values, dtype=float)
        self.strength = strength

    @property
    def repulsion(self) -> Float[Array, ""]:
        """Σ_{A<B} Z_A Z_B / R_AB in effective Hartree, at strength 1."""
        first, second = np.triu_indices(self.charges.shape[0], 1)
        distance = jnp.sqrt(jnp.sum((self.positions[first] - self.positions[second]) ** 2, axis=-1))
        return jnp.sum(self.charges[first] * self.charges[second] / distance)

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, ""]:
        separation = r[:, None, :] - self.positions.astype(r.dtype)[None, :, :]
        distance = jnp.sqrt(jnp.sum(separation**2, axis=-1))
        attraction = jnp.sum(self.charges.astype(r.dtype)[None, :] / distance)
        return -as_scalar(self.strength, parameters, r.dtype) * attraction
