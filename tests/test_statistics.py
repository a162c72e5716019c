"""Error bars: coverage on chains of known autocorrelation, and what makes them doubtful."""

import numpy as np
import pytest
from scipy.signal import lfilter

from qernel.observables import series_statistics, smooth_node_tails
from qernel.sampling import effective_samples, r_hat


def autoregressive(rng, runs, walkers, rounds, tau):
    """Stationary chains x_t = a x_{t-1} + noise of unit variance with a = exp(-1/tau)."""
    a = np.exp(-1 / tau)
    noise = rng.standard_normal((runs, walkers, rounds)) * np.sqrt(1 - a * a)
    noise[..., 0] /= np.sqrt(1 - a * a)
    return lfilter([1.0], [1.0, -a], noise, axis=-1)


@pytest.mark.parametrize("tau", [1, 3, 10, 30, 100])
def test_interval_covers_the_mean_in_two_thirds_of_runs(tau):
    rng = np.random.default_rng(tau)
    found = [series_statistics(chains) for chains in autoregressive(rng, 500, 16, 500, tau)]
    covered = np.mean([abs(x.mean) < x.error for x in found])
    assert 0.63 <= covered <= 0.73
    # The error itself is that of the mean, not only right by luck of its distribution.
    assert np.mean([x.error for x in found]) == pytest.approx(np.std([x.mean for x in found]), rel=0.13)


@pytest.mark.parametrize("walkers, rounds", [(64, 200), (256, 100), (1, 4000), (4, 1000)])
@pytest.mark.parametrize("tau", [1, 10])
def test_coverage_at_other_shapes(walkers, rounds, tau):
    rng = np.random.default_rng(7)
    found = [series_statistics(chains) for chains in autoregressive(rng, 200, walkers, rounds, tau)]
    assert 0.58 <= np.mean([abs(x.mean) < x.error for x in found]) <= 0.78


@pytest.mark.parametrize("tau", [1, 3, 10])
def test_autocorrelation_time_and_effective_samples(tau):
    chains = autoregressive(np.random.default_rng(0), 1, 64, 4000, tau)[0]
    a = np.exp(-1 / tau)
    found = series_statistics(chains)
    assert found.autocorrelation_time == pytest.approx((1 + a) / (1 - a), rel=0.1)
    assert found.variance == pytest.approx(1, rel=0.1)
    # Stan's estimator through BlackJAX, an independent implementation.
    assert 64 * 4000 / found.autocorrelation_time == pytest.approx(effective_samples(chains), rel=0.1)
    assert not found.doubts()


def test_r_hat_is_that_of_the_half_chains():
    chains = autoregressive(np.random.default_rng(1), 1, 8, 400, 20)[0]
    halves = np.concatenate([chains[:, :200], chains[:, 200:]])
    assert series_statistics(chains).r_hat == pytest.approx(r_hat(halves), rel=1e-9)


def test_independent_samples():
    found = series_statistics(np.random.default_rng(2).standard_normal((32, 400)))
    assert found.error == pytest.approx(1 / np.sqrt(32 * 400), rel=0.25)
    assert found.autocorrelation_time == pytest.approx(1, abs=0.15)
    assert found.r_hat == pytest.approx(1, abs=0.01)


def test_a_constant_has_no_error():
    found = series_statistics(np.full((16, 50), 3.25))
    assert (found.mean, found.error, found.variance, found.r_hat) == (3.25, 0.0, 0.0, 1.0)
    assert not found.doubts()


def test_mean_is_not_lost_to_an_offset():
    noise = np.random.default_rng(3).standard_normal((16, 100))
    shifted = series_statistics(noise + 1e6)
    assert shifted.error == pytest.approx(series_statistics(noise).error, rel=1e-6)


def test_a_drift_is_doubted():
    rng = np.random.default_rng(4)
    series = rng.standard_normal((64, 200)) + np.linspace(0.3, 0, 200)
    found = series_statistics(series)
    assert found.drift == pytest.approx(-0.3, abs=0.06)
    assert any("drift" in text for text in found.doubts())
    assert not series_statistics(rng.standard_normal((64, 200))).doubts()


def test_trapped_walkers_are_doubted_and_widen_the_error():
    rng = np.random.default_rng(5)
    level = np.where(np.arange(64) < 6, 4.0, 0.0)[:, None]
    found = series_statistics(rng.standard_normal((64, 200)) + level)
    assert found.r_hat > 1.1
    assert found.doubts()
    # The six trapped ones are what is uncertain: their number fluctuates.
    assert found.error > 0.8 * level.std() / np.sqrt(64)


def test_few_effective_samples_are_doubted():
    chains = autoregressive(np.random.default_rng(6), 1, 8, 100, 30)[0]
    assert any("effective samples" in text for text in series_statistics(chains).doubts())


def test_samples_that_are_not_finite_are_excluded_and_counted():
    rng = np.random.default_rng(8)
    series = rng.standard_normal((16, 300))
    holes = rng.random(series.shape) < 0.02
    found = series_statistics(np.where(holes, np.nan, series))
    assert (found.non_finite, found.samples) == (holes.sum(), (~holes).sum())
    assert found.mean == pytest.approx(series[~holes].mean(), abs=1e-12)
    assert found.error == pytest.approx(series_statistics(series).error, rel=0.1)
    assert any("not finite" in text for text in found.doubts())


def test_a_walker_that_is_never_finite():
    series = np.random.default_rng(9).standard_normal((16, 100))
    series[3] = np.inf
    found = series_statistics(series)
    assert found.non_finite == 100 and np.isfinite(found.error) and np.isfinite(found.r_hat)
    nothing = series_statistics(np.full((4, 10), np.nan))
    assert np.isnan(nothing.mean) and nothing.doubts() == ["there is no finite sample"]


def test_masked_coverage():
    rng = np.random.default_rng(10)
    chains = autoregressive(rng, 300, 16, 200, 5)
    chains = np.where(rng.random(chains.shape) < 0.05, np.nan, chains)
    found = [series_statistics(x) for x in chains]
    assert 0.60 <= np.mean([abs(x.mean) < x.error for x in found]) <= 0.76


@pytest.mark.parametrize("order, real", [(3, True), (4, False)])
def test_node_tails_are_smoothed_without_bias(order, real):
    """1/x² at a distance x from a node of density x² (x³ for a complex ψ): mean 3 (2), heavy tail."""
    rng = np.random.default_rng(11)
    exact = {3: 3.0, 4: 2.0}[order]
    found = []
    for _ in range(300):
        raw = 1 / rng.random((32, 300)) ** (2 / order)
        found.append(series_statistics(smooth_node_tails(raw, real)))
    pull = np.abs([(x.mean - exact) / x.error for x in found])
    assert np.mean(pull < 1) > 0.6 and np.mean(pull > 4) < 0.01
    bias = np.mean([x.mean for x in found]) - exact
    assert abs(bias) < 0.01 * exact


def test_a_light_tail_is_left_alone():
    light = 1 + np.random.default_rng(12).random((16, 100))
    assert smooth_node_tails(light, True) is light
    constant = np.full((4, 10), 2.0)
    assert smooth_node_tails(constant, False) is constant
