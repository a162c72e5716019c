"""The end of a competition of phases at the Hamiltonians where it is decided."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ._state import TrainingState


def retire_phases(state: TrainingState, *, phases: int, margin: float) -> TrainingState:
    """Where a phase lies higher than the lowest one by more than `margin`, train the lowest one in its place.

    The members of the family are points in every phase, the phases of one point after one another. A member that
    retires becomes a second one of the lowest phase and goes on from its walkers, so that nothing is compiled again,
    and no noise of a metastable state that will never win disturbs the network.

    **Arguments:** `phases`, their number; `margin`, in effective Hartree, of the total energy. An energy that was never
    finite never wins.

    **Raises:** `ValueError` if the state has no phases, or the members are not whole points of so many phases.
    """
    if state.phase is None or state.mean_energy is None or len(state.phase) % phases:
        raise ValueError(f"there are no {phases} phases that compete at each point of the family")
    energies = np.asarray(state.mean_energy, np.float64)
    table = np.where(np.isfinite(energies), energies, np.inf).reshape(-1, phases)
    members = np.arange(len(energies)).reshape(table.shape)
    lowest = np.take_along_axis(members, np.argmin(table, axis=1)[:, None], axis=1)
    source = np.where(table > table.min(axis=1, keepdims=True) + margin, lowest, members).ravel()
    places = lambda s: (s.positions, s.step_size, s.phase, s.mean_energy)
    with jax.enable_x64(True):
        return eqx.tree_at(places, state, tuple(jnp.asarray(np.asarray(array)[source]) for array in places(state)))
