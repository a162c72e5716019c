"""The end of a competition of phases at the Hamiltonians where it is decided."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from qernel.hamiltonian import Family, InPhase

from ._state import TrainingState


def retire_phases(
    state: TrainingState, family: Family, energies: Float[np.ndarray, " rows"], *, phases: int, margin: float
) -> tuple[TrainingState, Family]:
    """Where a phase lies higher than the lowest one by more than `margin`, train the lowest one in its place.

    The members of `family` are those of [`in_phases`][qernel.hamiltonian.in_phases]: the phases of one Hamiltonian
    follow one another. A member that retires becomes a second one of the lowest phase and goes on from its walkers, so
    that nothing is compiled again, and no noise of a metastable state that will never win disturbs the network.

    **Arguments:** `energies`, the mean energy of every member, in the unit of `margin`; NaN for unknown, which never
    wins; `phases`, their number.
    """
    parameters = family.parameters
    assert isinstance(parameters, InPhase)
    numbers = np.asarray(parameters.number)
    table = np.where(np.isfinite(energies), energies, np.inf).reshape(-1, phases)
    rows = np.arange(family.size).reshape(table.shape)
    lowest = np.take_along_axis(rows, np.argmin(table, axis=1)[:, None], axis=1)
    source = np.where(table > table.min(axis=1, keepdims=True) + margin, lowest, rows).ravel()
    with jax.enable_x64(True):
        moved = eqx.tree_at(
            lambda s: (s.positions, s.step_size),
            state,
            (jnp.asarray(np.asarray(state.positions)[source]), jnp.asarray(np.asarray(state.step_size)[source])),
        )
        new = InPhase(parameters.parameters, jnp.asarray(numbers[source]))
    return moved, dataclasses.replace(family, parameters=new)
