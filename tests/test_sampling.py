"""Kernels keep their target; chains do not depend on the layout; the step size adapts."""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.sampling import Sampler, effective_samples, r_hat, random_walk


def gaussian(r, parameters):
    return -jnp.sum(r**2) / (2 * parameters**2)


def barker(log_density, step_size):
    return blackjax.barker_proposal(log_density, step_size)


KERNELS = {"random walk": random_walk, "Barker": barker, "MALA": lambda f, s: blackjax.mala(f, s)}


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


def test_positions_are_wrapped_and_stuck_walkers_counted(key):
    sampler = Sampler(moves=2, wrap=lambda r: r % 1.0)
    start = jnp.full((1, 4, 1, 1), 0.5)

    def flat_or_forbidden(r, parameters):
        return jnp.where(parameters > 0, 0.0, jnp.where(r[0, 0] == 0.5, 0.0, -jnp.inf))

    free = sampler(flat_or_forbidden, jnp.ones(1), start, 5 * jnp.ones(1), key)
    assert np.all((free.positions >= 0) & (free.positions < 1)) and int(free.stuck[0]) == 0
    frozen = sampler(flat_or_forbidden, -jnp.ones(1), start, jnp.ones(1), key)
    assert int(frozen.stuck[0]) == 4 and float(frozen.acceptance[0]) == 0


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
