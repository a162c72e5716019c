"""Kernels keep their target; chains do not depend on the layout; the step size adapts."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blackjax.base import SamplingAlgorithm

from qernel.lattice import Lattice
from qernel.sampling import (
    BlockWalk,
    Metropolis,
    Sampler,
    _kernels,
    effective_samples,
    efficiency,
    langevin,
    r_hat,
    random_walk,
)


def gaussian(r, parameters):
    return -jnp.sum(r**2) / (2 * parameters**2)


def barker(log_density, step_size):
    return blackjax.barker_proposal(log_density, step_size)


def langevin_in_blackjax_form(log_density, step_size):
    kernel = langevin(log_density, step_size)
    return SamplingAlgorithm(kernel.init, kernel.step)


KERNELS = {
    "random walk": random_walk,
    "block": BlockWalk(1),
    "Langevin": langevin,
    "Langevin, BlackJAX's form": langevin_in_blackjax_form,
    "Barker": barker,
    "MALA": lambda f, s: blackjax.mala(f, s),
}


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_keeps_its_target(name, key):
    """Two Gaussians of different widths at once, each with its own adapted step."""
    widths = jnp.asarray([1.0, 3.0])
    sampler = Sampler(KERNELS[name], moves=20)
    start = jnp.zeros((2, 200, 2, 2))
    with jax.numpy_dtype_promotion("standard"):

        @jax.jit
        def run(key):
            def body(carry, number):
                walkers = sampler(gaussian, widths, *carry, jax.random.fold_in(key, number))
                return (walkers.positions, walkers.step_size), (walkers.positions, walkers.acceptance)

            return jax.lax.scan(body, (start, jnp.ones(2)), jnp.arange(60))

        (_, step), (positions, acceptance) = run(key)
    samples = np.asarray(positions)[20:]
    variance = samples.var(axis=(0, 2, 3, 4))
    assert np.allclose(variance, [1, 9], rtol=0.1)
    assert np.allclose(np.asarray(acceptance)[-10:].mean(axis=0), 0.5, atol=0.05)
    assert step[1] > step[0]


def test_a_chain_depends_on_its_number_alone(key):
    """Walkers 0..3 of Hamiltonian 0 move alike whether or not others stand beside them."""
    sampler = Sampler(moves=3)
    one = jnp.ones(1)
    start = jax.random.normal(key, (1, 8, 3, 2))
    all_ = sampler(gaussian, one, start, one, key)
    few = sampler(gaussian, one, start[:, :4], one, key)
    assert np.array_equal(all_.positions[:, :4], few.positions)
    assert len(np.unique(np.asarray(all_.positions)[0, :, 0, 0])) == 8


@pytest.mark.parametrize("chunk", [1, 3, 4, 100])
@pytest.mark.parametrize("hamiltonians", [1, 2])
def test_chunks_change_no_number(chunk, hamiltonians, key):
    start = jax.random.normal(key, (hamiltonians, 8, 3, 2), jnp.float64)
    widths = jnp.arange(1.0, 1 + hamiltonians)
    whole, parts = (Sampler(moves=3, chunk=c)(gaussian, widths, start, widths, key) for c in (None, chunk))
    assert np.allclose(whole.positions, parts.positions, rtol=0, atol=1e-13)
    assert np.allclose(whole.acceptance, parts.acceptance) and np.array_equal(whole.stuck, parts.stuck)


@pytest.mark.parametrize("algorithm", [random_walk, langevin])
def test_positions_are_wrapped_and_stuck_walkers_counted(algorithm, key):
    sampler = Sampler(algorithm, moves=2, cell=Lattice(((1.0,),)))
    start = jnp.full((1, 4, 1, 1), 0.5)

    def flat_or_forbidden(r, parameters):
        return jnp.where(parameters > 0, 0.0, jnp.where(r[0, 0] == 0.5, 0.0, -jnp.inf))

    free = sampler(flat_or_forbidden, jnp.ones(1), start, 5 * jnp.ones(1), key)
    assert np.all((free.positions >= 0) & (free.positions < 1)) and int(free.stuck[0]) == 0
    assert np.allclose(free.acceptance, 1, atol=1e-6)
    frozen = sampler(flat_or_forbidden, -jnp.ones(1), start, jnp.ones(1), key)
    assert int(frozen.stuck[0]) == 4 and float(frozen.acceptance[0]) == 0
    assert np.all(frozen.positions == start) and np.all(frozen.log_density == 0)


@pytest.mark.parametrize("algorithm", [random_walk, langevin])
def test_steps_in_a_uniform_density_stop_growing_at_the_length_of_the_cell(algorithm, key):
    """Every width is accepted there: without a limit the positions have no digits left after a hundred rounds."""
    # Its shortest vectors are (1, 2) and (3, -2).
    cell = Lattice(((4.0, 0.0), (1.0, 2.0)))
    sampler = Sampler(algorithm, cell=cell, gain=2.0)
    flat = lambda r, parameters: jnp.sum(0 * r)
    positions, width = jnp.zeros((1, 64, 3, 2), jnp.float32), jnp.ones(1, jnp.float32)
    for number in range(50):
        walkers = sampler(flat, jnp.ones(1), positions, width, jax.random.fold_in(key, number))
        positions, width = walkers.positions, walkers.step_size
    assert width.dtype == jnp.float32 and np.isclose(width[0], np.sqrt(13), rtol=1e-6)
    assert len(np.unique(np.asarray(positions))) > 0.99 * positions.size


def test_a_metropolis_kernel_begins_where_the_walkers_are(key):
    """The turn that evaluates the density there is none of the moves."""
    evaluated = []

    def counted(log_density, step_size):
        kernel = langevin(log_density, step_size)
        evaluate = lambda position: evaluated.append(position) or kernel.evaluate(position)
        return Metropolis(kernel.start, evaluate, kernel.turn)

    start = jax.random.normal(key, (1, 64, 3, 2), jnp.float64)
    tiny = Sampler(counted, moves=3)(gaussian, jnp.ones(1), start, jnp.full(1, 1e-6), key)
    # One place in the program.
    assert len(evaluated) == 1
    assert 0 < np.abs(tiny.positions - start).max() < 2e-5
    assert np.allclose(tiny.acceptance, 1, atol=1e-3) and int(tiny.stuck[0]) == 0
    at_the_end = jax.vmap(lambda r: gaussian(r, 1.0))(tiny.positions[0])
    assert np.allclose(tiny.log_density[0], at_the_end, rtol=1e-12)


def test_diagnostics_know_white_noise_and_a_split_chain():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(8, 500))
    assert 2500 < effective_samples(noise) < 6000
    assert r_hat(noise) < 1.01
    assert r_hat(noise + np.arange(8)[:, None]) > 1.5


@pytest.mark.parametrize("bad", [dict(moves=0), dict(target_acceptance=1.5), dict(chunk=0)])
def test_bad_settings_say_so(bad):
    with pytest.raises(ValueError):
        Sampler(**bad)


def test_a_block_has_electrons():
    with pytest.raises(ValueError, match="at least one"):
        BlockWalk(0)
    with pytest.raises(ValueError, match="cannot be chosen from 2"):
        Sampler(BlockWalk(3))(gaussian, jnp.ones(1), jnp.zeros((1, 1, 2, 2)), jnp.ones(1), jax.random.key(0))


def node(r, parameters):
    """The first excited state of an oscillator, ψ = x exp(-x²/2): ⟨x²⟩ = 3/2."""
    return jnp.sum(2 * jnp.log(jnp.abs(r)) - r**2)


def of_langevin(log_density, step_size):
    return blackjax.mala(log_density, step_size**2 / 2)


def test_the_limited_drift_does_not_stick_at_nodes(key):
    """A drift without limit throws walkers from a node to places from which they cannot return."""
    start = jax.random.normal(key, (1, 512, 1, 1))
    stuck, squares = {}, {}
    for algorithm in (langevin, of_langevin):
        sampler = Sampler(algorithm, target_acceptance=0.7)

        @jax.jit
        def run(key, sampler=sampler):
            def phase(carry, number):
                walkers = sampler(node, jnp.zeros(1), *carry, jax.random.fold_in(key, number))
                return (walkers.positions, walkers.step_size), walkers.positions

            return jax.lax.scan(phase, (start, jnp.ones(1)), jnp.arange(100))[1]

        positions = np.asarray(run(key))[50:, 0, :, 0, 0]
        stuck[algorithm] = int(np.sum(~np.any(np.diff(positions, axis=0) != 0, axis=0)))
        squares[algorithm] = (positions**2).mean(axis=0)
    assert stuck[langevin] == 0
    # Else the target would not show the difference.
    assert stuck[of_langevin] > 5
    mean, error = squares[langevin].mean(), squares[langevin].std() / 512**0.5
    assert error < 0.03 and abs(mean - 1.5) < 4 * error


def common_node(r, parameters):
    """ψ = x exp(-r²/2) with x the same part of every coordinate: next to x = 0 all electrons drift. ⟨x²⟩ = 3/2."""
    return 2 * jnp.log(jnp.abs(jnp.sum(r)) / r.size**0.5) - jnp.sum(r**2)


def test_many_electrons_leave_a_node_that_they_are_next_to(key, monkeypatch):
    """With the drift alone the way back costs a factor exp(-1) for each electron."""
    start = jax.random.normal(key, (1, 64, 100, 2)) / 2**0.5
    start = start - jnp.mean(start, axis=(2, 3), keepdims=True) + 1e-6

    def run(rounds):
        sampler = Sampler(langevin, target_acceptance=0.7)
        positions, step, record = start, jnp.full(1, 0.4), []
        move = jax.jit(lambda *state: sampler(common_node, jnp.zeros(1), *state))
        for number in range(rounds):
            walkers = move(positions, step, jax.random.fold_in(key, number))
            positions, step = walkers.positions, walkers.step_size
            record.append(positions[0])
        return np.asarray(record), int(walkers.stuck[0])

    record, stuck = run(80)
    assert stuck == 0
    squares = (record[30:].sum(axis=(2, 3)) ** 2 / 200).mean(axis=0)
    error = squares.std() / 8
    assert error < 0.15 and abs(squares.mean() - 1.5) < 4 * error
    # All other directions are those of an oscillator in its ground state, which the moves keep.
    radii = ((record[30:] ** 2).sum(axis=(2, 3)) - record[30:].sum(axis=(2, 3)) ** 2 / 200).mean(axis=0)
    assert abs(radii.mean() - 199 / 2) < 4 * radii.std() / 8
    monkeypatch.setattr(_kernels, "_DRIFTING", 1000)
    assert run(5)[1] == 64


def test_efficiency_counts_independent_samples(key):
    """Moves of a tenth of the width need about a hundred times as many; ⟨r²⟩ and the density are one observable."""
    measured = {}
    for acceptance, step in ((0.5, 1.0), (0.95, 0.1)):
        sampler = Sampler(moves=5, target_acceptance=acceptance, gain=0.0)
        measured[step] = efficiency(
            sampler,
            gaussian,
            jnp.ones(2),
            jax.random.normal(key, (2, 32, 1, 1)),
            lambda r, _: jnp.sum(r**2, keepdims=True)[0],
            key=key,
            step_size=step,
            burn_in=2,
            rounds=100,
        )
    far, near = measured[1.0], measured[0.1]
    assert far.effective.shape == (2, 2) and np.allclose(far.effective[:, 0], far.effective[:, 1], rtol=1e-3)
    assert np.all(far.effective[:, 0] > 800) and np.all(near.effective[:, 0] < 300)
    assert np.allclose(far.per_second, far.effective.min(axis=1) * 2 / far.seconds)
    with pytest.raises(ValueError, match="four rounds"):
        efficiency(
            Sampler(), gaussian, jnp.ones(1), jnp.zeros((1, 2, 1, 1)), gaussian, key=key, step_size=1.0, rounds=2
        )
