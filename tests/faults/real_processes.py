"""Trainings in processes of their own, which tests disturb, and what must hold after they were gone on with."""

import contextlib
import os
import subprocess
import sys
import time

import pytest
from test_checkpoint import assert_same
from tiny_problem import TINY

from qernel.presets import build, load
from qernel.run_directory import checkpoint_steps, load_checkpoint, read_metrics

# Trials of each kind; without it there are few, and only of the kinds that every change is tested with.
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
# The step after which one phase is left at each point.
RETIRED = STEPS // 2
only_when_asked = pytest.mark.skipif(not TRIALS, reason="one of the trials of QERNEL_FAULT_TRIALS")


def command(*arguments):
    return [sys.executable, "-m", "qernel", *map(str, arguments)]


def settings(kind):
    return (*TINY, *PROBLEMS[kind], f"training.steps={STEPS}", "training.checkpoint_every=3")


def begin(out, kind="together", **options):
    """A training that goes on beside the test."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command("run", "moire-6", *settings(kind), "--out", out), **options)


def resume(out, **options):
    done = subprocess.run(command("resume", out), capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done


def go_on(out, kind):
    """What its user does: resume it, or begin anew if there is nothing to resume."""
    if checkpoint_steps(out / "checkpoints"):
        return resume(out)
    process = begin(out, kind)
    _, said = process.communicate()
    assert process.returncode == 0, said


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


def last_row(out):
    """The step of the last row, 0 before the first."""
    try:
        return int((out / "metrics.csv").read_text().rsplit("\n", 2)[-2].split(",")[0])
    except (OSError, ValueError, IndexError):
        return 0


def wait_until(what, process, pause=0.01):
    """Look whether it has happened, again and again, while the process runs."""
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        if what():
            return
        time.sleep(pause)
    raise AssertionError(f"it did not happen: {process.communicate()[1]}")


def wait_for_step(out, process, step):
    wait_until(lambda: last_row(out) >= step, process)


def in_words(said):
    """The last line of an end in words; there is no traceback, and no page."""
    assert "Traceback" not in said and len(said.splitlines()) < 12, said
    return said.strip().splitlines()[-1]


@contextlib.contextmanager
def disk_of(megabytes, place):
    """A small disk, which only root may mount."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("a small disk is mounted by root")
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place])
