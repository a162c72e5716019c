"""A full step must not hang: batched LAPACK calls that do not depend on each other can deadlock XLA on few cores."""

import os
import subprocess
import sys
import warnings

import jax
import pytest

from qernel.cli._threads import widen_pool
from qernel.training import make_mesh

PROGRAM = """
import jax
from qernel.presets import build, preset
from qernel.training import burn_in, largest_mesh, train

problem = build(preset("moire-6", "system.depths_meV=[0, 10, 30]", "sampling.walkers=128",
                       "complex={is_complex}", "width=8",
                       "layers=1", "ansatz.references=['liquid']", "orbital_spacing_meV=15.0"))
mesh = largest_mesh(3, 128)
assert mesh.size == {devices}
state = burn_in(problem.state(), problem.members, problem.method, 3, mesh=mesh)
for state, report in train(state, problem.members, problem.method, {steps}, mesh=mesh):
    jax.block_until_ready(report)
print("steps", int(state.step))
"""


def said(environment, **settings):
    """What the program says, under a watchdog."""
    program = PROGRAM.format(**settings)
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=300, env=environment
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


@pytest.mark.parametrize("is_complex", ["false", "true"])
def test_sixty_full_steps_in_a_plain_process_end(is_complex):
    """Two cores, default environment."""
    # Optimised: sixty steps take longer than the compiler.
    environment = {name: value for name, value in os.environ.items() if name not in ("NPROC", "XLA_FLAGS")}
    assert "steps 60" in said(environment, is_complex=is_complex, devices=1, steps=60)


def test_steps_on_two_devices_of_one_process_end():
    """With the threads that the command line asks for."""
    environment = {name: value for name, value in os.environ.items() if name != "NPROC"}
    environment["XLA_FLAGS"] += " --xla_force_host_platform_device_count=2"
    widen_pool(environment)
    assert int(environment["NPROC"]) > 2
    assert "steps 20" in said(environment, is_complex="true", devices=2, steps=20)


@pytest.mark.parametrize(
    "given, threads",
    [
        ({}, None),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=1"}, None),
        ({"XLA_FLAGS": "--xla_a=1 --xla_force_host_platform_device_count=4"}, 32),
        ({"JAX_NUM_CPU_DEVICES": "3"}, 24),
        ({"JAX_NUM_CPU_DEVICES": "3", "NPROC": "5"}, 5),
    ],
)
def test_the_command_line_asks_for_more_threads_than_devices(given, threads):
    environment = dict(given)
    widen_pool(environment)
    assert environment == given | ({} if threads is None else {"NPROC": str(threads)})


def test_a_mesh_of_more_devices_than_threads_warns(monkeypatch):
    monkeypatch.setenv("NPROC", "7")
    with pytest.warns(UserWarning, match="2 CPU devices of one process share 7 threads"):
        make_mesh(jax.devices()[:2])
    monkeypatch.setenv("NPROC", "8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make_mesh(jax.devices()[:2])
