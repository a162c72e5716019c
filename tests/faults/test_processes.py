"""Real processes, signalled, killed, cut off from their terminals and run side by side, at random moments.

`QERNEL_FAULT_TRIALS=60 pytest -n 2 tests/faults/test_processes.py` makes as many trials of each kind, with one state at
each point and with several phases; without it there are few, with several phases.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from test_checkpoint import assert_same
from tiny_problem import TINY

from qernel.presets import build, load
from qernel.run_directory import checkpoint_steps, load_checkpoint, read_metrics

TRIALS = int(os.environ.get("QERNEL_FAULT_TRIALS", 0))
STEPS = 30
PROBLEMS = {
    "together": (),
    "separate": (
        "ansatz.phases=separate",
        "ansatz.references=['plane_waves','gaussians']",
        "ansatz.start=both",
        "training.competition=0.5",
    ),
}
only_when_asked = pytest.mark.skipif(not TRIALS, reason="one of the trials of QERNEL_FAULT_TRIALS")


def command(*arguments):
    return [sys.executable, "-m", "qernel", *map(str, arguments)]


def begin(out, kind="together", **options):
    settings = (*TINY, *PROBLEMS[kind], f"training.steps={STEPS}", "training.checkpoint_every=3")
    return subprocess.Popen(
        command("run", "moire-6", *settings, "--out", out),
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def resume(out):
    done = subprocess.run(command("resume", out), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module", params=PROBLEMS if TRIALS else ["separate"])
def uninterrupted(request, tmp_path_factory):
    """The kind of the problem, the directory of a run of it that nothing disturbed, and the seconds it took."""
    out = tmp_path_factory.mktemp(request.param) / "run"
    start = time.monotonic()
    process = begin(out, request.param)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return request.param, out, time.monotonic() - start


def rows(out):
    """What the table of metrics says of the training, without what depends on the clock."""
    return [tuple(row.values()) for row in read_metrics(out / "metrics.csv", repeatable=True)]


def state(out):
    problem = build(load(out / "config.toml"), solve=False)
    return load_checkpoint(out / "checkpoints", problem.state(solved=False), identity=problem.identity)


def assert_nothing_is_lost(out, whole):
    """No row is missing or doubled, and the end is the same to the last bit."""
    assert rows(out) == rows(whole)
    assert_same(state(out), state(whole))
    assert (out / "results.csv").read_text() == (whole / "results.csv").read_text()


def wait_for_step(out, process, at_least):
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        if (out / "metrics.csv").is_file() and sum(1 for _ in open(out / "metrics.csv")) > 2 * at_least:
            return
        time.sleep(0.01)
    raise AssertionError(f"no step {at_least}: {process.communicate()[1]}")


@pytest.mark.parametrize("trial", range(1, 1 + (TRIALS or 1)))
def test_a_kill_at_any_moment(uninterrupted, tmp_path, trial):
    """Killed at a random moment from the first checkpoint on, again and again, gone on with after each."""
    kind, whole, _ = uninterrupted
    chance = random.Random(trial)
    out = tmp_path / "run"
    process = begin(out, kind)
    wait_for_step(out, process, 1)
    time.sleep(chance.uniform(0.0, 1.5))
    process.kill()
    process.communicate()
    if trial % 2:
        process = subprocess.Popen(command("resume", out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(chance.uniform(1.0, 8.0))
        process.kill()
        process.communicate()
    assert checkpoint_steps(out / "checkpoints")
    resume(out)
    assert_nothing_is_lost(out, whole)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"] if TRIALS else ["SIGHUP"])
def test_a_signal_while_it_trains_saves_the_step_that_runs(uninterrupted, tmp_path, number):
    kind, whole, _ = uninterrupted
    out = tmp_path / "run"
    process = begin(out, kind)
    wait_for_step(out, process, 4)
    process.send_signal(getattr(signal, number))
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    last = checkpoint_steps(out / "checkpoints")[-1]
    assert (
        said.strip()
        .splitlines()[-1]
        .startswith(f"stopped by {number}: saved step {last}; continue with: qernel resume")
    )
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
    time.sleep(chance.uniform(0.8, 0.6 * seconds))
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
    settings = (*TINY, *PROBLEMS[kind], f"training.steps={STEPS}", "training.checkpoint_every=3")
    process = subprocess.Popen(
        command("run", "moire-6", *settings, "--out", out),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    end = time.monotonic() + 300
    while time.monotonic() < end and not ((out / "metrics.csv").is_file() and len(rows(out)) > 6):
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


@only_when_asked
def test_a_directory_that_is_moved_away_while_it_trains(uninterrupted, tmp_path):
    """One sentence, and what was saved is whole where it is now."""
    kind, whole, _ = uninterrupted
    out, moved = tmp_path / "run", tmp_path / "moved"
    process = begin(out, kind)
    wait_for_step(out, process, 4)
    os.rename(out, moved)
    _, said = process.communicate(timeout=300)
    assert "Traceback" not in said, said
    assert process.returncode == 1 and "cannot save step" in said
    shutil.rmtree(out, ignore_errors=True)
    resume(moved)
    assert_nothing_is_lost(moved, whole)


@only_when_asked
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="a small disk is mounted by root")
def test_a_full_disk_while_it_trains(uninterrupted, tmp_path):
    kind, whole, _ = uninterrupted
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        out = disk / "run"
        process = begin(out, kind)
        wait_for_step(out, process, 1)
        filler = disk / "filler"
        file = os.open(filler, os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(file, b"0" * 4096)
        except OSError:
            os.close(file)
        _, said = process.communicate(timeout=300)
        assert process.returncode == 1 and "Traceback" not in said, said
        errors = [line for line in said.splitlines() if "error" in line]
        assert len(errors) == 1 and "no space left on device" in errors[0], said
        assert np.all(np.diff([int(row[0]) for row in rows(out)]) <= 1)
        filler.unlink()
        resume(out)
        assert_nothing_is_lost(out, whole)
    finally:
        subprocess.run(["umount", "-l", disk])
