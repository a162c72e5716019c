"""Real processes, signalled, killed, cut off from their terminals and run side by side, at random moments.

`QERNEL_FAULT_TRIALS=8 pytest -n 2 --dist load --timeout 0 tests/faults/test_processes.py` makes as many
trials of each kind, with one state at each point and with several phases; without it a few, with several phases.
"""

import os
import random
import signal
import subprocess
import time

import pytest
from real_processes import (
    RETIRED,
    STEPS,
    TRIALS,
    assert_nothing_is_lost,
    begin,
    command,
    go_on,
    in_words,
    last_row,
    only_when_asked,
    resume,
    rows,
    settings,
    wait_for_step,
    wait_until,
)

from qernel.run_directory import checkpoint_steps


def writes_checkpoint(out):
    return any("tmp" in name for name in os.listdir(out / "checkpoints")) if (out / "checkpoints").is_dir() else False


def wait_for_the_moment(moment, out, process, chance):
    """Until the process does what it is to be killed in."""
    if moment == "starting":
        time.sleep(chance.uniform(1.0, 8.0))
    elif moment == "training":
        wait_for_step(out, process, 1)
        time.sleep(chance.uniform(0.0, 1.5))
    elif moment == "saving":
        wait_for_step(out, process, chance.choice(range(STEPS - 4)))
        wait_until(lambda: writes_checkpoint(out), process, pause=1e-4)
        time.sleep(chance.uniform(0.0, 0.02))
    elif moment == "retiring":
        wait_for_step(out, process, RETIRED - 1)
        time.sleep(chance.uniform(0.0, 1.0))
    else:
        wait_for_step(out, process, STEPS)
        time.sleep(chance.uniform(0.0, 4.0))


MOMENTS = ["starting", "training", "saving", "retiring", "evaluating"]


@pytest.mark.parametrize("trial", range(TRIALS or 1))
@pytest.mark.parametrize("moment", MOMENTS if TRIALS else ["saving"])
def test_a_kill_at_any_moment(uninterrupted, tmp_path, moment, trial):
    """Killed at a random moment, every other time once more while it is gone on with."""
    kind, whole, _ = uninterrupted
    if moment == "retiring" and kind == "together":
        pytest.skip("one phase has nothing to retire")
    chance = random.Random(f"{moment} {trial}")
    out = tmp_path / "run"
    process = begin(out, kind)
    wait_for_the_moment(moment, out, process, chance)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    if trial % 2 and checkpoint_steps(out / "checkpoints"):
        process = subprocess.Popen(command("resume", out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(1.0, 8.0))
        process.kill()
        process.wait()
    go_on(out, kind)
    assert_nothing_is_lost(out, whole)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"] if TRIALS else ["SIGHUP"])
def test_a_signal_while_it_trains_saves_the_step_that_runs(uninterrupted, tmp_path, number):
    kind, whole, _ = uninterrupted
    for trial in range(4):
        out = tmp_path / f"run{trial}"
        process = begin(out, kind)
        wait_for_step(out, process, 2)
        process.send_signal(getattr(signal, number))
        _, said = process.communicate(timeout=120)
        # On a busy machine so small a training may end between two looks at it.
        if process.returncode != 0:
            break
    assert process.returncode == 130
    last = checkpoint_steps(out / "checkpoints")[-1]
    assert in_words(said).startswith(f"stopped by {number}: saved step {last}; continue with: qernel resume")
    assert int(rows(out)[-1][0]) == last
    resume(out)
    assert_nothing_is_lost(out, whole)


@only_when_asked
def test_a_second_signal_saves_as_well(uninterrupted, tmp_path):
    kind, whole, _ = uninterrupted
    out = tmp_path / "run"
    process = begin(out, kind)
    wait_for_step(out, process, 4)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "continue with: qernel resume" in said and "Traceback" not in said
    # The table may be a step ahead, which is repeated: the second signal came between its row and its state.
    assert int(rows(out)[-1][0]) - checkpoint_steps(out / "checkpoints")[-1] in (0, 1)
    resume(out)
    assert_nothing_is_lost(out, whole)


@pytest.mark.parametrize("trial", range(TRIALS or 1))
def test_a_signal_before_it_trains_is_heard(uninterrupted, tmp_path, trial):
    """At random moments of the start: while it loads, builds, burns in and compiles."""
    kind, _, seconds = uninterrupted
    chance = random.Random(trial)
    out = tmp_path / "run"
    process = begin(out, kind)
    time.sleep(chance.uniform(0.8, 0.6 * seconds if seconds else 8.0))
    begun = (out / "metrics.csv").is_file()
    process.send_signal(signal.SIGINT)
    start = time.monotonic()
    _, said = process.communicate(timeout=120)
    assert "Traceback" not in said, said
    if begun:
        assert process.returncode in (0, 130)
    elif not (out / "metrics.csv").is_file():
        assert process.returncode in (130, -signal.SIGINT) and time.monotonic() - start < 5, said


def test_output_that_nobody_reads_ends_nothing(uninterrupted, tmp_path):
    """`qernel run | head -1`."""
    kind, whole, _ = uninterrupted
    out = tmp_path / "run"
    process = begin(out, kind)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=300) == 0, process.stderr.read()
    process.stderr.close()
    assert_nothing_is_lost(out, whole)


@only_when_asked
def test_a_lost_terminal(uninterrupted, tmp_path):
    """The terminal is closed while it trains: the run is told by SIGHUP, and what it prints goes nowhere."""
    import pty

    kind, whole, _ = uninterrupted
    out = tmp_path / "run"
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("run", "moire-6", *settings(kind), "--out", out),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    end = time.monotonic() + 300
    while time.monotonic() < end and last_row(out) < 3:
        os.set_blocking(ours, False)
        try:
            os.read(ours, 4096)
        except OSError:
            time.sleep(0.01)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=120) in (129, 130)
    resume(out)
    assert_nothing_is_lost(out, whole)


@only_when_asked
def test_two_processes_on_one_directory(uninterrupted, tmp_path):
    """The second is told, at whatever moment it comes, and the first is not disturbed."""
    kind, whole, seconds = uninterrupted
    out = tmp_path / "run"
    first = begin(out, kind)
    time.sleep(random.Random(0).uniform(0, 0.5 * seconds))
    second = begin(out, kind)
    said = second.communicate()[1], first.communicate()[1]
    codes = sorted((first.returncode, second.returncode))
    assert codes == [0, 2], said
    assert any("is training in" in text or "already holds a run" in text for text in said)
    assert_nothing_is_lost(out, whole)
