"""Energies at zero variance: the slope of a training, the correction of a table, the crossing of two branches."""

import numpy as np
import pytest
from synthetic_evaluations import moire_phases, moire_table
from test_health import record
from test_judgement import CROSSING, KINK, branches

from qernel.evaluation import table_rows
from qernel.judgement import add_zero_variance, branch_crossing, variance_slope, verdict
from qernel.studies.transition import find_transition

SLOPE = 0.08
GROUND = np.array([-45.0, -60.0])


def training(steps=200, slope=SLOPE, noise=0.05, seed=0):
    """A training whose variance falls, and its energy with it, at two points; now and then a walker near a node."""
    rng = np.random.default_rng(seed)
    variance = np.array([0.6, 1.0]) * (1 + 40 / np.arange(1, steps + 1)[:, None])
    energy = GROUND + slope * variance + noise * rng.standard_normal((steps, 2))
    measured = variance * (1 + 0.1 * rng.standard_normal((steps, 2)))
    measured[rng.random((steps, 2)) < 0.02] *= 50
    return record(steps=steps, energy=energy, variance=measured)


def test_the_slope_of_a_training_is_found_and_its_error_is_right():
    found = [variance_slope(training(seed=seed)) for seed in range(60)]
    pull = np.array([(slope.value - SLOPE) / slope.error for slope in found])
    assert abs(np.mean([slope.value for slope in found]) - SLOPE) < 0.1 * SLOPE
    assert 0.5 < pull.std() < 1.6


def test_a_slope_that_cannot_be_told_from_zero_is_not_negative():
    found = [variance_slope(training(slope=0.0, seed=seed)) for seed in range(20)]
    assert all(slope is None or 0 <= slope.value < 4 * slope.error for slope in found)
    assert sum(slope is not None for slope in found) > 15


def test_a_training_that_tells_no_slope_tells_none():
    assert variance_slope(training(slope=-SLOPE)) is None
    assert variance_slope(training(steps=6)) is None


def test_a_table_is_corrected_phase_by_phase():
    table = moire_phases([0.0, 10.0, 15.0, 20.0])
    table["variance_typical"] = table["energy"] * 0 + np.array([1.0, 2.0])[:, None]
    names = table["phase"].values.tolist()
    found = add_zero_variance(table, {names[0]: training(), names[1]: training(slope=-SLOPE)})
    slope = variance_slope(training())
    first, second = (found.sel(phase=name) for name in names)
    np.testing.assert_allclose(first["energy_zero_variance"], first["energy"] - slope.value)
    parts = np.sqrt(first["energy_error"] ** 2 + slope.error**2 + (slope.value / 2) ** 2)
    np.testing.assert_allclose(first["energy_zero_variance_error"], parts)
    # Where the training says nothing, nothing is said.
    assert np.isnan(second["energy_zero_variance"]).all()


def test_the_verdict_says_how_far_the_energies_lie_above_the_ground_state():
    table = moire_table([0.0, 10.0, 20.0])
    assert "By their variance" not in " ".join(verdict(table))
    text = " ".join(verdict(add_zero_variance(table, {"": training()})))
    assert "By their variance the energies lie" in text
    head, rows = table_rows(add_zero_variance(table, {"": training()}))
    assert head[-2:] == ["energy_zero_variance", "energy_zero_variance_error"] and rows[0][-1] > 0
    assert "energy_zero_variance" not in table_rows(table)[0]


@pytest.mark.parametrize("of_first, of_second", [(0.1, 0.02), (0.02, 0.1), (0.0, 0.0)])
def test_the_crossing_at_zero_variance(of_first, of_second):
    """Both branches lie too high by a known amount: the root moves by their difference over the kink, and back."""
    first, second = branches()
    for branch, above in ((first, of_first), (second, of_second)):
        branch["energy"] = branch["energy"] + above
        branch["energy_zero_variance"] = branch["energy"] - above
        branch["energy_zero_variance_error"] = np.hypot(branch["energy_error"], above / 2)
    found = branch_crossing(first, second)
    assert found.location - CROSSING == pytest.approx((of_first - of_second) / KINK, abs=4 * found.error)
    assert abs(found.limit - CROSSING) < 4 * found.error
    systematic = np.hypot(of_first, of_second) / 2 / abs(KINK)
    assert found.limit_error == pytest.approx(np.hypot(found.error, systematic), rel=0.1)


def test_a_transition_is_told_at_zero_variance_too():
    table = moire_phases(np.linspace(10.0, 22.0, 7))
    text = " ".join(find_transition(table).sentences)
    assert "cross at V₀ = 16" in text and "zero variance" not in text
    lower = {"liquid": 0.2, "crystal": 0.0}
    above = np.array([lower[name] for name in table["phase"].values])[:, None] * np.ones(7)
    limits = {"energy_zero_variance": table["energy"] - above, "energy_zero_variance_error": table["energy_error"]}
    text = " ".join(find_transition(table.assign(limits)).sentences)
    # The liquid is lower by 0.2 meV, and the slopes differ by 0.2 meV per meV.
    assert "At zero variance they cross at 17." in text and "systematic error included" in text


def test_without_an_extrapolation_there_is_no_limit():
    found = branch_crossing(*branches())
    assert np.isnan(found.limit) and np.isnan(found.limit_error)
