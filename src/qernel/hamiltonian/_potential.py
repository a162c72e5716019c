import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

# Every potential that follows the parameters imports these from here.
from ..parameters import ParameterFunction as ParameterFunction
from ..parameters import as_scalar as as_scalar


class AbstractPotential(eqx.Module):
    """A potential energy: one term of a Hamiltonian.

    A potential of one's own is a subclass with a `__call__`, or, if it acts on one electron at a time,
    simply `Potential(function)`.
    """

    @abc.abstractmethod
    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, ""]:
        """Total energy of one configuration, summed over the electrons, in effective Hartree and r's dtype.

        **Arguments:**

        - `r`: positions of one walker, in effective Bohr radii.
        - `parameters`: the Hamiltonian's parameters, a pytree of arrays.
        """


class Potential(AbstractPotential):
    """A user-given one-body potential, V = Σ_i v(r_i; λ).

    **Arguments:**

    - `function`: v, called with one position of shape (dim,) and the Hamiltonian's parameters; returns a
      scalar in effective Hartree. In a periodic cell it must have the period of the cell.
    """

    function: Callable[[Float[Array, " dim"], PyTree], Float[Array, ""]]

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, ""]:
        values = jax.vmap(lambda position: self.function(position, parameters))(r)
        if values.shape != (r.shape[0],):
            raise ValueError(f"the potential's function must return a scalar, got shape {values.shape[1:]}")
        return jnp.sum(values.astype(r.dtype))
