"""The loop around the step: one generator, for scripts and for the command line."""

import dataclasses
import time
from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from qernel import hosts
from qernel.chunks import sharing_devices
from qernel.hamiltonian import Family

from ._chunks import sampler_with_largest_chunk, with_largest_chunks
from ._diagnose import diagnose
from ._mesh import shard_family, shard_state, shard_walkers
from ._state import Method, StepReport, TrainingState
from ._step import measure_and_update, move_walkers, sample_round, step_from, trace_round


class TrainingFault(RuntimeError):
    """A run that went on failing for longer than its patience.

    `last_good` is the last state from which a step went well (None if the first one failed): what a step leaves is
    known to be good only when the next one has measured it. `replay` is the state that makes `train_step` fail again,
    and `measured` says whether the last of the failing steps still had finite energies of every Hamiltonian.
    """

    def __init__(self, message: str, last_good: TrainingState | None, replay: TrainingState, *, measured: bool = False):
        # RuntimeError's own initialiser, called plainly: the message is all it keeps.
        RuntimeError.__init__(self, message)
        self.last_good = last_good
        self.replay = replay
        self.measured = measured


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

    **Raises:** `TrainingFault` after the step that exhausts the patience, with the last good state and one that
    replays the fault.
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
            state, report = _timed_step(before, family, method)
            failed = step_failed(report, state.positions.shape[1])
        if not failed:
            faults, last_good = 0, before
        else:
            replay = before if faults == 0 else replay
            faults += 1
        # The one that exhausts the patience as well: whoever keeps a table has its row.
        yield state, report
        if faults >= patience:
            raise TrainingFault(
                f"training stopped at step {int(state.step)}: {faults} steps in a row failed "
                f"({diagnose(replay, family, method)})",
                last_good,
                replay,
                measured=step_measured(report, state.positions.shape[1]),
            )


def _timed_step(state, family, method):
    """A step whose report is there, on this host, with the seconds that its two programs took."""
    begun = time.perf_counter()
    walkers = sample_round(state, family, method)
    # A CPU does what is small at once, and all else later.
    at_once = walkers.acceptance.is_ready()  # pyright: ignore[reportAttributeAccessIssue]
    moved = time.perf_counter() if at_once else None
    state, report = step_from(walkers, state, family, method)
    if moved is None:
        # Both programs are on their way: to wait for the first one before the second costs nothing.
        jax.block_until_ready(walkers.acceptance)
        moved = time.perf_counter()
    report = jax.block_until_ready(hosts.local(report))
    times = {"seconds": time.perf_counter() - begun, "sampling_seconds": moved - begun}
    return state, dataclasses.replace(report, **times)


def compile_step(state: TrainingState, family: Family, method: Method, *, mesh: Mesh | None = None) -> Method:
    """Compile the larger part of the step, all after the moves, before [`train`][qernel.training.train] asks for it.

    Arguments as for `train`; nothing is run. From another thread it goes on while the walkers of the same state burn
    in, whose moves are the other part.

    **Returns:** the method with numbers in place of chunks of "auto", for `train` to find no others.
    """
    with jax.enable_x64(True):
        chunked = with_largest_chunks(method, state, family)
        family, method = _prepared(state, family, chunked, mesh)
        lost = jnp.zeros(state.positions.shape[:2], bool)
        if mesh is not None:
            state, lost = shard_state(state, mesh), shard_walkers(lost, mesh)
        measure_and_update.lower(state, lost, family, method).compile()
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
    return bool(report.refused) or not step_measured(report, walkers)


def step_measured(report: StepReport, walkers: int) -> bool:
    """Whether some of the `walkers` of each Hamiltonian had a finite local energy."""
    return bool(np.all(np.asarray(report.statistics.bad) < walkers))
