"""A chunk that the memory analysis chooses."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import random_positions, small_family, small_qernel
from tiny_problem import small_problem, tiny_problem

from qernel.ansatz import log_density
from qernel.chunks import memory_budget
from qernel.evaluation import evaluate
from qernel.gradient import largest_chunk
from qernel.presets import ConfigurationError, parse
from qernel.sampling import Sampler
from qernel.training import burn_in, train, train_step, with_largest_chunks

FAMILY = small_family()


def chunk(budget, walkers=16):
    r = random_positions(FAMILY, walkers)
    return largest_chunk(small_qernel(FAMILY), FAMILY.hamiltonian, r, FAMILY.parameters, budget=budget)


def test_more_memory_takes_more_walkers_at_once():
    sizes = [chunk(2**power) for power in (10, 18, 19, 30)]
    assert sizes == sorted(sizes) and sizes[0] == 1 and sizes[-1] == 16
    assert 1 < sizes[1] < sizes[2]
    # twice the memory, twice the walkers, but for what does not depend on them
    assert 1.5 * sizes[1] <= sizes[2] <= 3 * sizes[1]


def test_the_default_is_what_the_device_holds():
    assert memory_budget(jnp.zeros(1)) < 2**22
    assert 1 <= chunk(None) <= 16
    assert chunk(None, walkers=1) == 1
    with pytest.raises(ValueError, match="a budget of memory must be positive, got 0 bytes"):
        chunk(0)
    # Half of the main memory, not the cache of a core.
    assert memory_budget(jnp.zeros(1), cache=False) > 2**28


def test_the_moves_fit_too():
    ansatz, r = small_qernel(FAMILY), random_positions(FAMILY, 16)
    sampler = Sampler(moves=2, chunk="auto")
    arguments = log_density, ansatz, FAMILY.parameters, r, jnp.ones(len(r), r.dtype)
    sizes = [sampler.with_largest_chunk(*arguments, budget=2**power).chunk for power in (10, 15, 16, 30)]
    assert sizes == sorted(sizes) and sizes[0] == 1 and sizes[-1] == 16 and sizes[1] < sizes[2]
    assert dataclasses.replace(sampler, chunk=3).with_largest_chunk(*arguments).chunk == 3
    with pytest.raises(ValueError, match="the chunk is still to be chosen"):
        sampler(log_density(ansatz), FAMILY.parameters, r, jnp.ones(len(r), r.dtype), jax.random.key(0))


def test_the_derivatives_fit_too(monkeypatch):
    """With little memory in chunks, with enough all at once: chunks cost a second forward pass."""
    family, method, state = small_problem(None)
    method = dataclasses.replace(method, score_chunk="auto")
    assert with_largest_chunks(method, state, family).score_chunk is None
    monkeypatch.setattr("qernel.training._chunks.memory_budget", lambda positions, cache: 1)
    assert with_largest_chunks(method, state, family).score_chunk == 1


def test_training_and_measurement_take_auto():
    family, method, state = small_problem(None)
    energies = []
    for setting in (None, "auto"):
        sampler = dataclasses.replace(method.sampler, chunk=setting)
        chosen = dataclasses.replace(method, sampler=sampler, chunk=setting, score_chunk=setting)
        steps = list(train(burn_in(state, family, chosen, 1), family, chosen, 2))
        energies.append([np.asarray(report.statistics.energy) for _, report in steps])
    np.testing.assert_allclose(*energies, rtol=0, atol=1e-10)
    problem = tiny_problem('training.chunk="auto"', 'training.score_chunk="auto"', 'sampling.chunk="auto"')
    assert problem.method.chunk == problem.method.score_chunk == problem.method.sampler.chunk == "auto"
    settings = dict(sampler=problem.method.sampler, key=jax.random.key(0), rounds=4, burn_in=1, step_size=1.0)
    settings["observables"] = ()
    state = problem.state()
    measured = [
        evaluate(state.ansatz, problem.members, state.positions, chunk=how, **settings).series["energy"]
        for how in (None, "auto")
    ]
    np.testing.assert_allclose(*[np.asarray(one) for one in measured], rtol=0, atol=1e-10)


def test_a_step_of_its_own_needs_a_number():
    family, method, state = small_problem(None)
    with pytest.raises(ValueError, match="the chunk is still to be chosen"):
        train_step(state, family, dataclasses.replace(method, chunk="auto"))
    with pytest.raises(ValueError, match="the chunk is still to be chosen"):
        train_step(state, family, dataclasses.replace(method, score_chunk="auto"))


def test_a_chunk_is_a_number_or_auto():
    assert parse('[training]\nchunk = "auto"\n').training.chunk == "auto"
    with pytest.raises(ConfigurationError):
        parse('[training]\nchunk = "all"\n')
