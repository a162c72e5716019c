"""Numbers that are none: counted, localised, survived where one can survive them, and otherwise an end that replays.

Every fault is a value of two numbers, in an ansatz and in a potential of one's own, or a state to begin with: all of
them run the same two compiled programs.
"""

import dataclasses
import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from qernel.ansatz import LogPsi
from qernel.hamiltonian import AbstractPotential, Family, Hamiltonian, Harmonic, Kinetic
from qernel.optimise import AbstractOptimiser, StochasticReconfiguration, Update
from qernel.run_directory import (
    CheckpointWriter,
    Health,
    Problem,
    RunDirectory,
    Settings,
    checkpoint_steps,
    load_checkpoint,
    read_metrics,
    read_training,
    restore,
    train_in,
)
from qernel.runs import Run
from qernel.systems import System
from qernel.training import Method, TrainingFault, diagnose, train

WALKERS = 16
HEALTHY, SINGULAR, HALF, NOWHERE, SPIKE, DEAF = range(6)


@pytest.fixture(autouse=True, scope="module")
def quick_to_compile():
    """A handful of steps needs no fast program."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


class Pair(eqx.Module):
    """Two fermions in a bowl, log ψ = log|det φ| - ω Σ r²/2 + ..., and what can be wrong with it."""

    mixing: Array
    width: Array
    fault: Array

    def __call__(self, r, parameters):
        is_fault = lambda number: self.fault == number
        heard = jnp.where(is_fault(DEAF), jnp.zeros((), r.dtype), jnp.ones((), r.dtype))
        x, y = r[:, 0], r[:, 1]
        with jax.named_scope("mine.Orbitals"):
            first = 1 + heard * self.mixing[0] * y
            second = x + heard * (self.mixing[1] + self.mixing[2]) * y
            second = jnp.where(is_fault(SINGULAR), jnp.zeros_like(second), second)
            sign, log = jnp.linalg.slogdet(jnp.stack([first, second], axis=1))
        omega = parameters["omega"].astype(r.dtype)
        log = log - omega * jnp.sum(r**2) / 2 - heard * 0.1 * jnp.sum(self.width * jnp.sum(r**2, axis=0))
        with jax.named_scope("mine.Layer"):
            root = jnp.sqrt(jnp.where(is_fault(HALF), -x[0], jnp.where(is_fault(NOWHERE), -1 - x[0] ** 2, 1.0)))
            spike = jnp.where(is_fault(SPIKE), 1e4, 0.0) * jnp.exp(-1e4 * jnp.sum(r[0] ** 2))
        log = log + 0 * root + spike
        return LogPsi(log, jnp.where(sign > 0, jnp.zeros_like(log), jnp.pi * jnp.ones_like(log)), real=True)


class Own(AbstractPotential):
    """A potential of one's own: none; NaN where x > 0.5; infinite everywhere."""

    fault: Array

    def __call__(self, r, parameters):
        nan = jnp.where(r[0, 0] > 0.5, jnp.nan, 0.0)
        values = jnp.stack([jnp.zeros(()), nan, jnp.asarray(jnp.inf)])
        return values[self.fault].astype(r.dtype)


class Descent(AbstractOptimiser):
    """Plain descent, whose rate is no part of the compiled program."""

    rate: Array

    def init(self, trained):
        return jnp.zeros(())

    def update(self, derivatives, residuals, mask, state):
        gradient = derivatives.gradient(residuals)
        new = jax.tree.map(lambda x, g: x - self.rate.astype(x.dtype) * g, derivatives.trained, gradient)
        one = jnp.ones(())
        return Update(new, state, self.rate * one, jnp.nan * one, one, jnp.zeros((), bool))


def family(fault=0):
    potentials = {"bowl": Harmonic(frequency), "mine": Own(jnp.asarray(fault, jnp.int32))}
    hamiltonian = Hamiltonian(Kinetic(), potentials, (2, 0), dim=2)
    return Family.of(hamiltonian, {"omega": 1.0}, "omega", [1.0, 1.5])


def frequency(parameters):
    return parameters["omega"]


NATURAL = Method(optimiser=StochasticReconfiguration(learning_rate=0.3))


def problem(fault=HEALTHY, potential=0, method=NATURAL, **settings):
    ansatz = Pair(jnp.asarray([0.1, 0.2, -0.1]), jnp.asarray([0.3, -0.2]), jnp.asarray(fault, jnp.int32))
    numbers = {"walkers": WALKERS, "dtype": "float64", "checkpoint_every": 2, "patience": 3, "steps": 6}
    system = System("bowl", family(potential), walkers=1.0)
    return Problem(system, ansatz, method, Settings(**numbers | settings), jax.random.key(0))


def descent(rate):
    return dataclasses.replace(NATURAL, optimiser=Descent(jnp.asarray(rate)))


def steps_of(one, state=None, count=4, patience=3):
    state = one.state() if state is None else state
    return list(train(state, one.members, one.method, count, patience=patience))


def in_place_of(state, walker, position):
    return eqx.tree_at(lambda s: s.positions, state, state.positions.at[0, walker].set(position))


def finite(tree):
    return all(np.isfinite(x).all() for x in jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array)))


def bad_of(steps):
    return [np.asarray(report.statistics.bad).tolist() for _, report in steps]


def redrawn_of(steps):
    return [np.asarray(report.redrawn).tolist() for _, report in steps]


# ------------------------------------------------------------------------------- what is survived


def test_electrons_in_one_place_part():
    one = problem()
    for together in (1, 4, WALKERS):
        steps = steps_of(one, in_place_of(one.state(), slice(together), 0.4), 2)
        assert bad_of(steps)[-1] == [0, 0] and not any(report.refused for _, report in steps)
        assert finite(steps[-1][0])


def test_any_lost_walker_is_counted_once_and_goes_on_from_another():
    one = problem()
    state = one.state()
    for walker in range(WALKERS):
        for value in (np.nan, np.inf, -np.inf):
            ((new, report),) = steps_of(one, in_place_of(state, walker, value), 1)
            assert np.asarray(report.statistics.bad).tolist() == report.redrawn.tolist() == [1, 0]
            assert finite(new) and not report.refused


def test_a_walker_that_was_lost_goes_its_own_way():
    one = problem()
    steps = steps_of(one, in_place_of(one.state(), 3, np.nan))
    assert bad_of(steps) == [[1, 0], [0, 0], [0, 0], [0, 0]]
    assert redrawn_of(steps) == [[1, 0], [0, 0], [0, 0], [0, 0]]
    assert int(steps[0][1].bad_terms["kinetic"][0]) == 1
    # It began where another one was, and went its own way.
    first, last = (np.asarray(steps[i][0].positions)[0] for i in (0, -1))
    assert (first == first[3]).all(axis=(1, 2)).sum() == 2
    assert (last == last[3]).all(axis=(1, 2)).sum() == 1


def test_many_lost_walkers_come_from_many():
    one = problem()
    state = one.state()
    lost = eqx.tree_at(lambda s: s.positions, state, state.positions.at[0, :8].set(np.nan))
    ((new, report),) = steps_of(one, lost, 1)
    assert report.redrawn.tolist() == [8, 0]
    positions = np.asarray(new.positions)[0]
    assert len(np.unique(positions[:8].reshape(8, -1), axis=0)) == 8


def test_a_layer_that_is_nan_in_half_of_space_loses_walkers_to_the_other_half():
    one = problem(HALF)
    steps = steps_of(one)
    assert sum(redrawn_of(steps)[0]) > 4 and redrawn_of(steps)[-1] == [0, 0]
    assert (np.asarray(steps[-1][0].positions)[:, :, 0, 0] <= 0).all()
    words = diagnose(one.state(), one.members, one.method)
    assert "of member 0, omega = 1" in words and "kinetic in" in words
    assert "first in the wavefunction: sqrt in mine.Layer, test_numerical.py:" in words


def test_a_potential_that_is_nan_in_a_region_is_counted_and_named():
    """A `System` refuses one that is NaN where walkers start; this one is met on the way."""
    with pytest.raises(ValueError, match="the potential 'mine' is nan for .* of all random configurations"):
        problem(potential=1)
    one = problem()
    members = dataclasses.replace(one.members, hamiltonian=family(1).hamiltonian)
    for _, report in train(one.state(), members, one.method, 3, patience=3):
        bad = np.asarray(report.statistics.bad)
        assert 0 < bad.sum() < WALKERS
        assert (np.asarray(report.bad_terms["mine"]) == bad).all() and not np.any(report.bad_terms["kinetic"])
        assert np.isfinite(report.statistics.energy).all() and not np.any(report.redrawn)


def test_scores_that_are_all_zero_change_nothing():
    one = problem(DEAF)
    start = one.state()
    new, report = steps_of(one, start)[-1]
    assert not report.refused and finite(new)
    np.testing.assert_array_equal(new.ansatz.mixing, start.ansatz.mixing)


# ------------------------------------------------------------------------------- what ends, and replays


def with_nan(place):
    return lambda state: eqx.tree_at(place, state, place(state) * np.nan)


ENDS = {
    "parameters": ({}, with_nan(lambda s: s.ansatz.mixing), "the parameters are not finite: mixing"),
    "momentum": ({}, with_nan(lambda s: s.optimiser_state.direction.width), "optimiser state is not finite: direction"),
    "walkers": ({}, with_nan(lambda s: s.positions), "the walkers' positions are not finite"),
    "singular": ({"fault": SINGULAR}, lambda s: s, "first in .*slogdet|first in .*mine.Orbitals"),
    "layer": (
        {"fault": NOWHERE},
        lambda s: s,
        r"all of member 0, omega = 1; .*: sqrt in mine.Layer, test_numerical.py",
    ),
    "potential": (
        {"potential": 2},
        lambda s: s,
        r"mine in 32 \(all of member 0, omega = 1; all of member 1, omega = 1.5",
    ),
}


@pytest.mark.parametrize("name", ENDS)
def test_what_cannot_be_survived_ends_within_the_patience_and_replays(name, tmp_path):
    options, spoil, words = ENDS[name]
    one, directory = problem(**options), RunDirectory(tmp_path)
    directory.create("")
    with pytest.raises(RuntimeError, match=words) as stopped:
        for _ in train_in(directory, one, spoil(one.state()), 100):
            pass
    assert "training stopped at step 3: 3 steps in a row failed" in str(stopped.value)
    assert checkpoint_steps(directory.checkpoints) == (0,)
    rows = list(read_metrics(directory.metrics))
    assert [row["step"] for row in rows] == ["1", "1", "2", "2", "3", "3"]
    if name == "momentum":
        assert {row["refused"] for row in rows} == {"1"} and rows[0]["energy"] != "nan"
        assert "the last good state is the checkpoint of step 0" in str(stopped.value)
    else:
        # Nothing was measured, which is not zero.
        assert {row["energy"] for row in rows} == {"nan"} and {row["bad_walkers"] for row in rows} == {str(WALKERS)}
        assert "nothing finite is measured from any checkpoint (0)" in str(stopped.value)
    assert "step 1 fails again: " in (again := Run(directory, one).replay_fault())
    assert again.removeprefix("step 1 fails again: ")[:40] in str(stopped.value)


# ------------------------------------------------------------------------------- which state is good


def test_a_checkpoint_is_written_when_the_next_step_has_measured_it(tmp_path, monkeypatch):
    one, directory = problem(), RunDirectory(tmp_path)
    saved, save = [], CheckpointWriter.save

    def noted(self, step, state):
        saved.append((step, len(list(read_metrics(directory.metrics))) // 2))
        save(self, step, state)

    monkeypatch.setattr(CheckpointWriter, "save", noted)
    for _ in train_in(directory, one, one.state(), 6):
        pass
    assert saved == [(0, 0), (2, 3), (4, 5), (6, 6)]
    assert checkpoint_steps(directory.checkpoints) == (2, 4, 6)


@pytest.mark.parametrize("keep", [1, 3])
def test_after_an_exploding_update_the_last_good_state_is_one_that_goes_on(tmp_path, keep):
    """The update is finite, what it leaves is not a wavefunction: the state before it is the good one."""
    gentle, directory = problem(method=descent(1e-3), keep=keep), RunDirectory(tmp_path)
    directory.create("")
    for _ in train_in(directory, gentle, gentle.state(), 5):
        pass
    wild = dataclasses.replace(gentle, method=descent(1e300))
    for _ in range(2):
        state = restore(gentle, directory)
        with pytest.raises(RuntimeError, match="the last good state is the checkpoint of step 5") as stopped:
            for _ in train_in(directory, wild, state, 100):
                pass
        assert "go on from it with: qernel resume" in str(stopped.value)
    assert [step.refused or step.bad for step in train_in(directory, gentle, restore(gentle, directory), 8)] == [0] * 3


def test_whatever_the_rate_the_last_good_state_goes_on(tmp_path):
    """From rates that a training survives to those that leave nothing finite."""
    gentle = problem(method=descent(1e-3))
    faults = 0
    for exponent in (1, 50, 100, 140, 160, 180, 200, 230, 260, 300):
        directory = RunDirectory(tmp_path / str(exponent))
        directory.create("")
        wild = dataclasses.replace(gentle, method=descent(10.0**exponent))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for _ in train_in(directory, wild, gentle.state(), 6):
                    pass
        except RuntimeError as stopped:
            faults += 1
            state = restore(gentle, directory)
            assert f"the last good state is the checkpoint of step {int(state.step)}" in str(stopped)
            ((_, report),) = steps_of(gentle, state, 1)
            assert np.all(report.statistics.bad < WALKERS) and not report.refused
    assert faults >= 5


@pytest.mark.parametrize("keep", [1, 3])
@pytest.mark.parametrize("end", ["last", "break"])
def test_a_broken_state_that_was_saved_at_an_end_is_set_aside(tmp_path, keep, end):
    """Nothing has measured the state after the last step: if it is broken, a good one lies beside it."""
    gentle, directory = problem(method=descent(1e-3), keep=keep), RunDirectory(tmp_path)
    directory.create("")
    for _ in train_in(directory, gentle, gentle.state(), 5):
        pass
    wild = dataclasses.replace(gentle, method=descent(1e300))
    for _ in train_in(directory, wild, restore(gentle, directory), 6 if end == "last" else 100):
        break
    assert checkpoint_steps(directory.checkpoints)[-1] == 6
    with pytest.raises(
        RuntimeError, match="checkpoint of step 6, from which nothing finite is measured, was set aside"
    ):
        for _ in train_in(directory, gentle, restore(gentle, directory), 100):
            pass
    assert (directory.checkpoints / "damaged-6").is_dir()
    state = restore(gentle, directory)
    assert int(state.step) == 5
    assert [step.bad for step in train_in(directory, gentle, state, 7)] == [0, 0]


def test_a_training_that_ends_with_nothing_measured_ends_with_a_fault(tmp_path):
    one, directory = problem(), RunDirectory(tmp_path)
    directory.create("")
    for _ in train_in(directory, one, one.state(), 3):
        pass
    broken = dataclasses.replace(one, system=problem(potential=2).system)
    with pytest.raises(RuntimeError, match="ended at step 5, and the last 2 steps failed .*mine in 32") as stopped:
        for _ in train_in(directory, broken, restore(one, directory), 5):
            pass
    # The potential is to blame and no state.
    assert "nothing finite is measured from any checkpoint (0, 2, 3)" in str(stopped.value)
    assert checkpoint_steps(directory.checkpoints) == (0, 2, 3)


def test_with_every_update_refused_the_last_state_is_saved_and_it_is_said(tmp_path):
    one, directory = problem(patience=100), RunDirectory(tmp_path)
    state = ENDS["momentum"][1](one.state())
    with pytest.warns(UserWarning, match="the optimiser refused 3 of the last 3 steps"):
        steps = list(train_in(directory, one, state, 5))
    assert all(step.refused for step in steps)
    assert checkpoint_steps(directory.checkpoints)[-1] == 5
    record = read_training(directory.metrics)
    assert record.refused.tolist() == [1] * 5 and np.isfinite(record.energy).all()
    saved = load_checkpoint(directory.checkpoints, one.state())
    np.testing.assert_array_equal(saved.positions, steps[-1].state.positions)


def test_interrupted_anywhere_a_run_is_the_same(tmp_path):
    """State, and what is measured in the table, bit for bit: all but clocks and memory."""
    one = problem()
    whole, parts = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "parts")
    for _ in train_in(whole, one, one.state(), 7):
        pass
    state = one.state()
    for last in (1, 2, 5, 7):
        for _ in train_in(parts, one, state, last):
            pass
        state = load_checkpoint(parts.checkpoints, one.state())
    expected = load_checkpoint(whole.checkpoints, one.state())
    for a, b in zip(*(jax.tree.leaves(eqx.filter(s, eqx.is_inexact_array)) for s in (state, expected)), strict=True):
        np.testing.assert_array_equal(a, b)
    rows = [list(read_metrics(directory.metrics, repeatable=True)) for directory in (whole, parts)]
    assert rows[0] == rows[1] and len(rows[0]) == 14


def test_a_stuck_walker_is_found_and_said(tmp_path, monkeypatch):
    import qernel.run_directory._training as training

    monkeypatch.setattr(training, "Health", lambda problem: Health(problem, still=5))
    one, directory = problem(SPIKE, method=descent(0.0)), RunDirectory(tmp_path)
    state = in_place_of(one.state(), 3, jnp.asarray([[0.0, 0.0], [1.0, 0.5]]))
    with pytest.warns(UserWarning, match=r"1 of 16 walkers at omega = 1 have not moved for 5 steps"):
        for _ in train_in(directory, one, state, 8):
            pass


def test_what_the_loop_keeps_as_good_has_been_measured():
    one = problem(method=descent(1e300))
    with pytest.raises(TrainingFault, match="3 steps in a row failed") as stopped:
        steps_of(one, count=100)
    assert int(stopped.value.last_good.step) == 0 and not stopped.value.measured
    gentle = problem(method=descent(1e-3))
    assert bad_of(steps_of(gentle, stopped.value.last_good)) == [[0, 0]] * 4


def test_nothing_is_said_of_a_healthy_training(tmp_path):
    one = problem(method=descent(1e-2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in train_in(RunDirectory(tmp_path), one, one.state(), 40):
            pass
