"""The Kronecker-factored step: exact where the metric is a Kronecker product, honest about what it measures."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from tiny_problem import TINY, small_problem

from qernel.optimise import KFAC, _kronecker_metric
from qernel.presets import build, preset
from qernel.training import train


class Outer(NamedTuple):
    rows: Array
    columns: Array | None


class FakeDerivatives:
    """Given outer products in place of a wavefunction's: `(rows, columns)` of each trained array."""

    def __init__(self, **arrays):
        self.factors = {
            name: Outer(*(None if x is None else jnp.asarray(x) for x in arrays[name])) for name in sorted(arrays)
        }
        self.scores = {name: whole(each) for name, each in self.factors.items()}
        self.trained = {
            name: jnp.zeros(x.shape[3:] if self.factors[name].columns is not None else x.shape[3])
            for name, x in self.scores.items()
        }

    def gram(self, mask):
        raise AssertionError("the scores of all walkers with one another are what is to be avoided")

    finite = gradient = gram

    def outer_products(self, stride):
        return [Outer(*(None if x is None else x[:, ::stride] for x in each)) for each in self.factors.values()]

    def products(self, valid):
        scores = {name: jnp.where(valid[:, :, None, None, None], x, x[0, 0]) for name, x in self.scores.items()}

        def forward(trained):
            return sum(jnp.einsum("hwkmn,mn->hwk", x, trained[name].reshape(x.shape[3:])) for name, x in scores.items())

        def transpose(weights):
            return {
                name: jnp.einsum("hwk,hwkmn->mn", weights, x).reshape(self.trained[name].shape)
                for name, x in scores.items()
            }

        return forward, transpose


def whole(factors):
    """(hamiltonians, walkers, parts, m, n)."""
    if factors.columns is None:
        return jnp.swapaxes(factors.rows, -1, -2)
    return jnp.einsum("hwktm,hwktn->hwkmn", factors.rows, factors.columns)


def one_axis(rng, size=6, walkers=12, parts=1):
    """Scores of an array of one axis with mean zero for each of two Hamiltonians."""
    scores = rng.normal(size=(2, walkers, parts, 1, size))
    return scores - scores.mean(axis=1, keepdims=True), None


def residuals_of(rng, walkers=12, parts=1):
    residuals = rng.normal(size=(2, walkers)) + (1j * rng.normal(size=(2, walkers)) if parts == 2 else 0)
    return jnp.asarray(residuals - residuals.mean(axis=1, keepdims=True)), jnp.ones((2, walkers), bool)


@pytest.fixture(autouse=True)
def eigenvectors_of_the_moments_alone(monkeypatch):
    monkeypatch.setattr(_kronecker_metric, "SEPARATION", 0.0)


EXACT = dict(momentum=0.0, trust_region=1e9, balance=False, sample=100)


@pytest.mark.parametrize("parts", [1, 2])
def test_of_one_array_of_one_axis_it_is_the_dense_natural_gradient(parts):
    rng = np.random.default_rng(0)
    derivatives = FakeDerivatives(bias=one_axis(rng, parts=parts))
    residuals, mask = residuals_of(rng, parts=parts)
    method = KFAC(learning_rate=0.1, damping=0.5, **EXACT)
    update = method.update(derivatives, residuals, mask, method.init(derivatives.trained))
    scores = np.moveaxis(derivatives.scores["bias"][..., 0], 2, 0).reshape(-1, 6)
    targets = np.stack([residuals.real, residuals.imag][:parts]).reshape(-1)
    # The spread about a mean of the same 12 walkers.
    metric = scores.T @ scores / 24 * 12 / 11
    slope = scores.T @ targets / 24
    expected = -0.1 * np.linalg.solve(metric + 0.5 * np.trace(metric) / 6 * np.eye(6), slope)
    assert np.allclose(update.trained["bias"], expected, rtol=1e-9)
    assert np.isclose(update.distance, np.sqrt(np.mean((scores @ expected) ** 2) * parts))


def test_of_independent_factors_it_is_the_dense_natural_gradient():
    """Features and slopes in all combinations: the metric of the scores is a Kronecker product."""
    rng = np.random.default_rng(1)
    rows, columns = rng.normal(size=(4, 3)), rng.normal(size=(5, 2)) + 3
    rows = rows - rows.mean(axis=0)
    grid = [(a, b) for a in rows for b in columns]
    rows, columns = (np.tile(np.array(x)[None, :, None, None], (2, 1, 1, 1, 1)) for x in zip(*grid, strict=True))
    derivatives = FakeDerivatives(weight=(rows, columns))
    residuals, mask = residuals_of(rng, walkers=20)
    method = KFAC(learning_rate=0.1, damping=1e-6, **EXACT)
    update = method.update(derivatives, residuals, mask, method.init(derivatives.trained))
    scores = np.asarray(derivatives.scores["weight"]).reshape(40, 6)
    metric = scores.T @ scores / 40 * 20 / 19
    damped = metric + 1e-6 * np.trace(metric) / 6 * np.eye(6)
    expected = -0.1 * np.linalg.solve(damped, scores.T @ np.asarray(residuals).reshape(-1) / 40)
    assert np.allclose(update.trained["weight"].reshape(-1), expected, rtol=1e-9)


def random_factors(rng, terms, m, n, walkers=12):
    """With means far larger than the spread."""
    return rng.normal(size=(2, walkers, 2, terms, m)) + 5, rng.normal(size=(2, walkers, 2, terms, n)) + 5


def test_the_metric_has_the_trace_of_the_centred_one():
    rng = np.random.default_rng(2)
    derivatives = FakeDerivatives(weight=random_factors(rng, 3, 4, 5))
    residuals, mask = residuals_of(rng, parts=2)
    method = KFAC(**EXACT)
    state = method.update(derivatives, residuals, mask, method.init(derivatives.trained)).state
    (metric,) = state.metrics
    variance = np.var(np.asarray(derivatives.scores["weight"]), axis=1, ddof=1).sum(axis=1).mean(axis=0)
    assert np.isclose(metric.variance.sum(), variance.sum(), rtol=1e-10)
    for basis in (metric.row_basis[0], metric.column_basis[0]):
        assert np.allclose(basis.T @ basis, np.eye(len(basis)), atol=1e-12)


def test_arrays_of_one_shape_do_not_see_each_other():
    """Stacked for speed, also where their scores are of other forms and numbers of terms."""
    rng = np.random.default_rng(3)
    arrays = {
        "few": random_factors(rng, 2, 4, 3),
        "many": random_factors(rng, 5, 4, 3),
        "no product": (rng.normal(size=(2, 12, 2, 3, 4)), None),
        "other": random_factors(rng, 2, 3, 4),
    }
    residuals, mask = residuals_of(rng, parts=2)
    # The damping is a mean over all arrays: too small to be seen.
    method = KFAC(learning_rate=0.1, damping=1e-12, **EXACT)
    fake = FakeDerivatives(**arrays)
    fake.trained["no product"] = jnp.zeros((4, 3))
    together = method.update(fake, residuals, mask, method.init(fake.trained))
    for name, factors in arrays.items():
        alone = FakeDerivatives(**{name: factors})
        alone.trained[name] = fake.trained[name]
        expected = method.update(alone, residuals, mask, method.init(alone.trained)).trained[name]
        assert np.allclose(together.trained[name], expected, rtol=1e-6, atol=1e-9)


def test_the_metric_is_an_average_over_steps():
    """Of the same scores again and again it is that of the first step, from the first step on, in any basis."""
    rng = np.random.default_rng(4)
    derivatives = FakeDerivatives(weight=random_factors(rng, 3, 4, 5))
    residuals, mask = residuals_of(rng, parts=2)
    method = KFAC(memory=0.6, refresh=3, **EXACT)
    first = method.update(derivatives, residuals, mask, method.init(derivatives.trained))
    state = first.state
    for _ in range(4):
        update = method.update(derivatives, residuals, mask, state)
        state = update.state
        assert np.allclose(update.trained["weight"], first.trained["weight"], rtol=1e-8)
    assert int(state.step) == 5
    # Other scores come in with 1 - memory.
    other = FakeDerivatives(weight=random_factors(rng, 3, 4, 5))
    once = method.update(other, residuals, mask, method.init(other.trained)).state.metrics[0]
    mixed = method.update(other, residuals, mask, dataclasses.replace(state, step=jnp.asarray(7))).state.metrics[0]
    assert np.allclose(mixed.rows, 0.6 * state.metrics[0].rows + 0.4 * once.rows)
    assert np.isclose(mixed.variance.sum(), 0.6 * state.metrics[0].variance.sum() + 0.4 * once.variance.sum())


def test_trust_region_bounds_the_change_of_the_wavefunction():
    rng = np.random.default_rng(5)
    derivatives = FakeDerivatives(weight=random_factors(rng, 3, 4, 5), bias=one_axis(rng, parts=2))
    residuals, mask = residuals_of(rng, parts=2)
    method = KFAC(learning_rate=1e3, trust_region=0.1, balance=False, sample=100)
    update = method.update(derivatives, residuals, mask, method.init(derivatives.trained))
    change = np.asarray(derivatives.products(mask)[0](update.trained))
    change = change - change.mean(axis=1, keepdims=True)
    assert np.isclose(np.sqrt((change**2).sum(axis=2).mean()), 0.1, rtol=1e-6)
    assert np.isclose(update.distance, 0.1) and update.shrink < 1


def test_walkers_that_do_not_count_leave_no_trace():
    """Not in the mask, or with a score that is not finite: the step is that of the other walkers alone."""
    rng = np.random.default_rng(6)
    rows, columns = random_factors(rng, 3, 4, 5)
    residuals, mask = residuals_of(rng, parts=2)
    method = KFAC(learning_rate=0.1, **(EXACT | {"balance": True}))
    bad = rows.copy()
    bad[1, 5, :, 0, 2] = np.nan
    derivatives = FakeDerivatives(weight=(bad, columns))
    residuals = residuals.at[0, 3].set(0)
    update = method.update(derivatives, residuals, mask.at[0, 3].set(False), method.init(derivatives.trained))
    keep = np.array([np.delete(np.arange(12), 3), np.delete(np.arange(12), 5)])
    fewer = [np.stack([x[h, keep[h]] for h in range(2)]) for x in (rows, columns)]
    rest = jnp.stack([residuals[h, keep[h]] for h in range(2)])
    alone = FakeDerivatives(weight=fewer)
    rest = rest - rest.mean(axis=1, keepdims=True)
    expected = method.update(alone, rest, jnp.ones((2, 11), bool), method.init(alone.trained))
    assert np.allclose(update.trained["weight"], expected.trained["weight"], rtol=1e-8)
    assert np.isclose(update.distance, expected.distance)


def test_one_walker_has_no_spread():
    rng = np.random.default_rng(10)
    rows, columns = random_factors(rng, 3, 4, 5, walkers=1)
    derivatives = FakeDerivatives(weight=(rows, columns))
    method = KFAC()
    update = method.update(derivatives, jnp.zeros((2, 1)), jnp.ones((2, 1), bool), method.init(derivatives.trained))
    assert not np.any(update.state.metrics[0].variance) and not np.any(update.trained["weight"])


@pytest.mark.parametrize(
    "bad, says",
    [
        (dict(learning_rate=-0.1), "learning_rate must be positive, got -0.1"),
        (dict(damping=0.0), "damping must be positive, got 0.0"),
        (dict(damping=math.nan), "damping must be positive, got nan"),
        (dict(trust_region=-1.0), "trust_region must be positive"),
        (dict(momentum=1.0), r"momentum must lie in \[0, 1\), got 1.0"),
        (dict(memory=-0.1), "memory must lie"),
        (dict(refresh=0), "at least one step"),
        (dict(sample=1), "at least two walkers"),
    ],
)
def test_bad_settings_say_so(bad, says):
    with pytest.raises(ValueError, match=says):
        KFAC(**bad)


def test_a_configuration_takes_what_suits_the_optimiser():
    for name, rate, damping in (("spring", 1.0, 1e-2), ("kfac", 0.3, 1.0), ("adam", 1e-3, 1e-2)):
        config = preset("moire-6", f"optimiser.name={name}").optimiser
        assert (config.learning_rate, config.damping) == (rate, damping)
    assert preset("moire-6", "optimiser.name=kfac", "optimiser.damping=0.1").optimiser.damping == 0.1
    optimiser = build(preset("moire-6", *TINY, "optimiser.name=kfac")).method.optimiser
    assert isinstance(optimiser, KFAC) and optimiser.damping == 1.0


def test_training_lowers_the_energy():
    family, method, state = small_problem(optimiser=KFAC(damping=0.1), walkers=32)
    energies = []
    for _, report in train(state, family, method, 200):
        energies.append(float(np.mean(report.statistics.energy)))
        assert not report.refused
    assert np.mean(energies[-80:]) < np.mean(energies[:40]) - 0.02


def test_the_separation_of_equal_eigenvalues_moves_nothing_else(monkeypatch):
    rng = np.random.default_rng(9)
    derivatives = FakeDerivatives(weight=random_factors(rng, 3, 4, 5))
    residuals, mask = residuals_of(rng, parts=2)
    method = KFAC(learning_rate=0.1, **EXACT)
    exact = method.update(derivatives, residuals, mask, method.init(derivatives.trained)).trained["weight"]
    monkeypatch.undo()
    jax.clear_caches()
    found = method.update(derivatives, residuals, mask, method.init(derivatives.trained)).trained["weight"]
    assert 0 < jnp.linalg.norm(found - exact) < 1e-2 * jnp.linalg.norm(exact)


def test_an_axis_longer_than_the_limit_keeps_its_own_basis(monkeypatch):
    """Of a wide array the metric is diagonal along that axis: of any length the step is finite and downhill."""
    monkeypatch.setattr(_kronecker_metric, "LONGEST", 4)
    rng = np.random.default_rng(8)
    derivatives = FakeDerivatives(weight=random_factors(rng, 3, 4, 5), bias=one_axis(rng, size=1, parts=2))
    residuals, mask = residuals_of(rng, parts=2)
    method = KFAC(**EXACT)
    update = method.update(derivatives, residuals, mask, method.init(derivatives.trained))
    (of_bias, of_weight) = update.state.metrics
    assert of_weight.columns is None and of_weight.column_basis is None and of_weight.row_basis.shape == (1, 4, 4)
    assert of_bias.rows is None and of_bias.columns is None
    parts = jnp.stack([residuals.real, residuals.imag], axis=-1)
    slope = derivatives.products(mask)[1](parts)["weight"]
    assert jnp.sum(slope * update.trained["weight"]) < 0
