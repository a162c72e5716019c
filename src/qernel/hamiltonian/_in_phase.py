from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class InPhase(eqx.Module):
    """Parameters of a Hamiltonian, and the number of the phase in which a state of it is asked for.

    The Hamiltonian is that of the `parameters` and does not know the number; a wavefunction may depend on both. The
    names of the parameters are found here too, whether they are attributes or keys.
    """

    parameters: Any
    number: Float[Array, "..."]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "parameters":
            raise AttributeError(name)
        return getattr(self.parameters, name)

    def __getitem__(self, name: Any) -> Any:
        return self.parameters[name]

    def __contains__(self, name: Any) -> bool:
        return name in self.parameters


def in_phases(parameters: Any, phases: int) -> InPhase:
    """Every Hamiltonian of a family's parameters in every phase, those of one Hamiltonian after one another.

    An empty pytree of parameters is that of one Hamiltonian.

    Raises `ValueError` for fewer than one phase.
    """
    if phases < 1:
        raise ValueError(f"a state is in one of at least one phase, got {phases}")
    leaves = jax.tree.leaves(parameters)
    size = leaves[0].shape[0] if leaves else 1
    repeated = jax.tree.map(lambda leaf: jnp.repeat(jnp.asarray(leaf), phases, axis=0), parameters)
    return InPhase(repeated, jnp.tile(jnp.arange(phases, dtype=float), size))


def without_phase(parameters: Any) -> Any:
    """What the Hamiltonian depends on."""
    return parameters.parameters if isinstance(parameters, InPhase) else parameters
