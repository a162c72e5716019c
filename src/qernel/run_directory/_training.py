"""Train inside a run directory: start, restore, step after step with checkpoints, metrics, interruption and faults."""

import contextlib
import dataclasses
import itertools
import shutil
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import jax
from jaxtyping import Array, Float

from qernel import hosts
from qernel.training import (
    StepReport,
    TrainingFault,
    TrainingState,
    burn_in,
    compile_step,
    diagnose,
    largest_mesh,
    reallocate,
    step_failed,
    step_measured,
    trace_moves,
    train,
)

from ._checkpoint import (
    CheckpointError,
    CheckpointWriter,
    SaveError,
    checkpoint_steps,
    load_checkpoint,
    set_damaged_aside,
)
from ._health import Health
from ._interruption import Interrupted, Interruption
from ._laplacian_check import PendingCheck
from ._lock import Lock
from ._metrics import MetricsWriter
from ._problem import Problem, Settings
from ._run_directory import RunDirectory
from ._step import Step

Say = Callable[[str], None]


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
        raise ValueError(
            f"{directory.path} has no checkpoint: the run ended before its first step; begin it again there, as before"
        )
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

    A step measures the parameters that the one before it left: so a state is known to be good when the next step has
    gone well, and its checkpoint is written then, one step later. At the end, after Ctrl-C, and if the caller stops
    asking for steps, the state after the last step is saved as well, although nothing has measured it; one that was
    good stays beside it. No step is saved before the `check` has been passed, but the last good one before a fault.

    What is off is said as a `UserWarning`, see [`Health`][qernel.run_directory.Health].

    **Raises:** `Interrupted` after Ctrl-C; `RuntimeError` for a fault, when the last good state has been saved. A
    training whose last step measured nothing finite has ended with a fault.
    """
    with (
        directory.claim() as claim,
        Interruption() as interruption,
        _telling(directory, problem),
        _Keeper(directory, problem, state, claim) as keeper,
    ):
        if int(state.step) >= last and check is not None:
            check.settle(wait=True)
        keeper.begin()
        try:
            for new, report, measured in _steps(problem, state, last):
                step = keeper.record(new, report, measured)
                for sentence in keeper.sentences if hosts.first() else ():
                    warnings.warn(sentence, stacklevel=2)
                stop = interruption.asked()
                ends = bool(stop) or step.number == last
                if check is not None:
                    check.settle(wait=ends or keeper.is_due)
                keeper.save_due()
                if ends:
                    keeper.save_last()
                # Shown before it is the last: the caller holds the state that is on disk.
                yield step
                if stop:
                    raise Interrupted(keeper.interrupted(stop))
            keeper.check_end()
        except Interrupted:
            raise
        except (GeneratorExit, KeyboardInterrupt) as end:
            # The caller asks for no more steps, or a second signal came: what was reached is not lost.
            if check is not None:
                check.settle(wait=True)
            keeper.save_last()
            if isinstance(end, GeneratorExit):
                raise
            raise Interrupted(keeper.interrupted(interruption.asked() or "SIGINT")) from None
        except TrainingFault as fault:
            raise RuntimeError(keeper.fault(str(fault), fault.replay, fault.measured)) from None


@contextlib.contextmanager
def _telling(directory: RunDirectory, problem: Problem) -> Iterator[None]:
    """Say how to go on where something could not be written: the disk is full, say."""
    try:
        yield
    except (SaveError, OSError) as error:
        what = f"cannot write in {directory.path}: {error.strerror or error}" if isinstance(error, OSError) else error
        raise RuntimeError(f"{what}; continue with: {problem.go_on.format(path=directory.path)}") from None


class _Keeper:
    """What a training leaves in its directory: checkpoints, metrics, the state that replays a fault."""

    def __init__(self, directory: RunDirectory, problem: Problem, state: TrainingState, claim: Lock | None):
        self._directory, self._problem, self._claim = directory, problem, claim
        settings, members = problem.settings, problem.members
        names = [coordinate.name for coordinate in members.coordinates]
        # The newest may be one that nothing has measured yet: another one beside it.
        self._checkpoints = CheckpointWriter(
            directory.checkpoints, keep=max(2, settings.keep), identity=problem.identity
        )
        self._metrics = MetricsWriter(
            directory.metrics, names, members.points, scale=problem.scale, after_step=int(state.step)
        )
        self._health = Health(problem)
        self.sentences: list[str] = []
        # The newest state, the newest from which a step went well, and the one before the first of the last failures.
        self._begun = self._saved = int(state.step)
        self._newest = state
        self._good: TrainingState | None = None
        self._failing: TrainingState | None = None
        self._measured, self._ever_measured = True, False
        self._due: TrainingState | None = None

    def __enter__(self) -> "_Keeper":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._metrics.__exit__(kind, error, trace)
        finally:
            self._checkpoints.close()

    def begin(self) -> None:
        """Save the state before the first step, unless it was read, and wait for it: a run that has taken a step can be
        gone on with, whenever it is killed."""
        self._checkpoints.save(self._begun, self._newest)
        self._checkpoints.wait()

    def record(self, state: TrainingState, report: StepReport, measured: TrainingState) -> Step:
        """Write the metrics of a step, look for what is off, and note what the step says of the state before it."""
        step = Step.of(self._problem, state, report, measured)
        self._metrics.write(step.number, step.report, step.phases, step.members)
        self.sentences = self._health.look(step)
        walkers = self._problem.settings.walkers
        before, self._newest = self._newest, state
        self._measured = step_measured(step.report, walkers)
        self._ever_measured |= self._measured
        if step_failed(step.report, walkers):
            self._failing = before if self._failing is None else self._failing
        else:
            self._good, self._failing = before, None
            if step.number - 1 > self._begun and (step.number - 1) % self._problem.settings.checkpoint_every == 0:
                self._due = before
        return step

    @property
    def is_due(self) -> bool:
        """Whether there is a state to be saved, known to be good."""
        return self._due is not None

    def save_due(self) -> None:
        """Save the state that is due: an earlier one than the newest."""
        if self._due is not None:
            self._save(self._due)
            self._due = None

    def save_last(self) -> None:
        """Save the newest state; if the last step measured nothing finite, the newest good one in its place."""
        state = self._newest if self._measured else self._good
        if state is not None:
            self._save(state)

    def _save(self, state: TrainingState) -> None:
        # A save that is still under way is not on the disk yet.
        if int(state.step) == self._saved:
            return
        if self._claim is not None:
            self._claim.check()
        # A checkpoint says that the table is whole up to its step.
        self._metrics.sync()
        self._saved = int(state.step)
        self._checkpoints.save(self._saved, state)

    def interrupted(self, signal: str) -> str:
        """The message after Ctrl-C, when the last state is on disk."""
        self._checkpoints.wait()
        steps, path = checkpoint_steps(self._directory.checkpoints), self._directory.path
        saved = f"saved step {steps[-1]}" if steps else "nothing was saved yet"
        return f"stopped by {signal}: {saved}; continue with: {self._problem.go_on.format(path=path)}"

    def check_end(self) -> None:
        """Raises `RuntimeError` if the last step measured nothing finite: what it left is no wavefunction."""
        if self._measured or self._failing is None:
            return
        number, problem = int(self._newest.step), self._problem
        count = number - int(self._failing.step)
        reason = diagnose(self._failing, problem.members_of(self._failing), problem.method)
        steps = "the last step" if count == 1 else f"the last {count} steps"
        message = f"training ended at step {number}, and {steps} failed ({reason})"
        raise RuntimeError(self.fault(message, self._failing, False))

    def fault(self, message: str, replay: TrainingState, measured: bool) -> str:
        """Save the last good state and the one before the first failing step; the message for the user."""
        directory = self._directory
        if self._good is not None:
            self._save(self._good)
        self._checkpoints.wait()
        if hosts.first():
            shutil.rmtree(directory.fault, ignore_errors=True)
        hosts.wait("fault")
        with CheckpointWriter(directory.fault, keep=1, identity=self._problem.identity) as writer:
            writer.save(int(replay.step), replay)
        saved = checkpoint_steps(directory.checkpoints)
        aside = ""
        if not (measured or self._ever_measured) and saved[-1] == self._begun:
            # An earlier training left it without another step, which would have shown it.
            good = self._newest_that_measures(saved[:-1])
            if good is None:
                numbers = ", ".join(map(str, saved))
                return (
                    f"{message}; nothing finite is measured from any checkpoint ({numbers}): the wavefunction, the "
                    f"potential or the machine is to blame, not a step of the training; 'qernel doctor "
                    f"{directory.path}' replays the fault"
                )
            aside = self._set_aside([step for step in saved if step > good])
            saved = checkpoint_steps(directory.checkpoints)
        *before, newest = saved
        earlier = f" (earlier ones, for --step: {', '.join(map(str, before))})" if before else ""
        go_on = self._problem.go_on.format(path=directory.path)
        return (
            f"{message}; {aside}the last good state is the checkpoint of step {newest}{earlier}; go on from it "
            f"with: {go_on}; 'qernel doctor {directory.path}' replays the fault"
        )

    def _newest_that_measures(self, steps: tuple[int, ...]) -> int | None:
        """The newest of the checkpoints from which a step measures something finite."""
        problem, folder = self._problem, self._directory.checkpoints
        like = problem.state(solved=False)
        for number in reversed(steps):
            with contextlib.suppress(CheckpointError):
                state = load_checkpoint(folder, like, step=number, on_damage=lambda *_: None)
                if _measures(problem, state):
                    return number
        return None

    def _set_aside(self, steps: list[int]) -> str:
        """Rename checkpoints, and say so."""
        self._checkpoints.close()
        for number in steps if hosts.first() else ():
            set_damaged_aside(self._directory.checkpoints, number)
        hosts.wait("aside")
        return f"the checkpoint of step {steps[-1]}, from which nothing finite is measured, was set aside; "


def _measures(problem: Problem, state: TrainingState) -> bool:
    """Whether a step from a state has finite energies of every member; by the program of the training."""
    walkers = problem.settings.walkers
    mesh = largest_mesh(problem.members.size, walkers)
    with jax.enable_x64(True):
        *_, (_, report) = train(state, problem.members_of(state), problem.method, 1, mesh=mesh, patience=2)
    return step_measured(report, walkers)


def _steps(
    problem: Problem, state: TrainingState, last: int
) -> Iterator[tuple[TrainingState, StepReport, TrainingState]]:
    """The steps up to `last`, and the state with the rows that each measured: on the way those of phases that cannot
    win are given to others."""
    settings = problem.settings
    mesh = largest_mesh(problem.members.size, settings.walkers)
    decisions = _decisions(settings) if problem.names else ()
    for end in sorted({end for end in (*decisions, last) if int(state.step) < end <= last}):
        count, members = end - int(state.step), problem.members_of(state)
        for new, report in train(state, members, problem.method, count, mesh=mesh, patience=settings.patience):
            state = new
            if end in decisions and end == int(state.step):
                # Before it is handed on, so that a checkpoint of this step knows the outcome.
                margin = settings.margin / problem.scale
                state = reallocate(hosts.local(state), phases=len(problem.names), margin=margin)
            yield state, report, new


def _decisions(settings: Settings) -> tuple[int, ...]:
    """Steps after which rows are given out anew: a share of the training, and each time twice as many."""
    first = round(settings.competition * settings.steps)
    later = itertools.takewhile(lambda step: step < settings.steps, (first * 2**n for n in itertools.count(1)))
    return (first, *later) if first else ()
