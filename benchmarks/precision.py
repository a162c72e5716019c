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
from published_sizes import configuration

from qernel.ansatz import Ansatz
from qernel.compilation import compiled
from qernel.gradient import local_energies
from qernel.presets import Config, build
from qernel.runs import Run
from qernel.training import TrainingState, burn_in

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--electrons", type=int, nargs="*", default=[6, 24, 54])
parser.add_argument("--walkers", type=int, default=64)
parser.add_argument("--burn-in", type=int, default=20)
parser.add_argument("--run", type=Path, help="a finished run in place of fresh wavefunctions")
parser.add_argument("--repeats", type=int, default=3)
arguments = parser.parse_args()


def under(policy: str, config: Config, state: TrainingState) -> tuple[np.ndarray, float]:
    """The local energies of one state, evaluated under a policy, and their time."""
    rebuilt = build(with_precision(config, policy), solve=False)
    wide = policy == "double"
    cast = lambda x: x.astype(float if wide else jnp.float32) if eqx.is_inexact_array(x) else x
    # The policy is part of the static structure, the arrays are those of the state.
    arrays = [cast(leaf) for leaf in jax.tree.leaves(eqx.filter(state.ansatz, eqx.is_array))]
    empty, static = eqx.partition(rebuilt.ansatz, eqx.is_array)
    ansatz = eqx.combine(jax.tree.unflatten(jax.tree.structure(empty), arrays), static)
    r = cast(state.positions)
    family = state.in_phase(rebuilt.members_of(state))

    @compiled
    def energies(ansatz: Ansatz, r: jax.Array):
        return local_energies(ansatz, family.hamiltonian, r, family.parameters, None, 4).total.real

    found = np.asarray(energies(ansatz, r), float)
    times = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        jax.block_until_ready(energies(ansatz, r))
        times.append(time.perf_counter() - start)
    return found, min(times)


def with_precision(config: Config, policy: str) -> Config:
    return config.model_copy(update={"training": config.training.model_copy(update={"precision": policy})})


def compare(title: str, config: Config, state: TrainingState) -> None:
    exact, seconds = under("double", config, state)
    for policy in ("fast", "mixed"):
        found, time_ = under(policy, config, state)
        difference = np.abs(found - exact) / np.abs(exact)
        print(
            f"{title:24s} {policy:6s} largest {difference.max():.1e}  median {np.median(difference):.1e}  "
            f"of the mean {np.abs((found - exact).mean() / exact.mean()):.1e}  time/double {time_ / seconds:.2f}",
            flush=True,
        )


with jax.enable_x64(True):
    print(f"jax {jax.__version__}, {jax.default_backend()}")
    if arguments.run is not None:
        run = Run.open(arguments.run)
        if run.config is None:
            raise SystemExit(f"{run.path} was made by a script, whose wavefunction has no other policies")
        compare(run.path.name, run.config, run.state)
    else:
        for number in arguments.electrons:
            config = configuration(number, walkers=arguments.walkers, real=True)
            fresh = build(config)
            compare(f"N = {number}", config, burn_in(fresh.state(), fresh.members, fresh.method, arguments.burn_in))
