"""Walkers to where the noise is: of phases that cannot win, to those of the largest variance."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ._state import TrainingState


def reallocate(state: TrainingState, *, phases: int, margin: float) -> TrainingState:
    r"""Where a phase lies higher than the lowest one by more than `margin`, train in its place what is noisiest.

    The members of the family are points in every phase, the phases of one point after one another, and the state has a
    row of walkers for each. Every state that may still win keeps a row, and the others are given out one by one, each
    to the state s whose energy gains most by it, of the n_s rows that it has: the largest
    $\sigma_s^2 / [n_s (n_s + 1)]$, which minimises $\sum_s \sigma_s^2 / n_s$. A row that changes goes on from the
    walkers of one of its new state, so that nothing is compiled again, the cost stays what it was, and no noise of a
    metastable state disturbs the network. The variance is that of the clipped local energies, averaged over about the
    last third of the steps.

    **Arguments:** `phases`, their number; `margin`, in effective Hartree, of the total energy. An energy that was never
    finite never wins; a variance that was not is taken for the mean of the others.

    **Raises:** `ValueError` if the state has no phases, or the members are not whole points of so many phases.
    """
    if state.phase is None or state.point is None or state.mean_energy is None or state.mean_variance is None:
        raise ValueError("there are no phases that compete at the points of the family")
    rows = np.asarray(state.point) * phases + np.round(np.asarray(state.phase)).astype(int)
    if len(rows) % phases:
        raise ValueError(f"there are no {phases} phases that compete at each point of the family")
    energies, variances = (_of_members(mean, rows) for mean in (state.mean_energy, state.mean_variance))
    table = np.where(np.isfinite(energies), energies, np.inf).reshape(-1, phases)
    alive = (table <= table.min(axis=1, keepdims=True) + margin).ravel()
    # A point at which nothing was ever finite keeps its first phase.
    alive.reshape(table.shape)[~np.isfinite(table).any(axis=1), 0] = True
    source = _given_out(rows, alive, variances)
    places = lambda s: (s.positions, s.step_size, s.phase, s.point, s.mean_energy, s.mean_variance)
    with jax.enable_x64(True):
        return eqx.tree_at(places, state, tuple(jnp.asarray(np.asarray(array)[source]) for array in places(state)))


def _of_members(mean, rows: Int[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
    """The mean of each member over its rows, NaN for one that has none any more."""
    values = np.asarray(mean, np.float64)
    known = np.isfinite(values)
    count = np.bincount(rows[known], minlength=len(rows))
    total = np.bincount(rows[known], values[known], minlength=len(rows))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _given_out(rows, alive, variances) -> Int[np.ndarray, " rows"]:
    """For each row the one whose walkers it goes on from: its own, if it stays where it is."""
    wanted = np.flatnonzero(alive)
    typical = np.nanmean(variances[wanted]) if np.isfinite(variances[wanted]).any() else 1.0
    variance = np.where(np.isfinite(variances), variances, typical)
    count = np.zeros(len(rows), int)
    count[wanted] = 1
    for _ in range(len(rows) - len(wanted)):
        gain = np.where(alive, variance / np.maximum(count * (count + 1), 1), -1.0)
        count[np.argmax(gain)] += 1
    # What has rows already keeps as many as it may: walkers are not moved without a need.
    source = np.full(len(rows), -1)
    left = count.copy()
    for row, member in enumerate(rows):
        if left[member]:
            source[row], left[member] = row, left[member] - 1
    first = {member: row for row, member in reversed(list(enumerate(rows)))}
    missing = iter(np.repeat(np.arange(len(rows)), left))
    return np.array([first[next(missing)] if row < 0 else row for row in source])
