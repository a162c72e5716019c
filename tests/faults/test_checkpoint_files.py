"""Each file of a checkpoint spoiled in turn, and folders that are trained in, full or oddly named."""

import itertools
import os
import shutil
import sys
import threading
import time
import warnings

import pytest
from test_checkpoint import assert_same, holder, save

from qernel.run_directory import CheckpointWriter, SaveError, checkpoint_steps, load_checkpoint

HOW = ("flipped", "emptied", "cut", "missing", "garbage")


def spoil(path, how):
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
        return
    if how == "flipped":
        content[len(content) // 3 :: max(1, len(content) // 3)] = bytes(
            byte ^ 0x10 for byte in content[len(content) // 3 :: max(1, len(content) // 3)]
        )
    path.write_bytes({"emptied": b"", "cut": content[: len(content) // 2], "garbage": b"\xff{[" * 9}.get(how, content))


@pytest.fixture(scope="module")
def two_steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    save(folder, 1, 2, identity={"electrons": 6})
    return folder


@pytest.mark.parametrize("how", HOW)
def test_every_file_of_a_checkpoint_in_turn(two_steps, tmp_path, how):
    """What is loaded is the checkpoint to the last bit, or the one before; another model is never said."""
    fallen = 0
    for number, file in enumerate(sorted(p for p in (two_steps / "2").rglob("*") if p.is_file() and p.stat().st_size)):
        folder = tmp_path / str(number)
        shutil.copytree(two_steps, folder)
        spoil(folder / file.relative_to(two_steps), how)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = load_checkpoint(folder, holder(), identity={"electrons": 6})
        damaged = [str(warning.message) for warning in said if issubclass(warning.category, UserWarning)]
        assert_same(found, holder(1.0 if damaged else 2.0))
        fallen += bool(damaged)
    assert fallen


def test_files_of_another_checkpoint(two_steps, tmp_path):
    """Each file that both have, taken from the other one; and two checkpoints that have changed their names."""
    names = [p.relative_to(two_steps / "1") for p in (two_steps / "1").rglob("*") if p.is_file()]
    both = [name for name in names if (two_steps / "2" / name).is_file()]
    assert both
    for number, name in enumerate(both):
        folder = tmp_path / str(number)
        shutil.copytree(two_steps, folder)
        shutil.copyfile(folder / "1" / name, folder / "2" / name)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = load_checkpoint(folder, holder())
        assert_same(found, holder(1.0 if any("damaged" in str(w.message) for w in said) else 2.0))
    folder = tmp_path / "renamed"
    shutil.copytree(two_steps, folder)
    for old, new in (("1", "aside"), ("2", "1"), ("aside", "2")):
        os.rename(folder / old, folder / new)
    with pytest.warns(UserWarning, match="step 2 is damaged .it is the one of step 1, renamed"):
        with pytest.raises(ValueError, match="all of 1, 2 are damaged"):
            load_checkpoint(folder, holder())


@pytest.mark.parametrize("how", HOW)
def test_constants_that_are_damaged_are_made_again(two_steps, tmp_path, how):
    for number, file in enumerate(sorted(p for p in (two_steps / "constants").rglob("*") if p.is_file())):
        folder = tmp_path / str(number)
        shutil.copytree(two_steps, folder)
        if not file.stat().st_size:
            continue
        spoil(folder / file.relative_to(two_steps), how)
        assert_same(load_checkpoint(folder, holder(), constants=holder), holder(2.0))
        # The next training writes them anew, if they cannot be read.
        save(folder, 3, identity={"electrons": 6})
        assert_same(load_checkpoint(folder, holder()), holder(3.0))


def test_constants_of_another_run_are_not_taken(two_steps, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(two_steps, folder)
    shutil.rmtree(folder / "constants")
    with pytest.raises(ValueError, match="whole"), pytest.warns(UserWarning, match="constants"):
        load_checkpoint(folder, holder(), constants=lambda: holder_with(8.0))


def holder_with(value):
    import equinox as eqx
    import jax.numpy as jnp

    return eqx.tree_at(lambda s: s.constants.module["table"], holder(), jnp.full((4, 2), value))


@pytest.mark.parametrize("name", ["a=b,c=[3,3]", "what*?", "with space", "käse", "[/b]"])
def test_folders_of_any_name(tmp_path, name):
    folder = tmp_path / name / "checkpoints"
    save(folder, 1, 2)
    assert_same(load_checkpoint(folder, holder()), holder(2.0))
    assert checkpoint_steps(folder) == (1, 2)


def test_a_checkpoint_that_is_taken_away_while_it_is_read_is_not_damaged(tmp_path):
    """Readers beside a training that keeps two checkpoints, as few as any does, and saves five times a second."""
    save(tmp_path, 0, keep=2)
    stop = threading.Event()

    def write():
        with CheckpointWriter(tmp_path, keep=2) as writer:
            for step in range(1, 1000):
                writer.save(step, holder(float(step)))
                if stop.wait(0.2):
                    return

    training = threading.Thread(target=write)
    training.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            for _ in range(10):
                found = load_checkpoint(tmp_path, holder())
                assert float(found.weights[0]) == int(found.step)
    finally:
        stop.set()
        training.join()


def open_files():
    return len(os.listdir("/proc/self/fd")), threading.active_count()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted in /proc")
def test_saves_leave_no_open_file_and_no_thread(tmp_path):
    with CheckpointWriter(tmp_path) as writer:
        for step in range(3):
            writer.save(step, holder(float(step)))
        writer.wait()
        before = open_files()
        for step in range(3, 23):
            writer.save(step, holder(float(step)))
        writer.wait()
        files, threads = open_files()
    assert files <= before[0] + 1 and threads <= before[1] + 1


def test_a_save_that_fails_is_one_sentence(tmp_path, capfd):
    save(tmp_path, 1)
    writer = CheckpointWriter(tmp_path)
    shutil.rmtree(tmp_path)
    tmp_path.write_text("a file in the way")
    with pytest.raises(SaveError, match=f"cannot save step 2 in {tmp_path}: not a directory"), writer:
        writer.save(2, holder(2.0))
    assert capfd.readouterr().err == ""


def test_a_clock_that_jumps_ends_no_save(tmp_path, monkeypatch):
    """Orbax gives up by the clock on the wall: from one look at it to the next it moves by a day."""
    true, looks = time.time, itertools.count()
    jumps = iter([])
    monkeypatch.setattr(time, "time", lambda: true() + 86400 * next(looks) * next(jumps, 0))
    with CheckpointWriter(tmp_path) as writer:
        for step in range(3):
            jumps = iter([1] * 6)
            writer.save(step, holder(float(step)))
            writer.wait()
    assert next(jumps, None) is None and next(looks) > 18 and checkpoint_steps(tmp_path) == (0, 1, 2)
    assert_same(load_checkpoint(tmp_path, holder()), holder(2.0))


def test_what_threads_of_a_failed_save_print_is_left_unsaid(tmp_path, monkeypatch):
    """A thread of another library that reports to a loop which has ended; other errors are printed as ever."""
    said = []
    monkeypatch.setattr(sys, "unraisablehook", lambda of: said.append(str(of.exc_value)))
    hook = sys.unraisablehook

    class Complaint:
        def __init__(self, text):
            self.text = text

        def __del__(self):
            raise RuntimeError(self.text)

    with CheckpointWriter(tmp_path):
        for text in ("Event loop is closed", "another error"):
            Complaint(text)
    assert sys.unraisablehook is hook and said == ["another error"]
