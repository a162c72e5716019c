"""Two processes on loopback give the numbers of one, and what is left of them after a kill can be continued."""

import os
import socket
import subprocess
import sys
import time

import equinox as eqx
import jax
import numpy as np
import pytest
from tiny_problem import TINY, tiny_config

from qernel import hosts
from qernel.cli._joined import joined
from qernel.presets import build
from qernel.run_directory import checkpoint_steps, load_checkpoint, read_metrics

PRECISION = "training.precision=double"


def started(arguments, *, devices, processes=1, cwd=None):
    """Processes of the command line that share one run, each with its own forced devices."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    }
    several = [["--distributed", f"localhost:{port},{processes},{number}"] for number in range(processes)]
    return [
        subprocess.Popen(
            [sys.executable, "-m", "qernel", *arguments, *(together if processes > 1 else [])],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
        )
        for together in several
    ]


def ended(processes, limit=300):
    """Their exit codes and what they said."""
    try:
        outputs = [process.communicate(timeout=limit)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [process.returncode for process in processes], outputs


def done(arguments, **how):
    codes, outputs = ended(started(arguments, **how))
    assert not any(codes), "\n".join(outputs)
    return outputs


def state_at(path, step):
    config = tiny_config(PRECISION)
    state = load_checkpoint(path / "checkpoints", build(config).state(), step=step)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(state, eqx.is_inexact_array))]


def assert_same_state(a, b, step, within=1e-10):
    left, right = state_at(a, step), state_at(b, step)
    assert len(left) > 10
    for x, y in zip(left, right, strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=within)


def test_two_processes_train_one_is_killed_and_the_run_goes_on(tmp_path):
    alone, runs = tmp_path / "alone", tmp_path / "runs"
    tiny = ["run", "moire-6", *TINY, PRECISION]
    # In a directory with the time in its name, which all have to know.
    processes = started([*tiny, "training.steps=1000000"], devices=2, processes=2, cwd=tmp_path)
    limit = time.monotonic() + 240
    while not (begun := list(runs.glob("*"))) or len(checkpoint_steps(begun[0] / "checkpoints")) < 3:
        assert time.monotonic() < limit and all(process.poll() is None for process in processes), ended(processes, 1)
        time.sleep(0.05)
    (together,) = begun
    processes[1].kill()
    killed = time.monotonic()
    codes, outputs = ended(processes[:1], 60)
    assert time.monotonic() - killed < 60
    assert codes == [1]
    assert "another process of this run has ended" in outputs[0] and "qernel resume" in outputs[0]

    saved = checkpoint_steps(together / "checkpoints")[-1]
    last = saved + 2
    # Half as many devices, and then one.
    outputs = done(["resume", str(together), f"training.steps={last}"], devices=1, processes=2)
    assert "results:" in outputs[0] and "results:" not in outputs[1]
    done([*tiny, "--out", str(alone), f"training.steps={last}"], devices=1)
    assert_same_state(together, alone, saved)
    assert_same_state(together, alone, last)
    assert (together / "results.csv").read_text() == (alone / "results.csv").read_text()
    rows = [list(read_metrics(path / "metrics.csv", repeatable=True)) for path in (together, alone)]
    assert rows[0] == rows[1] and len(rows[0]) == 2 * last


@pytest.mark.parametrize("option", ["here", "localhost,2,0", "localhost:1,2", "localhost:1,two,0"])
def test_an_option_that_cannot_be_read(option):
    with pytest.raises(ValueError, match="--distributed must be 'auto' or HOST:PORT,PROCESSES,NUMBER"):
        with joined(option):
            pass


def test_numbers_that_do_not_fit():
    with pytest.raises(ValueError, match="must be from 0 to 1, got 2"):
        hosts.start("localhost:1", 2, 2)
    with pytest.raises(ValueError, match="need all of coordinator, processes and process"):
        hosts.start("localhost:1")


def test_one_process_is_all_there_is():
    tree = {"a": np.arange(3.0)}
    assert not hosts.several() and hosts.first()
    assert hosts.local(tree) is tree and hosts.shared(tree) is tree
    assert hosts.largest(3) == 3 and hosts.agreed(True) and hosts.from_first(tree["a"]) is tree["a"]
    assert hosts.said("here") == "here"
    hosts.wait("nothing")
    hosts.finish()
    with joined(None) as first:
        assert first
