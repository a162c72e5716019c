"""Runs of a script's own objects in a directory: begun, stopped, gone on with, measured, drawn, reported."""

import dataclasses
import json
import os
import shutil
import signal
import warnings
from typing import NamedTuple

import blackjax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array

from qernel.ansatz import CompetingPhases, LogPsi, qernel
from qernel.cli import main
from qernel.evaluation import axes_of, points_of
from qernel.exact import ground_energy
from qernel.hamiltonian import Coordinate, Family, Hamiltonian, Harmonic, HarmonicPair, Kinetic, in_phases
from qernel.layers import OpenEmbedding
from qernel.observables import Observable
from qernel.optimise import AbstractOptimiser, FirstOrder, Update
from qernel.orbitals import HarmonicOrbitals
from qernel.run_directory import checkpoint_steps, read_metrics
from qernel.runs import Interrupted, Run, Settings
from qernel.sampling import Sampler
from qernel.systems import Phase, System
from qernel.training import Method


@pytest.fixture(autouse=True, scope="module")
def quick_to_compile():
    """A handful of steps needs no fast program."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


# --------------------------------------------------------------------------- what a script makes

COMPACT, CHAIN = ((0, 0), (1, 0), (0, 1)), ((0, 0), (1, 0), (2, 0))
OMEGA = Coordinate("omega_y", "omega_y", symbol="ω_y", latex=r"\omega_y", label="frequency across the trap")
KAPPA = Coordinate("kappa", "kappa", symbol="κ", latex=r"\kappa", label="strength of the interaction", linear=True)
PLANE = {"omega_y": [1.4, 2.6], "kappa": [0.1, 0.3]}


def frequencies(parameters):
    return jnp.stack([jnp.ones_like(parameters["omega_y"]), parameters["omega_y"]])


def lengths(parameters):
    return frequencies(parameters) ** -0.5


def strength(parameters):
    return parameters["kappa"]


def trap(points=None, coordinates=(OMEGA, KAPPA)):
    """Three electrons in a harmonic trap of two dimensions with harmonic forces, in a plane of two coordinates."""
    hamiltonian = Hamiltonian(
        Kinetic(), {"trap": Harmonic(frequencies), "interaction": HarmonicPair(strength)}, (3, 0), dim=2
    )
    return Family.of(hamiltonian, {"omega_y": 1.9, "kappa": 0.2}, coordinates, PLANE if points is None else points)


class Trial(eqx.Module):
    """One determinant of oscillator levels, narrower by what is trained: log ψ = log|det φ| - Σ_a s_a(κ) Σ_i x_ia²."""

    narrower: Array
    filling: tuple = eqx.field(static=True, default=COMPACT)

    def __call__(self, r, parameters):
        matrix = HarmonicOrbitals(self.filling, frequencies)(r, parameters)
        sign, log = jnp.linalg.slogdet(matrix)
        width = self.narrower.astype(r.dtype) * parameters["kappa"].astype(r.dtype)
        log = log - jnp.sum(width * jnp.sum(r**2, axis=0))
        return LogPsi(log, jnp.where(sign > 0, jnp.zeros_like(log), jnp.pi * jnp.ones_like(log)), real=True)


class Halving(AbstractOptimiser):
    """Steps against the sign of the gradient, half as long each time: an optimiser of one's own."""

    first: float = eqx.field(static=True, default=0.1)

    def init(self, trained):
        return jnp.asarray(self.first)

    def update(self, derivatives, residuals, mask, state):
        change = jax.tree.map(lambda g: -state.astype(g.dtype) * jnp.sign(g), derivatives.gradient(residuals))
        new = eqx.apply_updates(derivatives.trained, change)
        one = jnp.ones(())
        return Update(new, state / 2, state, jnp.nan * one, one, jnp.zeros((), bool))


class Info(NamedTuple):
    acceptance_rate: Array


def lazy_walk(log_density, step_size):
    """A kernel of one's own in BlackJAX form: one electron moves at a time."""
    walk = blackjax.additive_step_random_walk(
        log_density, lambda key, position: step_size * jax.random.normal(key, position.shape, position.dtype)
    )

    def step(rng_key, state):
        keys = jax.random.split(rng_key)
        one = jax.random.randint(keys[0], (), 0, len(state.position))
        move = step_size * jax.random.normal(keys[1], state.position.shape, state.position.dtype)
        move = jnp.where(jnp.arange(len(state.position))[:, None] == one, move, jnp.zeros_like(move))
        new = walk.init(state.position + move)
        rate = jnp.exp(jnp.minimum(new.logdensity - state.logdensity, 0))
        accept = jax.random.uniform(jax.random.fold_in(keys[0], 1), (), rate.dtype) < rate
        return jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, state), Info(rate)

    return blackjax.base.SamplingAlgorithm(walk.init, step)


def mean_square(r, parameters):
    return jnp.mean(jnp.sum(r**2, axis=1))


def own_figure(table):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot(table["radius2"].values.ravel())
    return figure


RADIUS = Observable("radius2", mean_square, "a_B*^2", "mean square radius", figure=own_figure)
SHORT = Settings(
    steps=4,
    walkers=8,
    burn_in=1,
    checkpoint_every=2,
    dtype="float64",
    measured_walkers=8,
    measured_moves=2,
    measured_rounds=4,
    measured_burn_in=1,
)
METHOD = Method(sampler=Sampler(lazy_walk, moves=2), optimiser=Halving())


def trap_system(family=None, **options):
    options = {"walkers": 0.7} | options
    return System("bowl", trap() if family is None else family, observables=(RADIUS,), **options)


def objects(**changes):
    """System, wavefunction, method: made anew, as a script does that is started again."""
    return trap_system(), Trial(jnp.zeros(2)), dataclasses.replace(METHOD, **changes)


def leaves(state):
    plain = lambda x: jax.random.key_data(x) if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else x
    return [np.asarray(plain(x)) for x in jax.tree.leaves(eqx.filter(state, eqx.is_array))]


def assert_same(a, b):
    for x, y in zip(leaves(a), leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def train(run, steps=None):
    return [step.number for step in run.train(steps)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of four steps without a stop, measured."""
    run = Run.begin(tmp_path_factory.mktemp("runs") / "whole", *objects(), SHORT)
    assert run.step == 0
    with pytest.raises(ValueError, match="has not begun to train"):
        _ = run.state
    assert train(run) == [1, 2, 3, 4]
    run.evaluate()
    return run


# --------------------------------------------------------------------------- training


def test_steps_say_what_they_measured(tmp_path, whole):
    run = Run.begin(tmp_path, *objects(), SHORT)
    with jax.enable_x64(False):
        for step in run.train(1):
            # The caller's setting is the caller's.
            assert jnp.zeros(()).dtype == jnp.float32
    rows = list(read_metrics(tmp_path / "metrics.csv", repeatable=True))
    assert [tuple(float(row[name]) for name in ("omega_y", "kappa")) for row in rows] == [
        (1.4, 0.1),
        (1.4, 0.3),
        (2.6, 0.1),
        (2.6, 0.3),
    ]
    assert step.number == run.step == 1 and step.bad == 0 and step.phases == [""] * 4
    np.testing.assert_allclose(step.energies, [float(row["energy"]) for row in rows], rtol=1e-8)
    np.testing.assert_allclose(step.energies, np.asarray(step.report.statistics.energy) / 3, rtol=1e-12)
    assert rows == list(read_metrics(whole.path / "metrics.csv", repeatable=True))[:4]


def test_four_steps_are_two_and_two_bit_for_bit(tmp_path, whole):
    assert train(Run.begin(tmp_path, *objects(), SHORT), 2) == [1, 2]
    again = Run.open(tmp_path, *objects())
    # The settings are those with which it was begun.
    assert again.step == 2 and again.problem.settings == SHORT
    assert train(again) == [3, 4]
    assert_same(again.state, whole.state)
    rows = [list(read_metrics(path / "metrics.csv", repeatable=True)) for path in (tmp_path, whole.path)]
    assert rows[0] == rows[1]
    assert again.evaluate().equals(whole.results)
    assert checkpoint_steps(tmp_path / "checkpoints") == (0, 2, 4)
    assert train(again) == []
    assert_same(Run.open(tmp_path, *objects()).state, whole.state)


def test_a_run_goes_on_in_the_same_process(tmp_path, whole):
    run = Run.begin(tmp_path, *objects(), SHORT)
    assert train(run, 1) == [1]
    with pytest.raises(Interrupted):
        for step in run.train():
            if step.number == 2:
                os.kill(os.getpid(), signal.SIGINT)
    # The step during which Ctrl-C came, and the one after it, when it was seen.
    assert run.step == 3 and step.number == 3
    assert train(run, 1) == [4]
    assert_same(run.state, whole.state)


def test_leaving_the_loop_early_saves_the_last_step(tmp_path, whole):
    run = Run.begin(tmp_path / "run", *objects(), SHORT)
    before = signal.getsignal(signal.SIGINT)
    for step in run.train():
        if step.number == 3:
            break
    del step
    assert run.step == 3 and checkpoint_steps(run.path / "checkpoints") == (0, 2, 3)
    assert signal.getsignal(signal.SIGINT) is before
    shutil.copytree(run.path, tmp_path / "copy")
    again, stale = Run.open(tmp_path / "copy", *objects()), Run.open(run.path, *objects())
    assert again.step == 3
    assert train(run) == [4] and train(again) == [4]
    assert_same(run.state, whole.state)
    assert_same(again.state, whole.state)
    with pytest.raises(ValueError, match="up to step 4 since it was opened: open it again"):
        train(stale)
    # From an earlier step on: the same numbers, and what was there is set aside.
    earlier = Run.open(run.path, *objects(), step=2)
    assert earlier.step == 2 and train(earlier) == [3, 4]
    assert_same(earlier.state, whole.state)
    assert {"left-3", "left-4"} <= set(os.listdir(run.path / "checkpoints"))
    measured = [
        [(row["step"], row["energy"]) for row in read_metrics(run.path / name)]
        for name in ("metrics.csv", "metrics.previous-1.csv")
    ]
    assert measured[0] == measured[1] and int(measured[0][-1][0]) == 4
    with pytest.raises(ValueError, match="no checkpoint of step 9: it has"):
        Run.open(run.path, *objects(), step=9)


def test_control_c_is_honoured_after_the_step_and_the_script_goes_on_when_it_is_started_again(tmp_path, whole):
    handler = signal.getsignal(signal.SIGINT)

    def script():
        return Run.begin(tmp_path, *objects(), SHORT, resume=True)

    run, seen = script(), []
    with pytest.raises(Interrupted, match="stopped by SIGINT: saved step 2; continue with: ") as stopped:
        for step in run.train():
            seen.append(step.number)
            if step.number == 1:
                os.kill(os.getpid(), signal.SIGINT)
    assert "resume=True" in str(stopped.value) and f"Run.open('{tmp_path}'" in str(stopped.value)
    assert seen == [1, 2] and run.step == 2 and checkpoint_steps(tmp_path / "checkpoints") == (0, 2)
    assert signal.getsignal(signal.SIGINT) is handler
    again = script()
    assert again.step == 2 and train(again) == [3, 4]
    assert_same(again.state, whole.state)
    with pytest.raises(ValueError, match=r"already holds a run: .* the same script with Run.begin\(..., resume=True\)"):
        Run.begin(tmp_path, *objects(), SHORT)


def test_a_run_without_its_metrics_goes_on(tmp_path, whole):
    train(Run.begin(tmp_path, *objects(), SHORT), 2)
    (tmp_path / "metrics.csv").unlink()
    again = Run.open(tmp_path, *objects())
    assert again.evaluate()["energy"].shape == (4,) and again.verdict() and again.report().is_file()
    assert train(again) == [3, 4]
    assert_same(again.state, whole.state)
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.csv")] == ["3"] * 4 + ["4"] * 4


# --------------------------------------------------------------------------- what is measured


def test_what_a_script_brings_with_it_is_measured_and_drawn(whole):
    table = whole.results
    assert [axis.name for axis in axes_of(table)] == ["omega_y", "kappa"]
    assert points_of(table).tolist() == [[1.4, 0.1], [1.4, 0.3], [2.6, 0.1], [2.6, 0.3]]
    assert table.attrs["system"] == "bowl" and table["energy"].attrs["units"] == "Ha* per electron"
    # A few walkers that have hardly moved: about the exact energies, of which a determinant of levels holds most.
    exact = ground_energy(3, np.stack([np.ones(4), [1.4, 1.4, 2.6, 2.6]], axis=1), np.array([0.1, 0.3, 0.1, 0.3])) / 3
    assert np.all(np.abs(table["energy"].values - exact) < 0.1 * exact)
    terms = sum(table[name].values for name in ("kinetic", "trap", "interaction"))
    np.testing.assert_allclose(terms, table["energy"].values, rtol=1e-12)
    assert np.all(table["radius2"].values > 0) and table["radius2"].attrs["units"] == "a_B*^2"
    figures = {path.name for path in whole.figures()}
    assert {"energy.png", "training.png", "radius2.png"} <= figures
    assert all((whole.path / "figures" / name).stat().st_size > 1000 for name in figures)
    page = whole.report()
    assert page == whole.path / "report.html" and "radius2" in page.read_text().replace(" ", "").lower()
    assert any("Measured 4 Hamiltonians" in sentence for sentence in whole.verdict())


def test_points_that_were_never_trained(tmp_path, whole):
    before = (whole.path / "results.csv").read_text()
    extra = Observable("far", lambda r, parameters: jnp.max(jnp.abs(r)), "a_B*")
    table = whole.evaluate({"omega_y": [2.0], "kappa": [0.1, 0.2]}, observables=[extra], into=tmp_path)
    assert points_of(table).tolist() == [[2.0, 0.1], [2.0, 0.2]] or table.attrs["axes"] == ["kappa"]
    assert np.all(table["far"].values > 0) and np.all(table["radius2"].values > 0)
    assert (tmp_path / "results.nc").is_file() and (tmp_path / "figures" / "radius2.png").is_file()
    assert (whole.path / "results.csv").read_text() == before
    assert json.loads(table.attrs["trained_points"]) == whole.problem.system.family.points.tolist()
    with pytest.raises(ValueError, match="the family has no coordinate 'depth': there are omega_y, kappa"):
        whole.evaluate({"depth": [1.0]}, into=tmp_path)
    with pytest.raises(ValueError, match="the members of the family differ in kappa: give its values as well"):
        whole.evaluate({"omega_y": [1.0]}, into=tmp_path)


def test_where_a_run_measures_is_recorded(tmp_path):
    elsewhere = {"omega_y": [2.0], "kappa": [0.15, 0.25]}
    train(Run.begin(tmp_path, *objects(), SHORT, points=elsewhere), 1)
    again = Run.open(tmp_path, *objects())
    assert again.problem.points.tolist() == [[2.0, 0.15], [2.0, 0.25]]
    assert again.evaluate().sizes == {**again.results.sizes} and len(again.results["kappa"]) == 2


# --------------------------------------------------------------------------- psi


def test_a_run_is_the_same_whatever_the_setting_of_the_script(tmp_path, whole):
    """JAX has single precision unless it is told otherwise; the parameters of a run are double, as they were typed."""
    with jax.enable_x64(False), warnings.catch_warnings():
        warnings.simplefilter("error")
        system, _, method = objects()
        assert all(leaf.dtype == np.float32 for leaf in jax.tree.leaves(system.family.parameters))
        run = Run.begin(tmp_path, system, Trial(np.zeros(2)), method, SHORT)
        assert train(run, 2) == [1, 2]
        assert run.problem.system.family.points.tolist() == trap().points.tolist()
        run.evaluate(into=tmp_path / "elsewhere")
    again = Run.open(tmp_path, *objects())
    assert_same(again.state, run.state)
    assert train(again) == [3, 4]
    assert_same(again.state, whole.state)


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A run in single precision."""
    path = tmp_path_factory.mktemp("runs") / "narrow"
    run = Run.begin(path, *objects(), dataclasses.replace(SHORT, dtype="float32"))
    assert train(run, 1) == [1] and run.state.positions.dtype == np.float32
    return run


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("wide", [False, True])
def test_psi_is_the_wavefunction_at_any_point(whole, narrow, dtype, wide):
    """In either precision, whatever the caller's setting is, for one configuration and many."""
    run = {"float32": narrow, "float64": whole}[dtype]
    r = np.random.default_rng(0).normal(size=(2, 5, 3, 2))
    family = run.problem.system.family.at([[1.7, 0.27]])
    ansatz, parameters = run.state.averaged, family.select(0)
    by_hand = [[ansatz(jnp.asarray(x, dtype), parameters) for x in row] for row in r]
    with jax.enable_x64(wide):
        many = run.psi(r, omega_y=1.7, kappa=0.27)
        one = run.psi(r[1, 2].tolist(), kappa=0.27, omega_y=1.7)
        assert jax.config.jax_enable_x64 is wide
    tolerance = {"float32": 3e-6, "float64": 1e-13}[dtype]
    assert many.log_magnitude.shape == many.phase.shape == (2, 5) and many.log_magnitude.dtype == dtype and many.real
    for name in ("log_magnitude", "phase"):
        expected = [[float(getattr(value, name)) for value in row] for row in by_hand]
        np.testing.assert_allclose(getattr(many, name), expected, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(getattr(one, name), expected[1][2], rtol=tolerance, atol=tolerance)
    assert one.log_magnitude.shape == ()
    # It follows the coordinates: nothing of a float32 of the caller's is in the parameters.
    assert run.psi.parameters(omega_y=1.7, kappa=0.27)["kappa"].dtype == np.float64
    assert float(run.psi.parameters(omega_y=1.7, kappa=0.27)["kappa"]) == 0.27


def test_what_psi_is_not_a_function_of(whole):
    r = np.zeros((3, 2))
    with pytest.raises(ValueError, match="the family has no coordinate 'depth': there are omega_y, kappa"):
        whole.psi(r, depth=1.0)
    with pytest.raises(ValueError, match="the members of the family differ in kappa: give its values as well"):
        whole.psi(r, omega_y=1.0)
    with pytest.raises(ValueError, match=r"positions need the shape \(..., 3 electrons, 2\), got \(2, 3\)"):
        whole.psi(r.T, omega_y=1.0, kappa=0.1)


# --------------------------------------------------------------------------- phases, and another family


def two_phases(family):
    """A network of two fillings that compete, as small as it can be."""
    with jax.enable_x64(True):
        network = qernel(
            in_phases(family.parameters, 2),
            (3, 0),
            OpenEmbedding(2, lengths, harmonics=1),
            tuple(HarmonicOrbitals(filling, frequencies) for filling in (COMPACT, CHAIN)),
            key=jax.random.key(0),
            cusp_strength=None,
            width=4,
            layers=1,
            query_heads=1,
            key_value_heads=1,
            experts=2,
            determinants=2,
            condition_size=2,
        )
    return CompetingPhases(network)


PHASES = tuple(
    Phase(name, lambda dtype, solve, filling=filling: HarmonicOrbitals(filling, frequencies))
    for name, filling in (("compact", COMPACT), ("chain", CHAIN))
)


@pytest.fixture(scope="module")
def competing(tmp_path_factory):
    """Two fillings that compete in one network, in a plane of two coordinates."""
    path = tmp_path_factory.mktemp("runs") / "competing"
    system = trap_system(phases=PHASES)
    settings = dataclasses.replace(SHORT, competition=0.5, margin=1e9, dtype="float32")
    run = Run.begin(path, system, two_phases(system.family), METHOD, settings)
    assert train(run, 2) == [1, 2]
    return run


def test_phases_of_a_script_compete_in_a_plane(competing):
    run = competing
    assert run.problem.names == ("compact", "chain") and run.problem.phases(run.state) == ["compact", "chain"] * 4
    r = np.random.default_rng(1).normal(size=(3, 2))
    chain = run.psi(r, phase="chain", omega_y=1.7, kappa=0.2)
    inner, family = run.state.averaged.phase(1), run.problem.system.family.at([[1.7, 0.2]])
    expected = inner(jnp.asarray(r, jnp.float32), family.select(0))
    np.testing.assert_allclose(float(chain.log_magnitude), float(expected.log_magnitude), rtol=1e-5)
    # Unless it is told, the phase that was the lowest at the nearest trained point.
    nearest = np.asarray(run.state.mean_energy).reshape(4, 2)[0]
    lowest = ("compact", "chain")[int(np.argmin(nearest))]
    plain, named = run.psi(r, omega_y=1.4, kappa=0.12), run.psi(r, phase=lowest, omega_y=1.4, kappa=0.12)
    assert float(plain.log_magnitude) == float(named.log_magnitude) != float(chain.log_magnitude)
    with pytest.raises(ValueError, match="no phase 'liquid' in this wavefunction: there are compact, chain"):
        run.psi(r, phase="liquid", omega_y=1.7, kappa=0.2)


def test_a_run_continues_at_other_members(competing, tmp_path):
    """With the trained parameters, and the walkers of the nearest members in the same phase."""
    points = {"omega_y": [2.5, 2.7], "kappa": [0.15, 0.25]}
    other = competing.continue_at(points, tmp_path / "other")
    family = other.problem.system.family
    assert family.points.tolist() == [[2.5, 0.15], [2.5, 0.25], [2.7, 0.15], [2.7, 0.25]] and other.step == 0
    # Members are points in every phase: (2.6, 0.1) and (2.6, 0.3) are the nearest, twice.
    walkers = np.asarray(competing.state.positions)[[4, 5, 6, 7] * 2]
    np.testing.assert_array_equal(other._walkers, walkers)
    assert_same(other.problem.ansatz, competing.state.averaged)
    assert train(other, 1) == [1]
    assert other.problem.phases(other.state) == ["compact", "chain"] * 4
    again = Run.open(tmp_path / "other", other.problem.system, two_phases(trap()), other.problem.method)
    assert_same(again.state, other.state)
    # Its parameters are others by now, the run that it came from has its own.
    assert competing.step == 2
    with pytest.raises(ValueError, match="already holds a run"):
        competing.continue_at(points, tmp_path / "other")


# --------------------------------------------------------------------------- what a user may do wrong


def test_a_run_of_a_script_is_opened_by_its_script(whole, tmp_path, capsys):
    sentence = (
        f"{whole.path} was made by a script (system bowl, ansatz Trial): open it there with "
        f"Run.open('{whole.path}', system, ansatz, method)"
    )
    with pytest.raises(ValueError) as refused:
        Run.open(whole.path)
    assert str(refused.value) == sentence
    for command in (["resume", whole.path], ["evaluate", whole.path], ["transition", whole.path]):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in command])
        assert stopped.value.code == 2
        assert capsys.readouterr().err == f"error: {sentence}\n"
    # What needs no wavefunction works.
    for command in (["plot", whole.path], ["report", whole.path, "--out", tmp_path / "page.html"]):
        with pytest.raises(SystemExit) as stopped:
            main([str(word) for word in command])
        assert not stopped.value.code
    with pytest.raises(ValueError, match="was made by a script, and no configuration describes it"):
        Run.open(whole.path, *objects(), overrides=["steps=5"])


class NoLogPsi(eqx.Module):
    def __call__(self, r, parameters):
        return jnp.sum(r)


class OfEachElectron(eqx.Module):
    def __call__(self, r, parameters):
        return LogPsi(jnp.sum(r, axis=1), jnp.zeros(len(r)))


def test_a_wavefunction_that_is_none_is_refused_before_anything_compiles(tmp_path):
    system = trap_system()
    for ansatz, message in (
        (lambda r, parameters: None, "a wavefunction is an eqx.Module"),
        (NoLogPsi(), r"the wavefunction NoLogPsi \(.*test_runs.py\) must return a LogPsi of two numbers"),
        (OfEachElectron(), r"of shape \(3, 2\), got shapes \(3,\), \(3,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Run.begin(tmp_path / "run", system, ansatz)
    with pytest.raises(ValueError, match=r"the system bowl has no periodic cell, .* give System\(..., walkers=WIDTH\)"):
        Run.begin(tmp_path / "run", trap_system(walkers=None), Trial(jnp.zeros(2)))
    assert not (tmp_path / "run").exists()


def test_directories_that_cannot_be_opened(tmp_path, whole):
    with pytest.raises(ValueError, match="there is no directory"):
        Run.open(tmp_path / "nowhere", *objects())
    with pytest.raises(ValueError, match="is not the directory of a run: it has no config.toml"):
        Run.open(tmp_path, *objects())
    with pytest.raises(ValueError, match=r"another model: points is .*2.6.* there and \[\[1.4, 0.1\]\] here"):
        Run.open(whole.path, trap_system(trap([[1.4, 0.1]])), Trial(jnp.zeros(2)), METHOD)
    with pytest.raises(ValueError, match="another model: optimiser is Halving there and FirstOrder here"):
        Run.open(whole.path, *objects(optimiser=FirstOrder(optax.sgd(0.1))))
    with pytest.raises(ValueError, match=r"narrower is float64\[2\] there and float64\[1\] here"):
        Run.open(whole.path, trap_system(), Trial(jnp.zeros(1)), METHOD)
