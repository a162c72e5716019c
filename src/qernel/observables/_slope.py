"""The operator ∂H/∂λ of a family, for the Hellmann-Feynman check."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qernel.hamiltonian import Family, without_phase


def has_slope(family: Family) -> bool:
    """Whether the first varying parameter is a scalar of each Hamiltonian that can be differentiated."""
    if not family.varying:
        return False
    value = _named(family.parameters, family.varying[0])
    return value is not None and jnp.ndim(value) == 1 and jnp.issubdtype(value.dtype, jnp.floating)


def _named(parameters: Any, name: str) -> Any:
    parameters = without_phase(parameters)
    if isinstance(parameters, dict):
        return parameters.get(name)
    return getattr(parameters, name, None)


def along_first_varying(family: Family, parameters: Any) -> Any:
    """The tangent of one Hamiltonian's parameters along the first varying one.

    Raises `ValueError` if no scalar parameter varies.
    """
    if not has_slope(family):
        raise ValueError("a derivative along the family needs a scalar parameter that varies")
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    return eqx.tree_at(lambda tree: _named(tree, family.varying[0]), zeros, replace_fn=jnp.ones_like)


def slope_of(
    family: Family,
) -> Callable[[Float[Array, "electrons dim"], Float[Array, ""], Any], Float[Array, ""]]:
    r"""$(\partial H/\partial\lambda\,\psi)/\psi$ of one configuration, λ the first varying parameter.

    The function takes positions, the local kinetic energy and the parameters of one Hamiltonian. Where ψ is
    the ground state, or stationary for every λ, $dE/d\lambda = \langle\partial H/\partial\lambda\rangle$
    (Hellmann-Feynman).
    """
    hamiltonian = family.hamiltonian

    def slope(r, kinetic, parameters):
        tangent = along_first_varying(family, parameters)

        def potential(parameters):
            return sum(hamiltonian.potential_energies(r, parameters).values(), jnp.zeros((), r.dtype))

        def logarithm(parameters):
            return jnp.log(jnp.asarray(hamiltonian.kinetic.prefactor(parameters), float))

        _, of_potential = jax.jvp(potential, (parameters,), (tangent,))
        # The kinetic energy is the prefactor 1/m times something that knows no λ.
        _, of_kinetic = jax.jvp(logarithm, (parameters,), (tangent,))
        return of_potential + kinetic * of_kinetic.astype(r.dtype)

    return slope
