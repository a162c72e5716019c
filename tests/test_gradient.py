"""Energy gradient against a dense finite-sample formula; clipping; faults; spin-polarised Slater energies."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import compiled_call, random_positions, small_family, small_qernel
from jax.flatten_util import ravel_pytree

from qernel.gradient import LogDerivatives, _factors, _gram, clipped_residuals, local_energies
from qernel.layers import trainable
from qernel.optimise import Cholesky, ConjugateGradients, StochasticReconfiguration


@functools.cache
def problem(is_complex):
    family = small_family()
    return family, small_qernel(family, complex=is_complex)


def derivatives(is_complex, chunk=None):
    family, ansatz = problem(is_complex)
    trained, static = eqx.partition(ansatz, trainable(ansatz))
    return (
        LogDerivatives(trained, static, random_positions(family, 5), family.parameters, chunk),
        family,
        ansatz,
    )


def flat_scores(d):
    """(hamiltonians, walkers, parts, parameters), in the order of `ravel_pytree`."""
    return np.concatenate(
        [np.asarray(x).reshape(*x.shape[:3], -1) for x in jax.tree.leaves(compiled_call(d.scores))], axis=-1
    )


@pytest.mark.parametrize("is_complex", [False, True])
def test_gradient_is_twice_the_covariance_with_the_scores(is_complex):
    d, family, ansatz = derivatives(is_complex)
    energies = compiled_call(local_energies, ansatz, family.hamiltonian, d.positions, family.parameters)
    residuals, _, _ = clipped_residuals(energies.total, 1e9)
    scores = flat_scores(d)
    o = scores[:, :, 0] + (1j * scores[:, :, 1] if is_complex else 0)
    e = np.asarray(energies.total)
    centred = e - e.mean(axis=1, keepdims=True)
    expected = 2 * np.real(np.einsum("hw,hwp->p", centred.conj(), o)) / e.size
    found = ravel_pytree(compiled_call(d.gradient, residuals))[0]
    assert np.allclose(found, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("is_complex", [False, True])
def test_most_scores_are_factored_and_their_products_are_the_scores(is_complex):
    d, family, _ = derivatives(is_complex)
    arguments = d.trained, family.select(0), d.positions[0, 0]
    factors = compiled_call(_factors.factorised(d._scores), *arguments)
    whole = jax.tree.leaves(compiled_call(d._scores, *arguments))
    assert len(factors) == len(whole)
    factored = 0
    for each, scores in zip(factors, whole, strict=True):
        product = jnp.einsum("kta,tb->kab", each.left, each.right)
        assert np.allclose(each.layout.scores(product), scores, rtol=1e-9, atol=1e-13)
        np.testing.assert_array_equal(each.layout.matrices(each.layout.scores(product)), product)
        factored += scores[0].size * (each.left.shape[1] > 1)
    assert factored > 0.5 * sum(scores[0].size for scores in whole)


@pytest.mark.parametrize("chunk", [None, 3])
@pytest.mark.parametrize("is_complex", [False, True])
def test_outer_products_are_the_scores(is_complex, chunk):
    """Of every second walker, in the order of the parameters, rows along the leading axis of the array."""
    d, _, _ = derivatives(is_complex, chunk)
    found = compiled_call(lambda d: d.outer_products(2), d)
    factored = 0
    for each, scores in zip(found, jax.tree.leaves(compiled_call(d.scores)), strict=True):
        expected = np.asarray(scores[:, ::2])
        if each.columns is None:
            product = np.swapaxes(each.rows, -1, -2)
        else:
            product = np.einsum("hwktm,hwktn->hwkmn", each.rows, each.columns)
            factored += expected[0, 0, 0].size
        assert len(each.rows[0, 0, 0, 0]) == (expected.shape[3] if expected.ndim > 4 else product.shape[3])
        assert np.allclose(product.reshape(expected.shape), expected, rtol=1e-9, atol=1e-13)
    assert factored > 0.5 * sum(x.size for x in jax.tree.leaves(d.trained))


@pytest.mark.parametrize("shape", [(3, 4), (4, 4), (3, 2, 2), (5,)])
def test_outer_products_of_any_layout(shape):
    """A weight on the left or on the right of its features, square or not, of more axes, in no product."""
    rng = np.random.default_rng(0)
    weight = jnp.asarray(rng.normal(size=shape))
    of_rows, of_columns = rng.normal(size=(6, shape[0])), rng.normal(size=(weight[0].size, 6))
    for function in (
        lambda w: jnp.tanh(of_rows @ w.reshape(len(w), -1)),
        lambda w: jnp.tanh(w.reshape(len(w), -1) @ of_columns),
        lambda w: jnp.sin(jnp.sum(w**2) * of_rows),
    ):
        assert_outer_products_are_the_scores(function, weight)


def assert_outer_products_are_the_scores(function, weight):
    jacobian = jax.jacrev(lambda w: jnp.stack([jnp.sum(function(w)), jnp.sum(function(w) ** 3)]))
    (found,) = _factors.outer_products(lambda w: [jacobian(w)])(weight)
    expected = jacobian(weight)
    if found.columns is None:
        product = jnp.swapaxes(found.rows, -1, -2)
    else:
        product = jnp.einsum("ktm,ktn->kmn", found.rows, found.columns)
    assert np.allclose(product.reshape(expected.shape), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("is_complex", [False, True])
def test_scores_are_derivatives_of_log_psi(is_complex):
    d, family, ansatz = derivatives(is_complex)
    flat, unravel = ravel_pytree(d.trained)
    direction = jax.random.normal(jax.random.key(3), flat.shape, flat.dtype)
    step = 1e-6

    @jax.jit
    def complex_log_psi(theta):
        value = eqx.combine(unravel(theta), d.static)(d.positions[1, 2], family.select(1))
        return jax.lax.complex(value.log_magnitude, value.phase)

    def log_psi(theta):
        return complex(complex_log_psi(theta))

    slope = (log_psi(flat + step * direction) - log_psi(flat - step * direction)) / (2 * step)
    found = flat_scores(d)[1, 2] @ np.asarray(direction)
    assert np.isclose(found[0], slope.real, rtol=1e-5, atol=1e-7)
    if is_complex:
        assert np.isclose(found[1], slope.imag, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5])
def test_chunks_change_nothing(chunk):
    whole, family, ansatz = derivatives(True)
    pieces, _, _ = derivatives(True, chunk)
    assert np.allclose(flat_scores(whole), flat_scores(pieces), rtol=1e-12, atol=1e-13)
    arguments = (ansatz, family.hamiltonian, whole.positions, family.parameters, None)
    a, b = compiled_call(local_energies, *arguments), compiled_call(local_energies, *arguments, chunk)
    assert np.allclose(a.total, b.total, rtol=1e-12)


CASES_OF_GRAM = [(is_complex, chunk, "cpu") for is_complex in (False, True) for chunk in (None, 2)]


@pytest.mark.parametrize(("is_complex", "chunk", "backend"), [*CASES_OF_GRAM, (True, None, "gpu")])
def test_gram_and_products_are_those_of_the_scores(is_complex, chunk, backend, monkeypatch):
    # Blocks follow the device: few and large ones on a GPU.
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(_gram, "ROWS", 3)
    monkeypatch.setattr(_gram, "COLUMNS", 100)
    d, _, _ = derivatives(is_complex, chunk)
    mask = jnp.ones(d.positions.shape[:2], bool).at[0, 1].set(False)
    scores = flat_scores(d)
    mean = np.average(scores, axis=1, weights=np.broadcast_to(mask[..., None, None], scores.shape), keepdims=True)
    rows = np.where(mask[..., None, None], scores - mean, 0)
    rows = np.moveaxis(rows, 2, 0).reshape(-1, scores.shape[-1])
    gram, valid = jax.jit(lambda: (d.gram(mask).matrix, d.gram(mask).valid))()
    assert np.allclose(gram, rows @ rows.T, rtol=1e-10, atol=1e-10) and np.array_equal(valid, mask)
    flat, unravel = ravel_pytree(d.trained)
    tangent = jax.random.normal(jax.random.key(4), flat.shape, flat.dtype)
    weights = jnp.where(mask[..., None], jax.random.normal(jax.random.key(5), scores.shape[:3]), 0)

    @jax.jit
    def products(tangent, weights):
        gram = d.gram(mask)
        return [(f(tangent), t(weights)) for f, t in (d.products(valid), (gram.forward, gram.transpose))]

    for forward, transpose in products(unravel(tangent), weights):
        found = np.where(mask[..., None], forward, 0)
        assert np.allclose(found, np.where(mask[..., None], scores @ np.asarray(tangent), 0), rtol=1e-9, atol=1e-10)
        expected = np.einsum("hwk,hwkp->p", weights, scores)
        assert np.allclose(ravel_pytree(transpose)[0], expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("chunk", [None, 2])
def test_walkers_with_scores_that_are_not_finite_are_found(chunk):
    d, _, _ = derivatives(True, chunk)
    d = dataclasses.replace(d, positions=d.positions.at[0, 2, 1].set(jnp.nan))
    mask = jnp.ones(d.positions.shape[:2], bool).at[1, 0].set(False)
    expected = np.asarray(mask) & np.isfinite(flat_scores(d)).all(axis=(2, 3))
    assert not expected[0, 2] and expected.sum() == mask.sum() - 1
    np.testing.assert_array_equal(compiled_call(d.finite, mask), expected)

    def without_it():
        gram = d.gram(mask)
        return gram.valid, gram.matrix, gram.transpose(gram.forward(d.trained))

    valid, matrix, both_ways = compiled_call(without_it)
    np.testing.assert_array_equal(valid, expected)
    assert np.isfinite(matrix).all() and np.isfinite(ravel_pytree(both_ways)[0]).all()


def test_clipping_is_counted_and_never_touches_the_energy():
    energies = jnp.asarray(np.r_[np.zeros(30), 1.0, -1.0, 100.0].reshape(1, -1))
    residuals, finite, statistics = clipped_residuals(energies, 2.0)
    assert np.isclose(statistics.energy[0], 100 / 33)
    assert int(statistics.clipped[0]) == 1 and bool(finite.all())
    assert np.isclose(residuals.sum(), 0, atol=1e-12) and residuals.max() < 10


@pytest.mark.parametrize("walkers", [8, 12, 100])
def test_a_walker_next_to_a_node_weighs_no_more_where_walkers_are_few(walkers):
    """Of n walkers the mean deviation is a share 1/n of the distance of the one that is far away."""
    normal = np.random.default_rng(0).standard_normal(walkers)
    far = np.where(np.arange(walkers) == 3, 1e4, normal)
    residuals, _, statistics = clipped_residuals(jnp.asarray(np.stack([normal, far])))
    assert int(statistics.clipped[1]) == 1 and statistics.energy[1] > 90
    assert np.abs(residuals[1]).max() < 25 and abs(statistics.robust[1]) < 25 / walkers + 0.5
    # Without it nothing is clipped, and the robust mean is the mean.
    assert int(statistics.clipped[0]) == 0
    np.testing.assert_allclose([statistics.robust[0], residuals[0, 3]], [normal.mean(), normal[3] - normal.mean()])


def test_a_bad_walker_is_counted_and_left_out():
    energies = jnp.asarray([[1.0, 2.0, jnp.nan, 3.0]])
    residuals, finite, statistics = clipped_residuals(energies)
    assert int(statistics.bad[0]) == 1 and not finite[0, 2] and residuals[0, 2] == 0
    assert np.isclose(statistics.energy[0], 2.0)


def test_single_precision_variance_is_never_negative():
    energies = jnp.full((1, 64), 12345.678, jnp.float32)
    assert float(clipped_residuals(energies)[2].variance[0]) >= 0


@pytest.mark.parametrize("chunk", [None, 2])
def test_conjugate_gradients_take_the_step_of_a_network(chunk):
    d, family, ansatz = derivatives(True, chunk)
    mask = jnp.ones(d.positions.shape[:2], bool).at[0, 1].set(False)
    energies = compiled_call(local_energies, ansatz, family.hamiltonian, d.positions, family.parameters)
    residuals = clipped_residuals(energies.total)[0]
    steps = []
    for solver in (Cholesky(), ConjugateGradients(tolerance=1e-10)):
        # The damping of one is a random estimate: too small to be seen.
        method = StochasticReconfiguration(damping=1e-9, trust_region=1e9, solver=solver)
        update = compiled_call(method.update, d, residuals, mask, method.init(d.trained))
        steps.append(ravel_pytree(update.trained)[0] - ravel_pytree(d.trained)[0])
        assert not update.fallback
    assert np.linalg.norm(steps[1] - steps[0]) < 1e-3 * np.linalg.norm(steps[0])
