"""Local energy by four Laplacians against forward passes: `python benchmarks/laplacian.py [--electrons 6 12 24]`.

One core. Sizes of the published program for this model: 4 layers of width 64, 4 query heads of 16 on 2 key/value heads,
4 experts, 4 determinants; float32. The floor is 2N + 2 forward passes of the same network in one batch. Times a walker,
medians of one run; each method has the fastest of the chunks tried. *closed* are the rules of the layers, *folx* the
library as it is published, *folx+* the same with our rules for determinants and plane waves, which an ansatz of one's
own gets. The last columns are the largest difference of the closed rules from folx: relative, under the precisions
`fast`, `mixed` and `double`.
"""

import argparse
from collections.abc import Callable
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
from folx import wrapped_functions
from published_sizes import problem
from timing import forward_pass, one_core, timed

from qernel.ansatz import Ansatz
from qernel.compilation import compiled
from qernel.gradient import local_energies
from qernel.hamiltonian import Family
from qernel.laplacian import AbstractLaplacian, FolxLaplacian, ForwardLaplacian, HessianTrace
from qernel.orbitals import _plane_wave_sum
from qernel.run_directory import Problem

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--electrons", type=int, nargs="+", default=[6, 12, 24])
parser.add_argument("--walkers", type=int, default=32)
parser.add_argument("--chunks", type=int, nargs="+", default=[1, 2, 4, 8])
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--real", action="store_true", help="real determinants in place of complex ones")
parser.add_argument("--hessian", action="store_true", help="the trace of the Hessian as well")
arguments = parser.parse_args()


class PublishedFolx(AbstractLaplacian):
    """folx without the rules that this library adds to it."""

    def __call__(self, log_psi: Callable, r: jax.Array, *, key: jax.Array | None = None):
        del key
        # At most once, or it would come back.
        _plane_wave_sum._register()
        rules = wrapped_functions._LAPLACE_FN_REGISTRY
        with mock.patch.dict(rules), mock.patch.object(wrapped_functions, "register_function"):
            for name in [name for name in rules if str(name).startswith("qernel")]:
                del rules[name]
            return FolxLaplacian()(log_psi, r)


@compiled
def energies(ansatz: Ansatz, r: jax.Array, family: Family, laplacian: AbstractLaplacian, chunk: int):
    return local_energies(ansatz, family.hamiltonian, r, family.parameters, laplacian, chunk).kinetic


def best(laplacian: AbstractLaplacian, built: Problem, r: jax.Array) -> tuple[float, int]:
    """The fastest chunk: time of a walker, and chunk."""
    trials = []
    for chunk in arguments.chunks:
        if chunk <= arguments.walkers:
            of_chunk = timed(energies, built.ansatz, r, built.members, laplacian, chunk, repeats=arguments.repeats)
            trials.append((of_chunk.median, chunk))
    time_, chunk = min(trials)
    return time_ / arguments.walkers, chunk


def difference(electrons: int, precision: str) -> float:
    built = problem(electrons, walkers=arguments.walkers, real=arguments.real, precision=precision)
    r = built.state().positions[:, :4].astype(float if precision == "double" else jnp.float32)
    fast, slow = (
        energies(built.ansatz, r, built.members, method, 2) for method in (ForwardLaplacian(), FolxLaplacian())
    )
    return float(jnp.max(jnp.abs(fast - slow)) / jnp.max(jnp.abs(slow)))


def measure(electrons: int) -> None:
    built = problem(electrons, walkers=arguments.walkers, real=arguments.real)
    r = built.state().positions
    pass_time = (
        timed(forward_pass, built.ansatz, r, built.members, repeats=arguments.repeats).median / arguments.walkers
    )
    floor = (2 * electrons + 2) * pass_time
    methods = {"closed": ForwardLaplacian(), "folx": PublishedFolx(), "folx+": FolxLaplacian()}
    if arguments.hessian:
        methods["Hessian"] = HessianTrace()
    times = {name: best(method, built, r) for name, method in methods.items()}
    cells = [f"{name} {t * 1e3:8.3f} ms (chunk {chunk}) {t / floor:5.2f} floors" for name, (t, chunk) in times.items()]
    others = [f"{name}/closed {times[name][0] / times['closed'][0]:.2f}" for name in times if name != "closed"]
    errors = " ".join(f"{difference(electrons, precision):.0e}" for precision in ("fast", "mixed", "double"))
    print(
        f"N {electrons:3d}  pass {pass_time * 1e3:6.3f} ms  {'  '.join(cells)}  {'  '.join(others)}  {errors}",
        flush=True,
    )


one_core()
with jax.enable_x64(True):
    kind = "real" if arguments.real else "complex"
    print(
        f"{arguments.walkers} walkers, {kind} determinants, one core, jax {jax.__version__}, equinox {eqx.__version__}"
    )
    for number in arguments.electrons:
        measure(number)
