"""How far local energies are from float64: `python benchmarks/precision.py [--electrons 6 24 54] [--run RUN]`.

Sizes of the published program (see `step_time.py`), real determinants, a fresh wavefunction at 15 meV, walkers after a
burn-in; or the wavefunction and the walkers of a finished run. The same parameters and walkers are evaluated under each
policy; printed are the largest and the median difference from `double` relative to the energy, over all walkers, and
the time of all local energies relative to `double`.
"""

import argparse
import time
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from published_sizes import problem
from rich.console import Console

from qernel.cli._commands import configuration_of
from qernel.compilation import compiled
from qernel.gradient import local_energies
from qernel.presets import build
from qernel.run_directory import RunDirectory
from qernel.run_directory._training import restore
from qernel.training import move_walkers

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--electrons", type=int, nargs="*", default=[6, 24, 54])
parser.add_argument("--walkers", type=int, default=64)
parser.add_argument("--burn-in", type=int, default=20)
parser.add_argument("--run", type=Path, help="a finished run in place of fresh wavefunctions")
parser.add_argument("--repeats", type=int, default=3)
arguments = parser.parse_args()


def under(policy, built, state):
    """The local energies of one state, evaluated under a policy, and their time."""
    rebuilt = build(built.config.model_copy(update={"training": with_precision(built, policy)}), references=False)
    wide = policy == "double"
    cast = lambda x: x.astype(float if wide else jnp.float32) if eqx.is_inexact_array(x) else x
    # The policy is part of the static structure, the arrays are those of the state.
    arrays = [cast(leaf) for leaf in jax.tree.leaves(eqx.filter(state.ansatz, eqx.is_array))]
    empty, static = eqx.partition(rebuilt.ansatz, eqx.is_array)
    ansatz = eqx.combine(jax.tree.unflatten(jax.tree.structure(empty), arrays), static)
    r = cast(state.positions)

    @compiled
    def energies(ansatz, r):
        return local_energies(ansatz, built.members.hamiltonian, r, built.members.parameters, None, 4).total.real

    found = np.asarray(energies(ansatz, r), float)
    times = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        jax.block_until_ready(energies(ansatz, r))
        times.append(time.perf_counter() - start)
    return found, min(times)


def with_precision(built, policy):
    return built.config.training.model_copy(update={"precision": policy})


def compare(title, built, state):
    exact, seconds = under("double", built, state)
    for policy in ("fast", "mixed"):
        found, time_ = under(policy, built, state)
        difference = np.abs(found - exact) / np.abs(exact)
        print(
            f"{title:24s} {policy:6s} largest {difference.max():.1e}  median {np.median(difference):.1e}  "
            f"of the mean {np.abs((found - exact).mean() / exact.mean()):.1e}  time/double {time_ / seconds:.2f}",
            flush=True,
        )


with jax.enable_x64(True):
    print(f"jax {jax.__version__}, {jax.default_backend()}")
    if arguments.run is not None:
        directory = RunDirectory(arguments.run)
        problem_of_run = build(configuration_of(directory, []), references=False)
        compare(str(arguments.run.name), *restore(problem_of_run, directory, Console(), repair=False))
    else:
        for number in arguments.electrons:
            fresh = problem(number, walkers=arguments.walkers, real=True)
            compare(f"N = {number}", fresh, move_walkers(fresh.state(), fresh.members, fresh.method, arguments.burn_in))
