"""A training step on 1, 2 and 4 forced devices: `python benchmarks/devices.py [--electrons 12] [--walkers 64]`.

Sizes of `step_time.py`, real determinants. Each number of devices is a process of its own on as many cores, as far as
there are some. Strong scaling: `walkers` in all; weak scaling: as many to each device. The efficiency is the number of
walkers a second and core against that of one device. `same` is the largest difference of the parameters, after as many
steps in float64, from those of one device.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import equinox as eqx
import jax
import numpy as np
from published_sizes import problem

from qernel import hosts
from qernel.layers import trainable
from qernel.training import largest_mesh, train

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--electrons", type=int, default=12)
parser.add_argument("--walkers", type=int, default=64)
parser.add_argument("--devices", type=int, nargs="+", default=[1, 2, 4])
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--precision", default="mixed")
parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
arguments = parser.parse_args()


def steps():
    """Times of the steps after the first, and the parameters."""
    chunk = 8 if arguments.electrons < 12 else 2
    built = problem(
        arguments.electrons, walkers=arguments.walkers, real=True, chunk=chunk, precision=arguments.precision
    )
    mesh = largest_mesh(built.members.size, arguments.walkers)
    times, state = [], built.state()
    start = time.perf_counter()
    for state, _ in train(state, built.members, built.method, arguments.steps, mesh=mesh):
        jax.block_until_ready(state)
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
    trained = jax.tree.leaves(hosts.fetch(eqx.filter(state.ansatz, trainable(state.ansatz))))
    parameters = np.concatenate([np.ravel(leaf) for leaf in trained])
    return {"devices": mesh.size, "seconds": float(np.median(times[1:])), "parameters": parameters.tolist()}


def on_devices(devices: int, walkers: int, precision: str) -> dict:
    cores = sorted(os.sched_getaffinity(0))[:devices]
    command = [sys.executable, __file__, "--child", "--electrons", str(arguments.electrons)]
    command += ["--walkers", str(walkers), "--steps", str(arguments.steps), "--precision", precision]
    result = subprocess.run(
        command,
        # More threads than devices: see docs/scaling-out.md.
        env=os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}", "NPROC": str(8 * devices)},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        stdout=subprocess.PIPE,
        check=True,
    )
    found = json.loads(result.stdout.splitlines()[-1])
    assert found["devices"] == devices
    return found | {"cores": len(cores), "rate": walkers / found["seconds"]}


if arguments.child:
    print(json.dumps(steps()))
else:
    print(f"{arguments.electrons} electrons, jax {jax.__version__}; seconds a step")
    for title, share in (("strong", False), ("weak", True)):
        first = None
        for devices in arguments.devices:
            walkers = arguments.walkers * (devices if share else 1)
            found = on_devices(devices, walkers, arguments.precision)
            first = first or found
            efficiency = found["rate"] / first["rate"] * first["cores"] / found["cores"]
            where = f"{devices} devices on {found['cores']} cores, {walkers:4d} walkers"
            print(f"{title:6s} {where}: {found['seconds']:.3f} s, efficiency {efficiency:.2f}", flush=True)
    exact = {
        devices: np.array(on_devices(devices, arguments.walkers, "double")["parameters"])
        for devices in arguments.devices
    }
    for devices, parameters in exact.items():
        difference = np.abs(parameters - exact[arguments.devices[0]]).max()
        print(f"same: {devices} devices, {arguments.steps} steps in float64: {difference:.1e}")
