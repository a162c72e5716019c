"""What is off in a training, in words; the table that it is read from; how much of a step is new."""

import numpy as np
import pytest
from test_observables import record_file, two_phases

from qernel.judgement import verdict
from qernel.run_directory import MetricsWriter, read_metrics, read_training
from qernel.run_directory._metrics import resident_memory
from qernel.training import TrainingRecord, complaints, effective_share

PLACES = ("kappa = 0.1", "kappa = 0.2")


def record(steps=300, **columns):
    """A healthy record of two Hamiltonians, but for what is said."""
    rng = np.random.default_rng(0)
    wide = lambda value: np.full((steps, 2), float(value))
    healthy = {
        "energy": -5 + 0.1 * rng.standard_normal((steps, 2)),
        "error": wide(0.1),
        "variance": wide(1) * rng.uniform(0.5, 2, (steps, 2)),
        "acceptance": wide(0.5),
        "bad_walkers": wide(0),
        "stuck_walkers": wide(0),
        "redrawn_walkers": wide(0),
        "clipped": wide(0.01),
        "kinetic_difference": 0.1 * rng.standard_normal((steps, 2)),
        "kinetic_difference_error": wide(0.1),
        "effective_per_second": wide(100),
        "step_norm": np.full(steps, 0.1),
        "distance": np.full(steps, 0.1),
        "shrink": np.ones(steps),
        "refused": np.zeros(steps),
        "seconds": np.ones(steps),
        "sampling_seconds": np.ones(steps),
        "memory": np.full(steps, 2000.0),
    }
    points = np.array([[0.1], [0.2]])
    return TrainingRecord(step=np.arange(1, steps + 1), names=("kappa",), points=points, **(healthy | columns))


def of_one(value, steps=300, since=0, otherwise=0.0):
    """A quantity of both Hamiltonians that is off at the second one."""
    values = np.full((steps, 2), float(otherwise))
    values[since:, 1] = value
    return values


def late(value, steps=300, since=200, otherwise=0.0):
    values = np.full(steps, float(otherwise))
    values[since:] = value
    return values


OFF = {
    "moves": (
        {"acceptance": of_one(0.0, since=250, otherwise=0.5)},
        "no walker at kappa = 0.2 has moved for 50 steps",
    ),
    "acceptance": ({"acceptance": of_one(0.02, otherwise=0.5)}, "acceptance at kappa = 0.2 has been 0.02"),
    "refused": ({"refused": np.arange(300) % 3 > 0}, "the optimiser refused 14 of the last 20 steps"),
    "trust region": ({"shrink": late(0.1, otherwise=1.0)}, "has bound every one of the last 100 steps, to 0.1"),
    "variance": ({"variance": of_one(150.0, since=260, otherwise=1.0)}, "at kappa = 0.2 has grown 1.5e+02 times"),
    "bad": ({"bad_walkers": of_one(4.0)}, "4 local energies a step at kappa = 0.2 have not been finite"),
    "redrawn": ({"redrawn_walkers": of_one(2.0)}, "2 walkers a step at kappa = 0.2 were lost"),
    "clipped": ({"clipped": of_one(0.15)}, "15% of the local energies at kappa = 0.2 were clipped"),
    "kinetic": ({"kinetic_difference": of_one(0.2)}, "the two kinetic estimators at kappa = 0.2 differ by up to 20"),
    "memory": ({"memory": late(5000.0, otherwise=2000.0)}, "has grown from 2000 to 5000 MB"),
}


def test_nothing_is_said_of_what_is_healthy():
    for steps in (1, 10, 50, 300):
        assert complaints(record(steps), PLACES) == []


@pytest.mark.parametrize("kind", OFF)
def test_what_is_off_is_said(kind):
    columns, words = OFF[kind]
    columns = {name: np.asarray(values, float) for name, values in columns.items()}
    (found,) = complaints(record(**columns), PLACES)
    assert found.kind == kind and words in found.text
    assert not found.text[0].isupper() and not found.text.endswith(".")


@pytest.mark.parametrize("kind", OFF)
def test_what_is_over_is_not(kind):
    """Two hundred good steps after the bad ones."""
    if kind in ("memory", "variance"):
        return
    columns, _ = OFF[kind]
    good = record(200)
    joined = {
        name: np.concatenate([np.asarray(values, float), getattr(good, name)]) for name, values in columns.items()
    }
    assert complaints(record(500, **joined), PLACES) == []


def test_the_verdict_says_what_a_training_went_through():
    table = two_phases()
    text = lambda **columns: "\n".join(verdict(table, record(**columns)))
    assert "The optimiser refused 1 step of 300" in text(refused=late(1.0, since=299))
    assert "2 walkers came where the wavefunction is not finite" in text(redrawn_walkers=of_one(1.0, since=298))
    energy = of_one(np.nan, since=299, otherwise=-5.0)
    assert "In 1 step of 300 a Hamiltonian had no finite local energy" in text(energy=energy)
    assert "At the end of the training the trust region has bound" in text(shrink=late(0.1, otherwise=1.0))
    assert "At the end" not in text()


# ------------------------------------------------------------------------------- the table


def test_a_table_of_an_earlier_version_is_read_and_gone_on_with(tmp_path):
    path = record_file(tmp_path / "metrics.csv", steps=30)
    old = read_training(path)
    assert np.isnan(old.refused).all() and np.isnan(old.clipped).all() and np.isfinite(old.energy).all()
    assert complaints(old, PLACES) == []
    before = path.read_text().splitlines()
    with MetricsWriter(path, ["depth_meV"], np.array([[0.0], [10.0]]), scale=1.0, after_step=20):
        pass
    new = read_training(path)
    assert new.step.tolist() == list(range(21))
    np.testing.assert_array_equal(new.energy, old.energy[:21])
    rows = path.read_text().splitlines()[1:]
    assert all(row.startswith(line) for line, row in zip(before[1:43], rows, strict=True))


GARBAGE = {
    "a quotation mark": b'"',
    "bytes that are no text": b"\xff\xfe\x00\x01garbage",
    "an empty line": b"",
    "too few": b"3,0.0",
    "too many": b",".join([b"3"] * 40),
    "no number": b"3,0.0,-50,much,1.0,0.5,0,0.1,0.01,",
    "no step": b"-1.5,0.0,-50,0.1,1.0,0.5,0,0.1,0.01,",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_in_the_table_costs_no_row(name, tmp_path):
    path = record_file(tmp_path / "metrics.csv", steps=30)
    lines = path.read_bytes().split(b"\n")
    spoilt = b"\n".join([*lines[:9], GARBAGE[name], *lines[9:]])
    path.write_bytes(spoilt)
    assert len(list(read_metrics(path))) == 60 and read_training(path).energy.shape == (30, 2)
    with (
        pytest.warns(UserWarning, match="has 1 lines that cannot be read"),
        MetricsWriter(path, ["depth_meV"], np.array([[0.0], [10.0]]), scale=1.0, after_step=29),
    ):
        pass
    assert (tmp_path / "metrics.damaged.csv").read_bytes() == spoilt
    assert len(list(read_metrics(path))) == 60


def test_the_memory_is_that_of_this_process():
    before = resident_memory()
    large = np.ones(30_000_000)
    assert 100e6 < resident_memory() - before < 1e9 and large[0] == 1


# ------------------------------------------------------------------------------- independence


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_the_effective_share_is_that_of_a_chain(correlation):
    rng = np.random.default_rng(1)
    before = rng.standard_normal((2, 100_000))
    after = correlation * before + np.sqrt(1 - correlation**2) * rng.standard_normal(before.shape)
    after[:, :500] = 0
    expected = (1 - correlation) / (1 + correlation)
    np.testing.assert_allclose(effective_share(before, after), expected, atol=0.02)
    assert np.isnan(effective_share(0 * before, after)).all()
