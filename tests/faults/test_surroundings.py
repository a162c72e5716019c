"""What happens around a training: disks that fill, fail or are taken away, memory that ends, clocks that jump.

`QERNEL_FAULT_TRIALS=2 pytest -n 2 --dist load --timeout 0 tests/faults/test_surroundings.py` makes
as many trials of each kind.
"""

import contextlib
import os
import random
import resource
import shutil
import signal

import numpy as np
import psutil
import pytest
from real_processes import (
    TRIALS,
    assert_nothing_is_lost,
    begin,
    disk_of,
    in_words,
    last_row,
    only_when_asked,
    resume,
    rows,
    wait_for_step,
)

from qernel.run_directory import checkpoint_steps

trials = pytest.mark.parametrize("trial", range(TRIALS or 1))


def fill(file):
    """Write until nothing more is taken."""
    with open(file, "wb", buffering=0) as full, contextlib.suppress(OSError):
        while True:
            full.write(b"0" * 4096)


def python_that(tmp_path, code):
    """The environment of processes in which this code runs first."""
    (tmp_path / "first").mkdir(exist_ok=True)
    (tmp_path / "first" / "sitecustomize.py").write_text(code)
    path = os.pathsep.join(filter(None, [str(tmp_path / "first"), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path}


# ------------------------------------------------------------------------------- disks


@only_when_asked
@trials
def test_a_disk_that_fills_while_it_trains(uninterrupted, tmp_path, trial):
    kind, whole, _ = uninterrupted
    with disk_of(3, tmp_path / "disk") as disk:
        out = disk / "run"
        process = begin(out, kind)
        wait_for_step(out, process, random.Random(trial).randrange(1, 20))
        fill(disk / "filler")
        _, said = process.communicate(timeout=300)
        assert process.returncode == 1 and "no space left on device" in in_words(said), said
        assert sum("error" in line for line in said.splitlines()) == 1
        assert np.all(np.diff([int(row[0]) for row in rows(out)]) <= 1)
        (disk / "filler").unlink()
        resume(out)
        assert_nothing_is_lost(out, whole)


QUOTA = """
import errno, os
room, allocate = [{saves}], os.posix_fallocate
def posix_fallocate(*where):
    room[0] -= 1
    if room[0] < 0:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    return allocate(*where)
os.posix_fallocate = posix_fallocate
"""


@only_when_asked
@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room is asked for where the system has a call for it")
@trials
def test_a_quota_that_is_reached_while_it_trains(uninterrupted, tmp_path, trial):
    """The system's answer comes from the test: after so many saves there is no room."""
    kind, whole, _ = uninterrupted
    out = tmp_path / "run"
    process = begin(out, kind, env=python_that(tmp_path, QUOTA.format(saves=random.Random(trial).randrange(2, 6))))
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1 and "quota exceeded" in in_words(said) and "qernel resume" in said, said
    resume(out)
    assert_nothing_is_lost(out, whole)


@only_when_asked
@trials
def test_files_that_may_not_grow(uninterrupted, tmp_path, trial):
    """`ulimit -f`, as some batch systems set it: reached by the table of metrics or by a checkpoint."""
    kind, whole, _ = uninterrupted
    out = tmp_path / "run"
    process = begin(out, kind)
    wait_for_step(out, process, random.Random(trial).randrange(3, 20))
    limit = (2048, 2048) if trial % 2 else (512, 512)
    psutil.Process(process.pid).rlimit(resource.RLIMIT_FSIZE, limit)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1 and "file too large" in in_words(said), said
    resume(out)
    assert_nothing_is_lost(out, whole)


@pytest.mark.parametrize("what", ["moved", "removed"] if TRIALS else [])
@trials
def test_a_directory_that_is_gone_while_it_trains(uninterrupted, tmp_path, what, trial):
    """One sentence; and what was saved is whole where it is now."""
    kind, whole, _ = uninterrupted
    out, moved = tmp_path / "run", tmp_path / "moved"
    process = begin(out, kind)
    wait_for_step(out, process, random.Random(trial).randrange(1, 20))
    if what == "moved":
        os.rename(out, moved)
    else:
        # Files may be written meanwhile.
        while out.exists():
            shutil.rmtree(out, ignore_errors=True)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1 and ("cannot save step" in in_words(said) or "is gone" in said), said
    if what == "moved":
        shutil.rmtree(out, ignore_errors=True)
        resume(moved)
        assert_nothing_is_lost(moved, whole)


# ------------------------------------------------------------------------------- memory and clocks


@only_when_asked
@trials
def test_memory_that_ends_while_it_trains(uninterrupted, tmp_path, trial):
    """No more than the process has now: it ends in words, or the system ends it; what was saved is whole."""
    kind, whole, _ = uninterrupted
    chance = random.Random(trial)
    out = tmp_path / "run"
    process = begin(out, kind)
    wait_for_step(out, process, chance.randrange(1, 20))
    watched = psutil.Process(process.pid)
    limit = watched.memory_info().vms + chance.choice([0, 1 << 20, 1 << 24])
    watched.rlimit(resource.RLIMIT_AS, (limit, limit))
    _, said = process.communicate(timeout=300)
    assert process.returncode in (0, 1, -signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS), said
    if process.returncode == 1:
        in_words(said)
    assert checkpoint_steps(out / "checkpoints")
    resume(out)
    assert_nothing_is_lost(out, whole)


CLOCK = """
import random, time
true, chance, jump = time.time, random.Random({seed}), [0.0]
def now():
    if chance.random() < 0.002:
        jump[0] = chance.uniform(-1e7, 1e7)
    return true() + jump[0]
time.time, time.time_ns = now, lambda: int(1e9 * now())
"""


@only_when_asked
@trials
def test_a_clock_that_jumps_by_months(uninterrupted, tmp_path, trial):
    """One look at the clock in five hundred finds it elsewhere, before a kill and after it."""
    kind, whole, _ = uninterrupted
    environment = python_that(tmp_path, CLOCK.format(seed=trial))
    out = tmp_path / "run"
    process = begin(out, kind, env=environment)
    wait_for_step(out, process, 9)
    process.kill()
    process.communicate()
    assert last_row(out) >= 9
    resume(out, env=environment)
    assert_nothing_is_lost(out, whole)
