import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..parameters import ParameterFunction
from ._in_phase import without_phase
from ._kinetic import Kinetic


class NuclearCusp(eqx.Module):
    r"""Where the attraction of nuclei diverges, and the slope of an eigenstate there, a function of the parameters,

    $$ \partial_r\log\psi = -\frac{2\,S(\lambda)\,Z_A}{(d - 1)\,p(\lambda)} , $$

    for a potential $-S Z_A/r$ beside a kinetic energy $-\frac p2\nabla^2$ in d dimensions: -Z in three. Made by
    [`Hamiltonian.nuclear_cusp`][qernel.hamiltonian.Hamiltonian.nuclear_cusp]; it holds no arrays.

    **Source:** T. Kato, Commun. Pure Appl. Math. 10, 151 (1957).
    """

    kinetic: Kinetic
    strength: float | ParameterFunction
    positions: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    charges: tuple[float, ...] = eqx.field(static=True)

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.positions[0])

    def __call__(self, parameters: PyTree) -> Float[Array, " nuclei"]:
        r"""$-\partial_r\log\psi$ at each nucleus, in inverse units of length."""
        plain = without_phase(parameters)
        prefactor = jnp.asarray(self.kinetic.prefactor(plain), float)
        strength = jnp.asarray(self.strength(plain) if callable(self.strength) else self.strength, prefactor.dtype)
        charges = jnp.asarray(np.array(self.charges), prefactor.dtype)
        return 2 / (self.dim - 1) * strength / prefactor * charges
