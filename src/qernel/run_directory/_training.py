"""Train inside a run directory: start, restore, step after step with checkpoints, metrics, interruption and faults."""

import dataclasses
import shutil
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import jax
import numpy as np
from jaxtyping import Array, Float

from qernel import hosts
from qernel.training import (
    StepReport,
    TrainingFault,
    TrainingState,
    burn_in,
    compile_step,
    largest_mesh,
    retire_phases,
    step_failed,
    trace_moves,
    train,
)

from ._checkpoint import CheckpointWriter, checkpoint_steps, load_checkpoint, set_damaged_aside
from ._interruption import Interrupted, Interruption
from ._laplacian_check import PendingCheck
from ._metrics import MetricsWriter
from ._problem import Problem
from ._run_directory import RunDirectory

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a training, as its progress shows it.

    - `number`: of the step; `state`: after it; `report`: what it measured, in effective Hartree.
    - `energies`, `acceptance`: of every member, per electron in the system's unit; `phases`: of these.
    - `bad`: walkers whose energy was not finite.
    """

    number: int
    state: TrainingState
    report: StepReport
    energies: Float[np.ndarray, " members"]
    acceptance: Float[np.ndarray, " members"]
    phases: list[str]
    bad: int

    @staticmethod
    def of(problem: Problem, state: TrainingState, report: StepReport, phases: list[str] | None = None) -> "Step":
        """The step of a problem that [`train`][qernel.training.train] yielded as `(state, report)`.

        `phases` are those that it measured, where the state after it has others.
        """
        report = jax.device_get(report)
        energies = np.asarray(report.statistics.energy, np.float64) * problem.scale
        bad = int(report.statistics.bad.sum())
        phases = problem.phases(state) if phases is None else phases
        return Step(int(state.step), state, report, energies, np.asarray(report.acceptance), phases, bad)


def nothing_said(text: str) -> None:
    """Keep a sign of life to oneself."""
    del text


def start(
    problem: Problem, say: Say = nothing_said, *, walkers: Float[Array, "members walkers electrons dim"] | None = None
) -> tuple[Problem, TrainingState, PendingCheck]:
    """Burn the walkers in while another thread compiles the step.

    **Returns:** the problem, with the chunks that its step is compiled with; the state before the first step; and the
    comparison of its Laplacian with the exact one, for which the first steps need not wait. `say` hears what is going
    on; `walkers` start instead of the system's.
    """
    settings, method = problem.settings, problem.method
    members = problem.members
    mesh = largest_mesh(members.size, settings.walkers)
    if mesh.size < jax.device_count():
        say(
            f"using {mesh.size} of {jax.device_count()} devices: {members.size} members with "
            f"{settings.walkers} walkers each cannot be shared evenly by more"
        )
    state = hosts.from_first(problem.state(walkers=walkers))
    check = PendingCheck(problem, state)
    if hosts.several():
        # What several processes say to one another must come in one order.
        say("comparing the forward Laplacian with the exact one")
        check.settle(wait=True)
    say(f"burning in {settings.walkers} walkers of each member")
    with ThreadPoolExecutor(1) as other:
        compiling = None
        if not hosts.several():
            trace_moves(state, members, method, mesh=mesh)
            compiling = other.submit(compile_step, state, members, method, mesh=mesh)
        state = burn_in(state, members, method, settings.burn_in, mesh=mesh)
        if compiling is not None:
            say("compiling the training step")
            problem = dataclasses.replace(problem, method=compiling.result())
    return problem, state, check


def restore(
    problem: Problem,
    directory: RunDirectory,
    say: Say = nothing_said,
    *,
    repair: bool = False,
    step: int | None = None,
    solve: Callable[[], Problem] | None = None,
) -> TrainingState:
    """Read the newest whole checkpoint of a run, or that of a `step`. Damaged ones are named, and with `repair` set
    aside. `solve` makes the problem with its mean-field orbitals, should those on disk be damaged.

    **Raises:** `ValueError` if there is no run, no checkpoint, or it is of another model.
    """
    damaged: list[int] = []

    def on_damage(step: int, reason: str) -> None:
        damaged.append(step)
        say(f"warning: the checkpoint of step {step} is damaged ({reason}); using the one before")

    if not directory.exists:
        raise ValueError(f"{directory.path} is not the directory of a run: it has no config.toml")
    if not checkpoint_steps(directory.checkpoints):
        raise ValueError(f"{directory.path} has no checkpoint")
    with jax.enable_x64(True):
        like = problem.state(solved=False)
        state = load_checkpoint(directory.checkpoints, like, identity=problem.identity, step=step, on_damage=on_damage)
    for step in damaged if repair and hosts.first() else ():
        set_damaged_aside(directory.checkpoints, step)
    return state


def _solved(solve: Callable[[], Problem], say: Say) -> Problem:
    say("warning: the mean-field orbitals on disk are damaged; solving for them again")
    return solve()


def train_in(
    directory: RunDirectory,
    problem: Problem,
    state: TrainingState,
    last: int,
    check: PendingCheck | None = None,
) -> Generator[Step, None, None]:
    """Train up to the step `last` in a run directory, and yield every step.

    No step is saved before the `check` has been passed, but the last good one before a fault. If the caller stops
    asking for steps, the last one is saved.

    **Raises:** `Interrupted` after Ctrl-C, `RuntimeError` for a fault; the last good state is saved first.
    """
    settings = problem.settings
    with _Keeper(directory, problem, state) as keeper, Interruption() as interruption:
        if int(state.step) >= last and check is not None:
            check.settle(wait=True)
        keeper.save(state)
        try:
            for new, report, phases in _steps(problem, state, last):
                step = keeper.record(new, report, phases)
                wanted = step.number % settings.checkpoint_every == 0 or step.number == last
                stop = interruption.asked()
                if check is not None:
                    check.settle(wait=bool(wanted or stop))
                if wanted or stop:
                    keeper.save_good(step)
                # Shown before it is the last: the caller holds the state that is on disk.
                yield step
                if stop:
                    raise Interrupted(keeper.interrupted(stop))
        except GeneratorExit:
            # The caller asks for no more steps: what was reached is not lost.
            if check is not None:
                check.settle(wait=True)
            keeper.save_last()
            raise
        except TrainingFault as fault:
            raise RuntimeError(keeper.fault(fault)) from None


class _Keeper:
    """What a training leaves in its directory: checkpoints, metrics, the state that replays a fault."""

    def __init__(self, directory: RunDirectory, problem: Problem, state: TrainingState):
        self._directory, self._problem = directory, problem
        settings, members = problem.settings, problem.members
        names = [coordinate.name for coordinate in members.coordinates]
        self._checkpoints = CheckpointWriter(directory.checkpoints, keep=settings.keep, identity=problem.identity)
        self._metrics = MetricsWriter(
            directory.metrics, names, members.points, scale=problem.scale, after_step=int(state.step)
        )
        self._unsaved: Step | None = None

    def __enter__(self) -> "_Keeper":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._metrics.__exit__(kind, error, trace)
        self._checkpoints.close()

    def record(self, state: TrainingState, report: StepReport, phases: list[str]) -> Step:
        """Write the metrics of a step."""
        self._unsaved = step = Step.of(self._problem, state, report, phases)
        self._metrics.write(step.number, step.report, step.phases)
        return step

    def save(self, state: TrainingState) -> None:
        """Save a state."""
        self._checkpoints.save(int(state.step), state)

    def save_good(self, step: Step) -> None:
        """Save the state after a step, unless the step failed: it must not push a good one out of the last few."""
        if not step_failed(step.report, self._problem.settings.walkers):
            self.save(step.state)
            self._unsaved = None

    def save_last(self) -> None:
        """Save the state after the last step, unless it is saved or the step failed."""
        if self._unsaved is not None:
            self.save_good(self._unsaved)

    def interrupted(self, signal: str) -> str:
        """The message after Ctrl-C, when the last state is on disk."""
        self._checkpoints.wait()
        steps, path = checkpoint_steps(self._directory.checkpoints), self._directory.path
        saved = f"saved step {steps[-1]}" if steps else "nothing was saved yet"
        return f"stopped by {signal}: {saved}; continue with: {self._problem.go_on.format(path=path)}"

    def fault(self, fault: TrainingFault) -> str:
        """Save the last good state and the one before the first failing step; the message for the user."""
        if fault.last_good is not None:
            self.save(fault.last_good)
        self._checkpoints.wait()
        shutil.rmtree(self._directory.fault, ignore_errors=True)
        with CheckpointWriter(self._directory.fault, keep=1, identity=self._problem.identity) as writer:
            writer.save(int(fault.replay.step), fault.replay)
        saved = checkpoint_steps(self._directory.checkpoints)
        return (
            f"{fault}; the last good state is the checkpoint of step {saved[-1]}, and "
            f"'qernel doctor {self._directory.path}' replays the fault"
        )


def _steps(problem: Problem, state: TrainingState, last: int) -> Iterator[tuple[TrainingState, StepReport, list[str]]]:
    """The steps up to `last`, with those phases retired on the way that cannot win; and the phases of each."""
    settings, members = problem.settings, problem.members
    mesh = largest_mesh(members.size, settings.walkers)
    decision = round(settings.competition * settings.steps) if problem.names else 0
    ends = [end for end in (decision, last) if int(state.step) < end <= last]
    for end in dict.fromkeys(ends):
        count = end - int(state.step)
        for new, report in train(state, members, problem.method, count, mesh=mesh, patience=settings.patience):
            state, phases = new, problem.phases(new)
            if end == decision == int(state.step):
                # Before it is handed on, so that a checkpoint of this step knows the outcome.
                margin = settings.margin / problem.scale
                state = retire_phases(hosts.local(state), phases=len(problem.names), margin=margin)
            yield state, report, phases
