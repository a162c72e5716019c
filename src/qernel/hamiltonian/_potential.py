import abc
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..lattice import Lattice

Boundary = Literal["open", "any"] | Lattice
ParameterFunction = Callable[[PyTree], Float[Array, ""]]


def as_scalar(value: float | ParameterFunction, parameters: PyTree, dtype: jnp.dtype) -> Float[Array, ""]:
    """A number, or a number computed from the Hamiltonian's parameters, as an array of the given dtype.

    **Raises:** `ValueError` if it is not one real number.
    """
    number = one_real_number(value(parameters) if callable(value) else value, "a prefactor of the Hamiltonian")
    return number.astype(dtype)


def one_real_number(value: Any, name: str) -> Array:
    """The value as an array without axes.

    **Raises:** `ValueError` if it is complex (the imaginary part would be lost) or has axes (it would be broadcast).
    """
    number = jnp.asarray(value)
    if jnp.iscomplexobj(number):
        raise ValueError(f"{name} must be real, got a complex number: a Hamiltonian is Hermitian")
    if number.shape:
        raise ValueError(
            f"{name} must be one number, got the shape {number.shape}: pass the parameters of one Hamiltonian, "
            "and functions of them that return a number"
        )
    return number


class AbstractPotential(eqx.Module):
    """A potential energy: one term of a Hamiltonian.

    A potential of one's own is a subclass with a `boundary` and a `__call__`, or, if it acts on one electron at a
    time, simply `Potential(function)`.

    **Fields:**

    - `boundary`: where the potential makes sense, which a `Hamiltonian` checks. `"open"`: with open boundaries only
      (a trap, a molecule, Coulomb repulsion without images). `"any"`: also in a cell of which it has the period, as one
      that is written with the cell's minimum image or [`PeriodicDistance`][qernel.lattice.PeriodicDistance]. A
      `Lattice`: also in cells made of whole cells of this one, the period of a potential of single electrons.
      `boundary = "open"` in the body of the class says it, or a property.
    """

    boundary: eqx.AbstractVar[Boundary]

    @abc.abstractmethod
    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, ""]:
        """Total energy of one configuration, summed over the electrons, real, in effective Hartree and r's dtype.

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

    boundary: ClassVar[Boundary] = "any"
    function: Callable[[Float[Array, " dim"], PyTree], Float[Array, ""]]

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, ""]:
        values = jax.vmap(lambda position: self.function(position, parameters))(r)
        if values.shape != (r.shape[0],):
            raise ValueError(f"the potential's function must return a scalar, got shape {values.shape[1:]}")
        if jnp.iscomplexobj(values):
            raise ValueError("the potential's function must be real: a Hamiltonian is Hermitian")
        return jnp.sum(values.astype(r.dtype))
