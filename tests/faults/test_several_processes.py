"""Two processes of one run over loopback, of which one is killed, terminated or frozen; gone on with on other devices.

`QERNEL_FAULT_TRIALS=2 pytest -n 2 --dist load --timeout 0 tests/faults/test_several_processes.py` makes as
many trials of each kind; a kill is tried with every change (`tests/test_hosts.py`).
"""

import random
import signal
import time

import numpy as np
import pytest
from real_processes import TRIALS, in_words, last_row
from test_hosts import PRECISION, assert_same_state, done, ended, started
from tiny_problem import TINY

from qernel.run_directory import checkpoint_steps, read_metrics

pytestmark = pytest.mark.skipif(not TRIALS, reason="one of the trials of QERNEL_FAULT_TRIALS")
LAST = 40
# What sums in another order come to in forty steps.
ROUNDING = 1e-7
RUN = ["run", "moire-6", *TINY, PRECISION, f"training.steps={LAST}", "training.checkpoint_every=3"]
# Processes, and devices of each.
OTHERS = [(1, 1), (1, 2), (2, 1), (1, 4)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "run"
    done([*RUN, "--out", str(out)], devices=1)
    return out


def together(out, step):
    """Two processes that have taken so many steps."""
    processes = started([*RUN, "--out", str(out)], devices=2, processes=2)
    limit = time.monotonic() + 240
    while last_row(out) < step:
        assert time.monotonic() < limit and all(process.poll() is None for process in processes), ended(processes, 1)
        time.sleep(0.01)
    return processes


def go_on(out, alone, trial):
    """Resume on other devices: nothing is missing or doubled, and all is the same within rounding."""
    processes, devices = OTHERS[trial % len(OTHERS)]
    saved = checkpoint_steps(out / "checkpoints")[-1]
    done(["resume", str(out)], devices=devices, processes=processes)
    table, expected = (
        [list(row.values()) for row in read_metrics(p / "metrics.csv", repeatable=True)] for p in (out, alone)
    )
    numbers = [np.array([[float(text or "nan") for text in row] for row in rows]) for rows in (table, expected)]
    np.testing.assert_array_equal(numbers[0][:, :2], numbers[1][:, :2])
    np.testing.assert_allclose(*numbers, rtol=1e-4, atol=1e-5)
    assert_same_state(out, alone, LAST, within=ROUNDING)
    return saved


trials = pytest.mark.parametrize("trial", range(TRIALS))


@trials
@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_to_one_of_two(alone, tmp_path, number, trial):
    """After SIGKILL the other says that it is alone; after the others both save the step that runs and end."""
    chance = random.Random(f"{number} {trial}")
    out, victim = tmp_path / "run", trial % 2
    processes = together(out, chance.randrange(4, 20))
    processes[victim].send_signal(getattr(signal, number))
    codes, outputs = ended(processes, 60)
    if number == "SIGKILL":
        assert codes[victim] == -signal.SIGKILL and codes[1 - victim] != 0
        if victim:
            assert "another process of this run has ended" in in_words(outputs[0].split("warning")[-1])
    else:
        assert codes == [130, 130], outputs
        assert f"stopped by {number}: saved step" in outputs[0] and "qernel resume" in outputs[0]
        assert last_row(out) == checkpoint_steps(out / "checkpoints")[-1]
    go_on(out, alone, trial)


@trials
def test_one_of_two_is_frozen_for_a_while(alone, tmp_path, trial):
    chance = random.Random(trial)
    out, victim = tmp_path / "run", trial % 2
    processes = together(out, chance.randrange(4, 20))
    processes[victim].send_signal(signal.SIGSTOP)
    time.sleep(chance.uniform(1, 8))
    processes[victim].send_signal(signal.SIGCONT)
    codes, outputs = ended(processes, 120)
    assert codes == [0, 0], outputs
    assert_same_state(out, alone, LAST, within=ROUNDING)


@trials
def test_one_of_two_is_frozen_for_good(alone, tmp_path, trial):
    """The other ends within two minutes; the frozen one, when it wakes, ends and writes nothing more."""
    chance = random.Random(trial)
    out, victim = tmp_path / "run", trial % 2
    processes = together(out, chance.randrange(4, 20))
    processes[victim].send_signal(signal.SIGSTOP)
    code = processes[1 - victim].wait(timeout=120)
    assert code != 0
    processes[victim].send_signal(signal.SIGCONT)
    codes, outputs = ended(processes, 120)
    assert 0 not in codes, outputs
    go_on(out, alone, trial)
