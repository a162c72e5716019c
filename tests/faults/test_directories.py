"""Directories of runs that other processes, other machines and their users write in."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from real_processes import disk_of
from test_checkpoint_files import HOW, spoil
from tiny_problem import TINY

from qernel.cli import main
from qernel.evaluation import read_netcdf, write_netcdf
from qernel.run_directory import Lock, RunDirectory, read_metrics

HOLDER = """
import sys, time
from qernel.run_directory import Lock
lock = Lock(sys.argv[1], what="is training in")
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock of a directory."""
    path = tmp_path / "lock"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLDER), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def qernel(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


# ------------------------------------------------------------------------------- one process at a time


def test_a_second_training_is_refused_and_told_by_whom(other, tmp_path, capsys):
    before = sorted(os.listdir(tmp_path))
    assert qernel("run", "moire-6", *TINY, "--out", tmp_path) == 2
    said = capsys.readouterr().err
    assert f"process {other.pid} on {os.uname().nodename}, since" in said and f"is training in {tmp_path}" in said
    assert sorted(os.listdir(tmp_path)) == before
    # A frozen process holds on: it may go on at any moment.
    os.kill(other.pid, signal.SIGSTOP)
    with pytest.raises(ValueError, match=f"process {other.pid}"):
        RunDirectory(tmp_path).claim()
    # A killed one does not.
    other.kill()
    other.wait()
    with RunDirectory(tmp_path).claim():
        assert json.loads((tmp_path / "lock").read_text())["process"] == os.getpid()
    assert os.listdir(tmp_path) == []


@pytest.fixture
def hasty(monkeypatch):
    """A lock that nobody has touched for two minutes is watched for a fifth of a second."""
    monkeypatch.setattr("qernel.run_directory._lock._BEAT", 0.1)


def elsewhere(path, age):
    """The lock of a process of another machine that touched it `age` seconds ago."""
    path.write_text(json.dumps({"host": "node7", "machine": "node7 boot", "process": os.getpid(), "since": "noon"}))
    at = time.time() - age
    os.utime(path, (at, at))


def test_the_lock_of_another_machine_falls_when_nobody_touches_it(tmp_path, hasty):
    path = tmp_path / "lock"
    elsewhere(path, 60)
    with pytest.raises(ValueError, match="process .* on node7, since noon, writes in"):
        Lock(path)
    elsewhere(path, 200)
    with pytest.warns(UserWarning, match="on node7, since noon, has not touched its lock .* for 3 minutes"):
        with Lock(path) as lock:
            lock.check()
    assert not path.exists()


@pytest.mark.filterwarnings("ignore:.*has not touched its lock")
def test_a_clock_that_jumps_takes_no_lock_away(tmp_path, hasty):
    """The file system's clock is hours ahead of a lock whose holder, on another machine, is alive."""
    path, stop = tmp_path / "lock", threading.Event()
    elsewhere(path, 7200)

    def beat():
        while not stop.wait(0.03):
            os.utime(path, ns=(0, path.stat().st_mtime_ns + 1000))

    alive = threading.Thread(target=beat)
    alive.start()
    try:
        with pytest.raises(ValueError, match="process .* on node7, since noon, writes in"):
            Lock(path)
    finally:
        stop.set()
        alive.join()


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00\xff", '{"machine": 3, "process": "x"}'])
@pytest.mark.filterwarnings("ignore:.*has not touched its lock")
def test_a_lock_that_nobody_can_read_falls_as_well(tmp_path, hasty, content):
    path = tmp_path / "lock"
    path.write_text(content)
    with pytest.raises(ValueError, match="another process|process"):
        Lock(path)
    os.utime(path, (time.time() - 200,) * 2)
    with Lock(path):
        pass


def test_the_number_of_a_dead_process_may_be_taken(tmp_path):
    """Another process of the number of the one that left the lock: told apart by its start."""
    path = tmp_path / "lock"
    with Lock(path):
        left = json.loads(path.read_text())
    path.write_text(json.dumps(left | {"started": "1", "token": "before"}))
    with Lock(path) as lock:
        lock.check()
        taken = json.loads(path.read_text())
    assert taken["started"] == left["started"] and taken["token"] not in ("before", left["token"])


def test_one_process_may_take_its_own_lock_again(tmp_path):
    with Lock(tmp_path / "lock") as first:
        with Lock(tmp_path / "lock") as second:
            second.check()
        first.check()
        # What a process was away too long for is no longer its own.
        elsewhere(tmp_path / "lock", 0)
        with pytest.raises(RuntimeError, match="process .* on node7, since noon, has taken it over: nothing more"):
            first.check()
    assert (tmp_path / "lock").exists()


def test_a_lock_ends_with_its_last_reference(tmp_path):
    lock = Lock(tmp_path / "lock")
    assert (tmp_path / "lock").exists()
    del lock
    assert os.listdir(tmp_path) == []


def test_of_many_that_find_a_lock_left_over_one_gets_it(tmp_path):
    """Six processes that race for it, each for a fifth of a second: never two at once."""
    elsewhere(tmp_path / "lock", 1000)
    code = """
        import sys, time, warnings
        from qernel.run_directory import Lock, _lock
        warnings.simplefilter("ignore")
        _lock._BEAT = 0.1
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(10):
            with Lock(sys.argv[1] + "/lock", wait=60):
                with open(sys.argv[1] + "/log", "a") as log:
                    log.write("in\\n"); log.flush()
                    time.sleep(0.005)
                    log.write("out\\n")
        """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    racing = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in racing:
        process.stdout.readline()
    for process in racing:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait() for process in racing] == [0, 0, 0]
    assert (tmp_path / "log").read_text().split() == ["in", "out"] * 30


# ------------------------------------------------------------------------------- the user's own files


OURS = {
    "config.toml": "# mine\n[sampling]\nwalkers = 8\n",
    "metrics.csv": "mine",
    "results.csv": "mine",
    "report.html": "mine",
    "figures/energy.png": "mine",
}


@pytest.mark.parametrize("name", OURS)
def test_a_users_own_files_are_not_replaced(tmp_path, capsys, name):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(OURS[name])
    assert qernel("run", "moire-6", *TINY, "--out", tmp_path) == 2
    said = capsys.readouterr().err
    assert f"holds {name.partition('/')[0]}, which no run has made and which would be replaced" in said
    assert file.read_text() == OURS[name] and os.listdir(tmp_path) == [name.partition("/")[0]]


def test_the_configuration_of_a_run_that_did_not_begin_is_kept(tmp_path):
    directory = RunDirectory(tmp_path)
    for number in range(3):
        directory.create(f'[provenance]\ncommand = "{number}"\n')
    assert directory.record == {"command": "2"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoints",
        "config.previous-1.toml",
        "config.previous-2.toml",
        "config.toml",
    ]


# ------------------------------------------------------------------------------- whose results


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("finished") / "run"
    with pytest.raises(SystemExit) as stop:
        main(["run", "moire-6", *TINY, "training.steps=2", "--out", str(path)])
    assert stop.value.code == 0
    return path


def test_results_of_one_run_do_not_lie_in_another(finished, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(finished, other)
    before = (other / "results.csv").read_text()
    assert qernel("evaluate", finished, "--out", other) == 2
    assert f"{other} is the directory of another run" in capsys.readouterr().err
    assert (other / "results.csv").read_text() == before
    mine = tmp_path / "mine"
    (mine / "figures").mkdir(parents=True)
    assert qernel("evaluate", finished, "--out", mine) == 2
    assert f"{mine} holds figures, which no run has made" in capsys.readouterr().err


def test_a_report_does_not_show_the_numbers_of_another_model(finished, tmp_path, capsys):
    swapped = tmp_path / "swapped"
    shutil.copytree(finished, swapped)
    table = read_netcdf(finished / "results.nc")
    assert table.attrs["model"] == RunDirectory(finished).record["model"]
    table.attrs["model"] = "another"
    write_netcdf(table, swapped / "results.nc")
    assert qernel("report", swapped) == 2
    assert "were measured on another model than its config.toml describes" in capsys.readouterr().err
    with open(finished / "results.csv") as file:
        assert len(list(csv.DictReader(file))) == 2


def test_a_disk_that_cannot_be_written(finished, tmp_path, capsys):
    """A run of somebody else's: it is read, and nothing is written beside it; a run is not begun there."""
    with disk_of(30, tmp_path / "disk") as disk:
        shutil.copytree(finished, disk / "run")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        assert qernel("evaluate", disk / "run", "--out", tmp_path / "mine") == 0
        assert (tmp_path / "mine" / "results.csv").read_text() == (finished / "results.csv").read_text()
        assert qernel("plot", disk / "run", "--out", tmp_path / "figures") == 0
        assert "energy.png" in os.listdir(tmp_path / "figures")
        assert qernel("report", disk / "run", "--out", tmp_path / "report.html") == 0
        assert qernel("doctor", disk / "run") == 0
        capsys.readouterr()
        for command in (
            "run moire-6 --out {0}/another",
            "resume {0}/run training.steps=40",
            "evaluate {0}/run",
            "plot {0}/run",
            "report {0}/run",
        ):
            assert qernel(*command.format(disk).split()) == 2
            said = capsys.readouterr().err.lower()
            assert "read-only file system" in said or "does not allow it" in said, (command, said)


# ------------------------------------------------------------------------------- damaged files


def spoiled(finished, tmp_path, name, how):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    spoil(copy / name, how)
    return copy


@pytest.mark.parametrize("how", HOW)
def test_damaged_results_are_not_shown(finished, tmp_path, capsys, how):
    """Also where one bit of a number is another one; and they do not stand in the way of new ones."""
    copy = spoiled(finished, tmp_path, "results.nc", how)
    for command in ("report", "plot") if how == "flipped" else ("report",):
        assert qernel(command, copy) == 2
        said = capsys.readouterr().err
        assert f"{copy}/results.nc" in said.replace(" has no ", "/") and "qernel evaluate" in said, said
    if how == "garbage":
        assert qernel("evaluate", copy) == 0
        assert (copy / "results.csv").read_text() == (finished / "results.csv").read_text()
        assert (copy / "results.previous-1.nc").read_bytes().startswith(b"\xff{[")


def test_any_flipped_bit_of_a_result_is_found(finished, tmp_path):
    """Of all bytes that hold numbers, and not only of those that hold the structure of the file."""
    whole, path = read_netcdf(finished / "results.nc"), tmp_path / "results.nc"
    content = (finished / "results.nc").read_bytes()
    found = 0
    for array in list(whole.variables.values())[::3]:
        place = content.find(array.values.tobytes()) if array.dtype.kind == "f" and array.ndim else -1
        if place > 0 and array.values.any():
            flipped = bytearray(content)
            flipped[place + 5] ^= 0x10
            path.write_bytes(flipped)
            with pytest.raises(ValueError, match="is damaged"):
                read_netcdf(path)
            found += 1
    assert found > 8


@pytest.mark.parametrize("how", ["missing", "garbage"])
def test_a_lost_record_of_the_training_ends_no_evaluation(finished, tmp_path, capsys, how):
    copy = spoiled(finished, tmp_path, "metrics.csv", how)
    assert qernel("report", copy) == 0
    if how == "missing":
        assert qernel("resume", copy, "training.steps=3") == 0
        assert [row["step"] for row in read_metrics(copy / "metrics.csv")] == ["3", "3"]
        # Settings changed by the run itself are no change of somebody else's.
        capsys.readouterr()
        assert qernel("doctor", copy) == 0
        assert "was changed" not in capsys.readouterr().err and not (copy / "lock").exists()


@pytest.mark.parametrize("how", HOW)
def test_a_damaged_configuration_is_named_and_its_copy_too(finished, tmp_path, capsys, how):
    copy = spoiled(finished, tmp_path, "config.toml", how)
    assert qernel("resume", copy) == 2
    said = capsys.readouterr().err
    kept = f"its configuration as the run wrote it is kept: cp {copy}/checkpoints/config.toml {copy}/config.toml"
    assert ("config.toml" in said or "another model" in said) and said.strip().endswith(kept), said
    shutil.copy(copy / "checkpoints" / "config.toml", copy / "config.toml")
    assert qernel("doctor", copy) == 0
    assert "warning" not in capsys.readouterr().err


def test_a_configuration_that_was_changed_is_used_with_a_warning(finished, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    text = (copy / "config.toml").read_text()
    assert text.count("checkpoint_every = 2\n") == 1
    (copy / "config.toml").write_text(text.replace("checkpoint_every = 2\n", "checkpoint_every = 3\n"))
    assert qernel("doctor", copy) == 0
    assert "config.toml was changed since the run began, and is used as it is" in capsys.readouterr().err
