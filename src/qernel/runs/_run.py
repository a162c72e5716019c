"""A run: a system, a wavefunction and a method in a directory, from the first step to the report."""

import contextlib
import dataclasses
import inspect
import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from qernel import hosts
from qernel.ansatz import Ansatz, CompetingPhases, LogPsi
from qernel.evaluation import read_netcdf
from qernel.hamiltonian import Family, Points
from qernel.judgement import add_zero_variance, verdict
from qernel.observables import AbstractObservable, Observable
from qernel.plotting import draw, save_figure
from qernel.presets import Config, build, check_same_model, load, to_toml
from qernel.report import write_report
from qernel.run_directory import (
    PendingCheck,
    Problem,
    RunDirectory,
    Say,
    Settings,
    Step,
    check_results,
    check_target,
    checkpoint_steps,
    load_checkpoint,
    measure,
    nothing_said,
    provenance,
    read_training_of_phases,
    read_training_so_far,
    restore,
    start,
    train_in,
    write_results,
)
from qernel.studies.transition import TransitionFinding, draw_transition, find
from qernel.systems import System
from qernel.training import (
    Method,
    TrainingState,
    diagnose,
    largest_mesh,
    shard_family,
    shard_state,
    step_failed,
    train_step,
)

from ._psi import Psi
from ._script import how_to_open, is_script, recorded, script_identity, script_text

if TYPE_CHECKING:
    import xarray


class Run:
    """A run in a directory: train, stop, go on, measure at any point, draw, report.

    Begun with objects of one's own by [`Run.begin`][qernel.runs.Run.begin], from a configuration by
    [`Run.configured`][qernel.runs.Run.configured], or found again by [`Run.open`][qernel.runs.Run.open]. It prints
    nothing; the command line is this and words.

        run = Run.begin("runs/mine", system, ansatz, method)
        for step in run.train(300):
            print(step.number, step.energies)
        table = run.evaluate()
        run.figures()
    """

    def __init__(self, directory: RunDirectory, problem: Problem, config: Config | None = None):
        self.directory = directory
        self.problem = problem
        self.config = config
        self._state: TrainingState | None = None
        self._check: PendingCheck | None = None
        self._walkers: Any = None
        self._claim: Any = None
        self._newest = 0

    # ------------------------------------------------------------------------------------------- begin and open

    @staticmethod
    def begin(
        path: str | Path,
        system: System,
        ansatz: Ansatz,
        method: Method | None = None,
        settings: Settings | None = None,
        *,
        seed: int = 0,
        points: Points | None = None,
        resume: bool = False,
    ) -> "Run":
        """Begin a run of one's own system, wavefunction and method.

        **Arguments:**

        - `path`: of a directory in which no run lives; with `resume` a run of the same objects that lives there is
          opened instead, so that a script that was stopped goes on when it is started again.
        - `method`: sampler, optimiser and Laplacian (by default those of [`Method`][qernel.training.Method], in the
          cell of the Hamiltonian).
        - `settings`: numbers of walkers and rounds, checkpoints ([`Settings`][qernel.run_directory.Settings]).
        - `points`: where [`evaluate`][qernel.runs.Run.evaluate] measures unless it is told (default: the trained ones).

        **Raises:** `ValueError` if a run lives there already, or the wavefunction does not meet its contract at the
        system's electrons and parameters.
        """
        directory = RunDirectory(path)
        problem = _own_problem(system, ansatz, method, settings, seed, points)
        if resume and directory.begun:
            return Run._restored(directory, problem)
        return Run(directory, problem)._create(script_text(problem, provenance(" ".join(sys.argv), problem.identity)))

    @staticmethod
    def configured(config: Config, path: str | Path, *, command: str = "", problem: Problem | None = None) -> "Run":
        """Begin the run that a configuration describes; `problem` in place of the one that would be built.

        **Raises:** `ValueError` if a run lives there already, or in the user's terms for what cannot be built.
        """
        directory = RunDirectory(path)
        directory.check_free()
        problem = build(config) if problem is None else problem
        return Run(directory, problem, config)._create(
            to_toml(config, provenance(command or " ".join(sys.argv), problem.identity))
        )

    def _create(self, text: str) -> "Run":
        """Make the directory, which is this process's until the training has ended or the run is let go of."""
        if hosts.first():
            self._hold()
            self.directory.create(text, self.problem.go_on)
        return self

    def _hold(self) -> None:
        """Be the one process that trains here. Raises `ValueError` if another does, or has since this run was read."""
        if self._claim is None:
            self._claim = self.directory.claim()
        newest = max(checkpoint_steps(self.directory.checkpoints), default=0)
        if self._state is not None and newest > self._newest:
            raise ValueError(
                f"another process has trained in {self.path} up to step {newest} since it was opened: open it again"
            )

    @staticmethod
    def open(
        path: str | Path,
        system: System | None = None,
        ansatz: Ansatz | None = None,
        method: Method | None = None,
        settings: Settings | None = None,
        *,
        overrides: Sequence[str] = (),
        step: int | None = None,
        say: Say = nothing_said,
    ) -> "Run":
        """Open a run at its last checkpoint, or at that of an earlier `step`.

        A run of a configuration needs its `path` alone; `overrides` are settings that leave the model as it is, such as
        `steps=500`. Training on from an earlier `step` sets the later checkpoints aside, and a copy of the metrics. A
        run that a script made needs the script's objects: their shapes matter, not their values. Without `settings` it
        keeps those with which it was begun.

        **Raises:** `ValueError` if there is no run, no whole checkpoint, or it is one of another model.
        """
        directory = RunDirectory(path)
        if not directory.path.is_dir():
            raise ValueError(f"there is no directory {directory.path}")
        kept = directory.configuration_kept
        try:
            run = Run._opened(directory, (system, ansatz, method, settings), overrides, step, say)
            if kept and not directory.record:
                raise ValueError(f"{directory.config} does not say how the run was made: it was cut short")
        except ValueError as error:
            if not kept:
                raise
            raise ValueError(f"{error}; {kept}") from None
        if kept:
            warnings.warn(
                f"{directory.config} was changed since the run began, and is used as it is; {kept}", stacklevel=2
            )
        return run

    @staticmethod
    def _opened(
        directory: RunDirectory, objects: tuple[Any, ...], overrides: Sequence[str], step: int | None, say: Say
    ) -> "Run":
        system, ansatz, method, settings = objects
        if not directory.exists:
            raise ValueError(f"{directory.path} is not the directory of a run: it has no config.toml")
        if is_script(directory):
            if system is None or ansatz is None:
                raise ValueError(how_to_open(directory))
            if overrides:
                raise ValueError(
                    f"{directory.path} was made by a script, and no configuration describes it: give `settings`"
                )
            before, points = recorded(directory)
            return Run._restored(
                directory, _own_problem(system, ansatz, method, settings or before, 0, points), step=step, say=say
            )
        config = load(directory.config, overrides)
        check_same_model(load(directory.config), config)
        return Run._restored(directory, build(config, solve=False), config, step, say)

    @staticmethod
    def _restored(
        directory: RunDirectory,
        problem: Problem,
        config: Config | None = None,
        step: int | None = None,
        say: Say = nothing_said,
    ) -> "Run":
        """The run at a checkpoint, the last one by default, whose random numbers it goes on with."""
        newest = max(checkpoint_steps(directory.checkpoints), default=0)
        state = restore(problem, directory, say, step=step, solve=None if config is None else partial(build, config))
        run = Run(directory, dataclasses.replace(problem, key=state.key), config)
        run._state, run._newest = state, newest
        return run

    # ------------------------------------------------------------------------------------------- train

    @property
    def path(self) -> Path:
        """The directory."""
        return self.directory.path

    @property
    def step(self) -> int:
        """Number of training steps done."""
        return 0 if self._state is None else int(self._state.step)

    @property
    def state(self) -> TrainingState:
        """The state of the training: wavefunction, walkers and all else."""
        if self._state is None:
            raise ValueError(f"the run in {self.path} has not begun to train")
        return self._state

    def start(self, say: Say = nothing_said) -> None:
        """Burn the walkers in and compile the first step, if that was not done; `train` does it by itself."""
        if self._state is None:
            self.problem, self._state, self._check = start(self.problem, say, walkers=self._walkers)

    def train(self, steps: int | None = None, *, say: Say = nothing_said) -> Iterator[Step]:
        """Train, and yield every step: `for step in run.train(300): print(step.energies)`.

        Checkpoints and `metrics.csv` are kept on the way. Ctrl-C and SIGTERM are honoured after the step that runs; a
        second one stops at once. If the loop is left early, the last step is saved.

        **Arguments:** `steps`: so many more; by default up to the number in the settings.

        **Raises:** `Interrupted` after Ctrl-C, `RuntimeError` if the training goes on failing; the last good state is
        saved first.
        """
        self._hold()
        try:
            self.start(say)
            if hosts.first():
                self.directory.go_back_to(self.step)
            last = self.problem.settings.steps if steps is None else self.step + steps
            # Closed before the directory is let go of: a loop that is left early saves its last step.
            with contextlib.closing(train_in(self.directory, self.problem, self.state, last, self._check)) as training:
                for step in training:
                    self._state = step.state
                    yield step
            self._state, self._check = hosts.local(self.state), None
        finally:
            self.release()

    def release(self) -> None:
        """Let another process train in the directory; done when the training ends, or nothing refers to the run."""
        claim, self._claim = self._claim, None
        self._newest = max(checkpoint_steps(self.directory.checkpoints), default=0)
        if claim is not None:
            claim.__exit__(None, None, None)

    def repair(self, say: Say = nothing_said) -> None:
        """Take the directory to train on in it, and set damaged checkpoints aside."""
        self._hold()
        solve = None if self.config is None else partial(build, self.config)
        try:
            self._state = restore(self.problem, self.directory, say, repair=True, step=self.step, solve=solve)
        except BaseException:
            self.release()
            raise

    def record_configuration(self, command: str) -> None:
        """Write the configuration, as overrides have changed it, into the directory."""
        self._hold()
        if self.config is not None and hosts.first():
            self.directory.write_configuration(to_toml(self.config, provenance(command, self.problem.identity)))

    def continue_at(self, points: Points, path: str | Path) -> "Run":
        """Begin a new run with this wavefunction at other members: `run.continue_at({"kappa": [0.1, 0.12]}, path)`.

        It starts from the trained parameters and from the walkers of the nearest members; the conditioning keeps the
        range that it was made for.
        """
        problem, state = self.problem, self.state
        other = problem.with_points(points)
        values = other.members.points
        names = list(problem.names) * other.system.family.size if problem.names else [""] * len(values)
        nearest = [
            problem.nearest(state, values[i : i + 1], _trained(problem, state, n))[0] for i, n in enumerate(names)
        ]
        directory = RunDirectory(path)
        config = None
        if self.config is not None:
            changes = {"system": self.config.system.at(other.system.family.points), "provenance": {}}
            evaluation = self.config.evaluation.model_copy(update={"at": {}})
            config = self.config.model_copy(update=changes | {"evaluation": evaluation})
        identity = script_identity(other) if config is None else config.identity()
        other = dataclasses.replace(other, ansatz=state.averaged, identity=identity, points=None)
        made = provenance(f"continued from {self.path}, step {self.step}", identity)
        text = script_text(other, made) if config is None else to_toml(config, made)
        run = Run(directory, other, config)._create(text)
        run._walkers = jnp.asarray(np.asarray(state.positions)[np.array(nearest)])
        return run

    def replay_fault(self) -> str:
        """Repeat the first failing step of a run that stopped with a fault; says what is not finite, or nothing."""
        if not checkpoint_steps(self.directory.fault):
            return ""
        problem, method = self.problem, self.problem.method
        with jax.enable_x64(True):
            state = load_checkpoint(self.directory.fault, problem.state(solved=False), identity=problem.identity)
            # Placed as in the training, so that the same program runs.
            mesh = largest_mesh(problem.members.size, problem.settings.walkers)
            members = shard_family(problem.members_of(state), mesh)
            state = shard_state(state, mesh)
            _, report = train_step(state, members, method)
        verb = "fails again" if step_failed(report, problem.settings.walkers) else "does not fail this time"
        return f"step {int(state.step) + 1} {verb}: {diagnose(state, members, method)}"

    # ------------------------------------------------------------------------------------------- measure

    @property
    def psi(self) -> Psi:
        """The trained wavefunction: `run.psi(r, kappa=0.1)`, see [`Psi`][qernel.runs.Psi]."""
        return Psi(self.problem, self.state)

    def evaluate(
        self,
        points: Points | None = None,
        *,
        observables: Sequence[AbstractObservable] = (),
        into: str | Path | None = None,
        progress: Any = None,
    ) -> "xarray.Dataset":
        """Measure the wavefunction, write `results.nc` and `results.csv`, and return the labelled table.

        **Arguments:**

        - `points`: values of the coordinates by name, of which all combinations are measured, or a list of points; they
          need not have been trained. By default those of the settings.
        - `observables`: to be measured beside those of the system.
        - `into`: another directory for the results.
        """
        target = self.directory if into is None else RunDirectory(into)
        check_target(target, self.directory)
        values = None if points is None else self.problem.system.family.as_points(points)
        dataset = measure(self.problem, self.state, values, observables=observables, progress=progress)
        dataset = add_zero_variance(dataset, read_training_of_phases(self.directory.metrics))
        if hosts.first():
            target.path.mkdir(parents=True, exist_ok=True)
            write_results(dataset, target)
            self._draw_own((*self.problem.system.observables, *observables), dataset, target)
        return dataset

    @property
    def results(self) -> "xarray.Dataset":
        """The labelled table of the last evaluation. Raises `ValueError` if there is none, or it is another model's."""
        table = read_netcdf(self.directory.results)
        check_results(table, self.directory)
        return table

    def verdict(self, table: "xarray.Dataset | None" = None) -> list[str]:
        """What a table of the run (default: that of the last evaluation) says, in words, and what to do next."""
        record = read_training_so_far(self.directory.metrics)
        return verdict(self.results if table is None else table, record)

    def transition(self, **options: Any) -> TransitionFinding:
        """Whether, where and how the phase of matter changes: scan, train branches on, draw.

        Takes the options of [`find`][qernel.studies.transition.find]; `into` names another directory for what it
        writes.
        """
        target = RunDirectory(options.pop("into", self.path))
        check_target(target, self.directory)
        records = read_training_of_phases(self.directory.metrics)
        finding = find(self.problem, self.state, target, config=self.config, records=records, **options)
        draw_transition(target.path)
        return finding

    def figures(self) -> list[Path]:
        """Draw the figures of the last evaluation and of the training; returns their paths.

        Those that observables bring with them are among them, of the system's own here, of others when
        [`evaluate`][qernel.runs.Run.evaluate] measures them.
        """
        drawn = draw(self.path)
        if not self.directory.results.is_file():
            return drawn
        return drawn + self._draw_own(self.problem.system.observables, self.results, self.directory)

    def report(self, out: str | Path | None = None) -> Path:
        """Write one self-contained web page about the run, and return its path."""
        return write_report(self.path, out)

    @staticmethod
    def _draw_own(
        observables: Sequence[AbstractObservable], dataset: "xarray.Dataset", target: RunDirectory
    ) -> list[Path]:
        """Figures that observables bring with them."""
        drawn = []
        for observable in observables:
            if isinstance(observable, Observable) and observable.figure is not None and observable.name in dataset:
                target.figures.mkdir(parents=True, exist_ok=True)
                drawn.append(save_figure(observable.figure, dataset, target.figures / f"{observable.name}.png"))
        return drawn


def _trained(problem: Problem, state: TrainingState, name: str) -> str:
    """The phase itself, or the first that is still trained if it has retired everywhere."""
    present = dict.fromkeys(problem.phases(state))
    return name if name in present else next(iter(present))


def _own_problem(
    system: System,
    ansatz: Ansatz,
    method: Method | None,
    settings: Settings | None,
    seed: int,
    points: Points | None,
) -> Problem:
    """The problem of a script's own objects."""
    settings = Settings() if settings is None else settings
    system = system.at(_in_double(system.family))
    cell = system.family.hamiltonian.cell
    if method is None:
        method = Method()
        if cell is not None:
            sampler = dataclasses.replace(method.sampler, cell=cell)
            method = dataclasses.replace(method, sampler=sampler)
    if not 0 <= seed < 2**63:
        raise ValueError(f"a seed is a whole number from 0 to 2^63 - 1, got {seed}")
    # In 32 bits seeds would be told apart by their last digits alone.
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(seed))
    names: tuple[str, ...] = ()
    if isinstance(ansatz, CompetingPhases):
        matter = tuple(dict.fromkeys(phase.matter for phase in system.phases))
        names = matter if len(matter) == ansatz.phases else tuple(f"phase_{n + 1}" for n in range(ansatz.phases))
    problem = Problem(
        system=system,
        ansatz=ansatz,
        method=method,
        settings=settings,
        key=keys[0],
        points=None if points is None else system.family.as_points(points),
        names=names,
        walkers_key=keys[1],
        go_on="Run.open('{path}', system, ansatz, method), or the same script with Run.begin(..., resume=True)",
    )
    _check_contract(problem)
    return dataclasses.replace(problem, identity=script_identity(problem))


def _in_double(family: Family) -> Family:
    """The family with parameters in double precision, its coordinates as they were typed: a script that has not
    enabled it makes the same run as one that has."""
    real = lambda leaf: jnp.issubdtype(leaf.dtype, jnp.floating)
    if all(leaf.dtype == np.float64 for leaf in jax.tree.leaves(family.parameters) if real(leaf)):
        return family
    points = family.points

    def as_typed(parameters, point):
        for coordinate, value in zip(family.coordinates, point, strict=True):
            parameters = coordinate.at(parameters, value)
        return parameters

    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: leaf.astype(float) if real(leaf) else leaf, family.parameters)
        return dataclasses.replace(family, parameters=jax.vmap(as_typed)(wide, jnp.asarray(points)))


def _check_contract(problem: Problem) -> None:
    """Raises `ValueError` if the wavefunction cannot be evaluated at the system's electrons and parameters."""
    hamiltonian = problem.system.family.hamiltonian
    if not callable(problem.ansatz):
        raise ValueError(f"a wavefunction is called with positions and parameters: a {type(problem.ansatz)} cannot be")
    if not isinstance(problem.ansatz, eqx.Module):
        raise ValueError(f"a wavefunction is an eqx.Module, whose arrays are trained, got {type(problem.ansatz)}")
    r = jax.ShapeDtypeStruct((hamiltonian.n_electrons, hamiltonian.dim), jnp.dtype(problem.settings.dtype))
    with jax.enable_x64(True):
        parameters = problem.state_parameters()
        value = eqx.filter_eval_shape(problem.ansatz, r, parameters)
    if not isinstance(value, LogPsi) or value.log_magnitude.shape != () or value.phase.shape != ():
        found = value if not isinstance(value, LogPsi) else f"shapes {value.log_magnitude.shape}, {value.phase.shape}"
        where = inspect.getsourcefile(type(problem.ansatz)) or "?"
        raise ValueError(
            f"the wavefunction {type(problem.ansatz).__name__} ({where}) must return a LogPsi of two numbers for one "
            f"configuration of shape {r.shape}, got {found}"
        )
