"""Train inside a run directory: checkpoints, metrics, progress, interruption, faults."""

import dataclasses
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from rich.console import Console

from qernel import hosts
from qernel.check import LaplacianCheck, compiled_check
from qernel.presets import Problem
from qernel.check import LaplacianCheck, compiled_check
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
from ._run_directory import MetricsWriter, RunDirectory, read_metrics

from qernel.cli import Interrupted
from ._interruption import Interruption
from qernel.cli import TrainingProgress


class PendingCheck:
    """Is the forward Laplacian the exact one? Compiled by another thread, from when it is first asked for, and answered
    between two steps."""

    def __init__(self, problem: Problem):
        self._problem = problem
        self._compiling: Future[Callable[[], LaplacianCheck]] | None = None
        self._settled = False

    def settle(self, *, wait: bool) -> None:
        """Compare, if the programs are there or `wait` says to wait for them. Raises `RuntimeError` if they differ."""
        if self._settled:
            return
        if self._compiling is None:
            other, problem = ThreadPoolExecutor(1), self._problem
            asked = (problem.ansatz, problem.family.parameters, problem.positions, problem.method.laplacian)
            self._compiling = other.submit(compiled_check, *asked)
            other.shutdown(wait=False)
        if not (wait or self._compiling.done()):
            return
        check, self._settled = self._compiling.result()(), True
        if not check.passed:
            raise RuntimeError(
                f"the forward Laplacian differs from the exact one by {check.difference:.1e} (relative) on two "
                "walkers: the energies are wrong, and training them was stopped"
            )


def start(problem: Problem, console: Console) -> tuple[Problem, TrainingState, PendingCheck]:
    """The state before the first step, its walkers burnt in while another thread compiles the step; the problem, with
    the chunks that it is compiled with; and the comparison of its Laplacian with the exact one, for which the first
    steps need not wait."""
    sampling, family, method = problem.config.sampling, problem.family, problem.method
    mesh = largest_mesh(family.size, sampling.walkers)
    if mesh.size < jax.device_count():
        console.print(
            f"using {mesh.size} of {jax.device_count()} devices: {family.size} depths with "
            f"{sampling.walkers} walkers each cannot be shared evenly by more",
            soft_wrap=True,
        )
    state = hosts.from_first(problem.state())
    check = PendingCheck(problem)
    if hosts.several():
        # What several processes say to one another must come in one order.
        with console.status("comparing the forward Laplacian with the exact one"):
            check.settle(wait=True)
    with ThreadPoolExecutor(1) as other, console.status(f"burning in {sampling.walkers} walkers at each depth") as now:
        compiling = None
        if not hosts.several():
            trace_moves(state, family, method, mesh=mesh)
            compiling = other.submit(compile_step, state, family, method, mesh=mesh)
        state = burn_in(state, family, method, sampling.burn_in, mesh=mesh)
        if compiling is not None:
            now.update("compiling the training step")
            problem = dataclasses.replace(problem, method=compiling.result())
    return problem, state, check


def restore(
    problem: Problem, directory: RunDirectory, console: Console, *, repair: bool
) -> tuple[Problem, TrainingState]:
    """The newest whole checkpoint of a run, and the problem with the phases that still compete in it.

    Damaged checkpoints are named, and set aside if the run is to go on.
    """
    damaged: list[int] = []

    def on_damage(step: int, reason: str) -> None:
        damaged.append(step)
        console.print(f"warning: the checkpoint of step {step} is damaged ({reason}); using the one before")

    if not directory.exists:
        raise ValueError(f"{directory.path} is not the directory of a run: it has no config.toml")
    if not checkpoint_steps(directory.checkpoints):
        raise ValueError(f"{directory.path} has no checkpoint")
    with jax.enable_x64(True):
        state = load_checkpoint(
            directory.checkpoints, problem.state(), identity=problem.config.identity(), on_damage=on_damage
        )
    for step in damaged if repair and hosts.first() else ():
        set_damaged_aside(directory.checkpoints, step)
    return in_recorded_phases(problem, directory, int(state.step)), state


def in_recorded_phases(problem: Problem, directory: RunDirectory, *steps: int) -> Problem:
    """The problem with the phases that were trained at the first of these steps that is on record.

    Raises `ValueError` if none is.
    """
    if not problem.phases or steps[-1] == 0:
        return problem
    recorded: dict[int, list[str]] = {}
    for row in read_metrics(directory.metrics):
        recorded.setdefault(int(row["step"]), []).append(row["phase"])
    names = next((recorded[step] for step in steps if len(recorded.get(step, ())) == problem.family.size), None)
    if names is None:
        raise ValueError(f"{directory.metrics} does not say which phases were trained at step {steps[-1]}")
    return problem.with_phases(names)


def train_in(
    directory: RunDirectory,
    problem: Problem,
    state: TrainingState,
    console: Console,
    check: PendingCheck | None = None,
) -> tuple[Problem, TrainingState]:
    """Train to the configured number of steps; returns the problem with the phases that competed to the end.

    No step is saved before the `check` has been passed, but the last good one before a fault.

    **Raises:** `Interrupted` after Ctrl-C, `RuntimeError` for a fault; the last good state is saved first.
    """
    config = problem.config
    first, last = int(state.step), config.training.steps
    settings = config.training
    if first >= last:
        if check is not None:
            check.settle(wait=True)
        with CheckpointWriter(directory.checkpoints, keep=settings.keep, identity=config.identity()) as writer:
            writer.save(first, state)
        return problem, state
    depths, phases = zip(*problem.rows, strict=True)
    scale = problem.material.hartree_meV / problem.electrons
    with (
        CheckpointWriter(directory.checkpoints, keep=settings.keep, identity=config.identity()) as writer,
        MetricsWriter(
            directory.metrics,
            depths,
            phases=phases,
            hartree_meV=problem.material.hartree_meV,
            electrons=problem.electrons,
            after_step=first,
        ) as metrics,
        Interruption() as interruption,
    ):
        writer.save(first, state)
        try:
            with TrainingProgress(console, config.system.depths_meV, first, last) as progress:
                steps = _steps(directory, problem, state, last)
                for number, (problem, state, report) in enumerate(steps, first + 1):
                    report = jax.device_get(report)
                    metrics.phases = tuple(name for _, name in problem.rows)
                    metrics.write(number, report)
                    statistics = report.statistics
                    progress.update(
                        number,
                        np.asarray(statistics.energy) * scale,
                        report.acceptance,
                        int(statistics.bad.sum()),
                    )
                    # A failing state must not push a good one out of the last few.
                    good = not step_failed(report, config.sampling.walkers)
                    wanted = number % settings.checkpoint_every == 0 or number == last
                    stop = _any_asked(interruption)
                    if check is not None:
                        check.settle(wait=bool(wanted or stop))
                    if good and (wanted or stop):
                        writer.save(number, state)
                    if stop:
                        writer.wait()
                        raise Interrupted(interrupted_message(directory, stop))
        except TrainingFault as fault:
            if fault.last_good is not None:
                writer.save(int(fault.last_good.step), fault.last_good)
            writer.wait()
            save_fault(directory, fault.replay, config.identity())
            saved = checkpoint_steps(directory.checkpoints)
            raise RuntimeError(
                f"{fault}; the last good state is the checkpoint of step {saved[-1]}, and "
                f"'qernel doctor {directory.path}' replays the fault"
            ) from None
    return problem, hosts.local(state)


def _any_asked(interruption: Interruption) -> str:
    """The name of the signal that one of the processes has received; of several, all stop at the same step."""
    number = 0 if interruption.requested is None else int(interruption.requested)
    number = hosts.largest(number)
    return signal.Signals(number).name if number else ""


def _steps(
    directory: RunDirectory, problem: Problem, state: TrainingState, last: int
) -> Iterator[tuple[Problem, TrainingState, StepReport]]:
    """The steps up to `last`, with those phases retired on the way that cannot win."""
    config = problem.config
    mesh = largest_mesh(problem.family.size, config.sampling.walkers)
    decision = round(config.training.competition * last) if problem.phases else last
    for end in sorted({decision, last}):
        count, patience = max(0, end - int(state.step)), config.training.patience
        for new, report in train(state, problem.family, problem.method, count, mesh=mesh, patience=patience):
            state = new
            yield problem, state, report
        if int(state.step) == decision < last:
            problem, state = _retire(directory, problem, state)


def _retire(directory: RunDirectory, problem: Problem, state: TrainingState) -> tuple[Problem, TrainingState]:
    """Leave to the phases that are much the higher ones, over the last third of the steps, no walkers."""
    late: dict[str, list[float]] = {}
    for row in read_metrics(directory.metrics) if hosts.first() else ():
        if 2 * int(state.step) < 3 * int(row["step"]) <= 3 * int(state.step):
            late.setdefault(row["step"], []).append(float(row["energy"]))
    energies = np.nanmean(np.array(list(late.values())), axis=0) if late else np.zeros(problem.family.size)
    energies = hosts.from_first(energies)
    margin = problem.config.training.margin_meV
    state, family = retire_phases(
        hosts.local(state), problem.family, energies, phases=len(problem.phases), margin=margin
    )
    return dataclasses.replace(problem, family=family), state


def interrupted_message(directory: RunDirectory, signal: str) -> str:
    """What is said after Ctrl-C."""
    steps: Sequence[int] = checkpoint_steps(directory.checkpoints)
    saved = f"saved step {steps[-1]}" if steps else "nothing was saved yet"
    return f"stopped by {signal}: {saved}; continue with: qernel resume {directory.path}"


def save_fault(directory: RunDirectory, replay: TrainingState, identity: dict[str, Any]) -> None:
    """Keep the state before the first failing step, which `train_step` makes fail again."""
    shutil.rmtree(directory.fault, ignore_errors=True)
    with CheckpointWriter(directory.fault, keep=1, identity=identity) as writer:
        writer.save(int(replay.step), replay)
