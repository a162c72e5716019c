import abc
from collections.abc import Callable
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..lattice import Lattice

Boundary = Literal["open", "any"] | Lattice


class AbstractPotential(eqx.Module):
    """A potential energy: one term of a Hamiltonian.

    A potential of one's own is a subclass with a `__call__`, or, if it acts on one electron at a time, simply
    `Potential(function)`.

    **Fields:**

    - `boundary`: where the potential makes sense, which a `Hamiltonian` checks. `"open"`: with open boundaries only
      (a trap, a molecule, Coulomb repulsion without images). `"any"`: also in a cell of which it has the period, as one
      that is written with the cell's minimum image or [`PeriodicDistance`][qernel.lattice.PeriodicDistance]. A
      `Lattice`: also in cells made of whole cells of this one. "any" unless the class says otherwise:
      `boundary = "open"` in its body, or a property.
    - `interaction`: whether electrons act on one another through it, as results and verdicts have it: False unless the
      class says `interaction = True`.
    """

    boundary: ClassVar[Boundary] = "any"
    interaction: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, ""]:
        """Total energy of one configuration, summed over the electrons, real, in effective Hartree and r's dtype.

        **Arguments:**

        - `r`: positions of one walker, in effective Bohr radii.
        - `parameters`: the Hamiltonian's parameters, a pytree of arrays.
        """


class AbstractLatticePotential(AbstractPotential):
    """A potential with the period of a lattice, whose cells, zone corners and Bragg vectors results are shown with."""

    primitive: eqx.AbstractVar[Lattice]


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
        if jnp.iscomplexobj(values):
            raise ValueError("the potential's function must be real: a Hamiltonian is Hermitian")
        return jnp.sum(values.astype(r.dtype))
