"""Cost against the number of experts at a fixed number in use: `python benchmarks/experts.py [--experts 4 8 16 32]`.

Of the wavefunction of `step_time.py` (12 electrons, real determinants, expert width 64) on one core: all local energies
and a batched forward pass, routed by the condition, with the gate `spline` (three experts in use) and with `softmax`
(all); relative to the fewest experts of each gate, in one run.
"""

import argparse
import os
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--experts", type=int, nargs="+", default=[4, 8, 16, 32])
parser.add_argument("--walkers", type=int, default=64)
parser.add_argument("--repeats", type=int, default=5)
arguments = parser.parse_args()

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import jax  # noqa: E402
from published_sizes import problem  # noqa: E402

from qernel.ansatz import log_density  # noqa: E402
from qernel.compilation import compiled  # noqa: E402
from qernel.gradient import local_energies  # noqa: E402
from qernel.presets import build, load, to_toml  # noqa: E402


def seconds(function, *inputs):
    jax.block_until_ready(function(*inputs))
    times = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*inputs))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(gate, experts, path):
    path.write_text(to_toml(problem(12, walkers=arguments.walkers, real=True).config))
    settings = [f"ansatz.gate={gate}", "ansatz.router=condition", "ansatz.expert_width=64", f"ansatz.experts={experts}"]
    built = build(load(str(path), settings), references=False)
    family = built.family

    @compiled
    def forward(ansatz, r):
        return jax.vmap(lambda p, walkers: jax.vmap(lambda x: log_density(ansatz)(x, p))(walkers))(family.parameters, r)

    @compiled
    def energies(ansatz, r):
        return local_energies(ansatz, family.hamiltonian, r, family.parameters, None, 2).total

    return seconds(forward, built.ansatz, built.positions), seconds(energies, built.ansatz, built.positions)


if __name__ == "__main__":
    import tempfile
    from pathlib import Path

    with jax.enable_x64(True), tempfile.TemporaryDirectory() as folder:
        print(f"{arguments.walkers} walkers, 12 electrons, one core, jax {jax.__version__}")
        for gate in ("spline", "softmax"):
            first = None
            for experts in arguments.experts:
                forward, energy = measure(gate, experts, Path(folder) / "sizes.toml")
                first = first or (forward, energy)
                print(
                    f"{gate:8s} {experts:3d} experts  forward {forward * 1e3:7.1f} ms ({forward / first[0]:.2f})  "
                    f"energy {energy * 1e3:7.1f} ms ({energy / first[1]:.2f})",
                    flush=True,
                )
