"""The loop around the step: one generator, for scripts and for the command line."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from qernel import hosts
from qernel.chunks import sharing_devices
from qernel.compilation import compiled
from qernel.gradient import local_energies
from qernel.hamiltonian import Family

from ._chunks import sampler_with_largest_chunk, with_largest_chunks
from ._mesh import shard_family, shard_state, shard_walkers
from ._state import Method, StepReport, TrainingState
from ._step import measure_and_update, move_walkers, sample_round, trace_round, train_step


class TrainingFault(RuntimeError):
    """A run that went on failing for longer than its patience.

    `last_good` is the last state that a step left whole (None if the first step failed), and `replay` the state
    that makes `train_step` fail again.
    """

    def __init__(self, message: str, last_good: TrainingState | None, replay: TrainingState):
        # RuntimeError's own initialiser, called plainly: the message is all it keeps.
        RuntimeError.__init__(self, message)
        self.last_good = last_good
        self.replay = replay


def burn_in(
    state: TrainingState, family: Family, method: Method, rounds: int, *, mesh: Mesh | None = None
) -> TrainingState:
    """Move the walkers for `rounds` rounds of sampling with the parameters frozen; the step sizes adapt.

    The rounds have the negative numbers up to -1: random numbers of their own, and `state.step` counts training steps.
    """
    if rounds < 1:
        return state
    with jax.enable_x64(True):
        moved = move_walkers(*_before_moves(state, family, method, rounds, mesh), rounds)
        return eqx.tree_at(lambda s: s.step, moved, state.step)


def trace_moves(state: TrainingState, family: Family, method: Method, *, mesh: Mesh | None = None) -> None:
    """Trace the moves, of which [`burn_in`][qernel.training.burn_in] consists, and neither compile nor run them.

    Python traces one program at a time; compilers and processors share their work. So a program that takes long to
    compile in another thread, as by [`compile_step`][qernel.training.compile_step], is best begun after this one.
    """
    with jax.enable_x64(True):
        trace_round(*_before_moves(state, family, method, 1, mesh))


def _before_moves(state, family, method, rounds, mesh):
    """State, family and method as a burn-in of so many rounds moves the walkers with them."""
    method = dataclasses.replace(method, sampler=sampler_with_largest_chunk(method.sampler, state, family))
    start = eqx.tree_at(lambda s: s.step, state, jnp.asarray(-rounds, jnp.int32))
    if mesh is not None:
        start, family = shard_state(start, mesh), shard_family(family, mesh)
    return start, family, method.on_devices(sharing_devices(start.positions))


def train(
    state: TrainingState,
    family: Family,
    method: Method,
    steps: int,
    *,
    mesh: Mesh | None = None,
    patience: int = 10,
) -> Iterator[tuple[TrainingState, StepReport]]:
    """Train for `steps` steps, yielding `(state, report)` after each.

        for state, report in train(state, family, method, 100):
            print(report.statistics.energy)

    Runs with float64 enabled (the networks keep their dtype); the caller's setting is untouched between
    steps. The numbers depend neither on the mesh nor on how the steps are divided among calls.

    **Arguments:**

    - `mesh`: devices that share the work, from [`qernel.training.make_mesh`][]; by default the one that holds
      `state`.
    - `patience`: how many failing steps in a row are borne. A step fails if its update was not finite and
      therefore refused, or if all walkers of one Hamiltonian have non-finite local energies.

    **Raises:** `TrainingFault` when patience is exhausted, with the last good state and one that replays the
    fault.
    """
    if patience < 1:
        raise ValueError(f"patience must be at least one step, got {patience}")
    faults = 0
    last_good: TrainingState | None = None
    replay = state
    if steps:
        family, method = _prepared(state, family, method, mesh)
    for _ in range(steps):
        # Not around the yield: the caller's code must not run in our context.
        with jax.enable_x64(True):
            # A step returns its arrays where the compiler likes them; in place already, this costs nothing.
            before = state if mesh is None else shard_state(state, mesh)
            state, report = train_step(before, family, method)
            report = hosts.local(report)
            failed = step_failed(report, state.positions.shape[1])
        if not failed:
            faults, last_good = 0, state
        else:
            replay = before if faults == 0 else replay
            faults += 1
        if faults >= patience:
            raise TrainingFault(
                f"training stopped at step {int(state.step)}: {faults} steps in a row failed "
                f"({diagnose(replay, family, method)})",
                last_good,
                replay,
            )
        yield state, report


def compile_step(state: TrainingState, family: Family, method: Method, *, mesh: Mesh | None = None) -> Method:
    """Compile the larger part of the step, all after the moves, before [`train`][qernel.training.train] asks for it.

    Arguments as for `train`; nothing is run. From another thread it goes on while the walkers of the same state burn
    in, whose moves are the other part.

    **Returns:** the method with numbers in place of chunks of "auto", for `train` to find no others.
    """
    with jax.enable_x64(True):
        chunked = with_largest_chunks(method, state, family)
        family, method = _prepared(state, family, chunked, mesh)
        measure_and_update.lower(state if mesh is None else shard_state(state, mesh), family, method).compile()
    return chunked


def _prepared(state, family, method, mesh):
    """The family where the walkers will be, and the method with chunks for the devices that share them."""
    with jax.enable_x64(True):
        method = with_largest_chunks(method, state, family)
        if mesh is not None:
            family = shard_family(family, mesh)
        placed = state.positions if mesh is None else shard_walkers(state.positions, mesh)
        return family, method.on_devices(sharing_devices(placed))


def step_failed(report: StepReport, walkers: int) -> bool:
    """Whether a step was refused, or lost all `walkers` of one Hamiltonian to non-finite local energies."""
    return bool(report.refused) or bool(np.any(np.asarray(report.statistics.bad) >= walkers))


def diagnose(state: TrainingState, family: Family, method: Method) -> str:
    """What is not finite in the next step of a state, in words: parameters, walkers or terms of the energy."""
    with jax.enable_x64(True):
        for name, tree in (("parameters", state.ansatz), ("optimiser state", state.optimiser_state)):
            if not _finite(tree):
                return f"the {name} are not finite" if name == "parameters" else f"the {name} is not finite"
        if not _finite(state.positions):
            return "the walkers' positions are not finite"
        method = with_largest_chunks(method, state, family)
        positions = sample_round(state, family, method).positions
        parameters = state.in_phase(family).parameters
        energies = _measure(
            state.ansatz, family.hamiltonian, positions, parameters, method.laplacian, method.energy_chunk
        )
        bad = {
            name: int(jnp.sum(~jnp.isfinite(values)))
            for name, values in {"kinetic": energies.kinetic, **energies.potentials}.items()
        }
    named = [f"{name} in {count}" for name, count in bad.items() if count]
    if named:
        return f"not finite, in numbers of walkers: {', '.join(named)}"
    return "local energies are finite, the update is not"


_measure = compiled(local_energies)


def _finite(tree: Any) -> bool:
    return all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf))
