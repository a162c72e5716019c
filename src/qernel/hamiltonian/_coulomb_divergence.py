import abc
from typing import ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..parameters import ParameterFunction
from ._potential import AbstractPotential


class CoulombDivergence(eqx.Module):
    r"""How a potential diverges where two electrons meet: as $S(\lambda)\, q_i q_j / r_{ij}$.

    It holds no arrays of its own, so that a wavefunction may keep it.

    **Arguments:**

    - `strength`: S in effective Hartree times Bohr radii, a number or a function of the Hamiltonian's parameters.
    - `charges`: q, one for each electron; `None` for unit charges, any number of them.
    """

    strength: float | ParameterFunction = 1.0
    charges: tuple[float, ...] | None = eqx.field(static=True, default=None)

    def __call__(self, electrons: int, parameters: PyTree) -> Float[Array, "electrons electrons"]:
        """The coefficients S q_i q_j of 1/r_ij, with zeros on the diagonal.

        Raises `ValueError` if there is another number of charges than of electrons.
        """
        charges = np.ones(electrons) if self.charges is None else np.asarray(self.charges)
        if len(charges) != electrons:
            raise ValueError(f"the interaction has {len(charges)} charges, the Hamiltonian {electrons} electrons")
        products = np.outer(charges, charges) * (1 - np.eye(electrons))
        strength = jnp.asarray(self.strength(parameters) if callable(self.strength) else self.strength, float)
        return strength * jnp.asarray(products, strength.dtype)


class AbstractCoulomb(AbstractPotential):
    """A potential that diverges like Coulomb's where two electrons meet, whatever it is elsewhere.

    An interaction of one's own that does (screened at a distance, say) derives from this class: a wavefunction then
    learns its cusp from the Hamiltonian. One that stays finite at contact is an `AbstractPotential`.
    """

    interaction: ClassVar[bool] = True

    @property
    @abc.abstractmethod
    def divergence(self) -> CoulombDivergence:
        """The divergence at contact."""
