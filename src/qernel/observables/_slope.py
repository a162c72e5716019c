"""The operators ∂H/∂λ of a family, for the Hellmann-Feynman check."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qernel.hamiltonian import Coordinate, Hamiltonian


def slope_along(
    hamiltonian: Hamiltonian, coordinate: Coordinate
) -> Callable[[Float[Array, "electrons dim"], Float[Array, ""], Any], Float[Array, ""]]:
    r"""Slope $(\partial H/\partial\lambda\,\psi)/\psi$ of one configuration, in effective Hartree per unit of λ.

    The function takes positions, the local kinetic energy and the parameters of one Hamiltonian. Where ψ is
    the ground state, or stationary for every λ, $dE/d\lambda = \langle\partial H/\partial\lambda\rangle$
    (Hellmann-Feynman).
    """

    def slope(r, kinetic, parameters):
        tangent = coordinate.tangent(parameters)

        def potential(parameters):
            return sum(hamiltonian.potential_energies(r, parameters).values(), jnp.zeros((), r.dtype))

        def logarithm(parameters):
            return jnp.log(jnp.asarray(hamiltonian.kinetic.prefactor(parameters), float))

        _, of_potential = jax.jvp(potential, (parameters,), (tangent,))
        # The kinetic energy is the prefactor 1/m times something that knows no λ.
        _, of_kinetic = jax.jvp(logarithm, (parameters,), (tangent,))
        return of_potential + kinetic * of_kinetic.astype(r.dtype)

    return slope
