"""Local energies from a few random directions against exact ones: `python benchmarks/probed_laplacian.py RUN ...`.

At the last checkpoint of each run, one core: milliseconds a walker and temporary memory of a walker (as the compiled
program says it needs), exact and with 1, 2, 4, ... colours, and the ratios; what the directions add to the variance of
the local energies between walkers, mean over walkers (and the members with the least and the most) in shares of that
variance, and the median in standard deviations; and the mean difference from the exact energies in its standard errors.
The spread is that of the clipped local energies; walkers next to a node are in the noise as they are.
"""

import argparse
from typing import Any

import equinox as eqx
import jax
import numpy as np
from timing import one_core, timed

from qernel.ansatz import Ansatz
from qernel.compilation import compiled, compiler_options
from qernel.gradient import clipped_residuals, local_energies
from qernel.hamiltonian import Family
from qernel.laplacian import AbstractLaplacian, ForwardLaplacian, ProbedLaplacian
from qernel.runs import Run

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("runs", nargs="+")
parser.add_argument("--colours", type=int, nargs="+", default=[1, 2, 4, 8])
parser.add_argument("--members", type=int, default=6, help="rows of walkers, evenly taken from those of the run")
parser.add_argument("--walkers", type=int, default=24, help="of each member")
parser.add_argument("--draws", type=int, default=4, help="of the signs, for the noise")
parser.add_argument("--chunks", type=int, nargs="+", default=[1, 2, 4])
parser.add_argument("--repeats", type=int, default=1)
arguments = parser.parse_args()


def of_all(
    ansatz: Ansatz, r: jax.Array, family: Family, key: jax.Array, laplacian: AbstractLaplacian, chunk: int
) -> jax.Array:
    return local_energies(ansatz, family.hamiltonian, r, family.parameters, laplacian, chunk, key=key).total


energies = compiled(of_all)


def memory(ansatz: Ansatz, r: jax.Array, family: Family, laplacian: AbstractLaplacian) -> int:
    """Temporary bytes for one walker more."""
    arrays, static = eqx.partition((ansatz, family), eqx.is_array)

    def of(chunk: int) -> int:
        def program(arrays: Any, r: jax.Array, key: jax.Array) -> jax.Array:
            ansatz, family = eqx.combine(arrays, static)
            return of_all(ansatz, r, family, key, laplacian, chunk)

        analysis = (
            jax.jit(program, compiler_options=compiler_options())
            .lower(arrays, r, jax.random.key(0))
            .compile()
            .memory_analysis()
        )
        assert analysis is not None
        return analysis.temp_size_in_bytes

    # Of few walkers the compiler finds room that is there anyway.
    return (of(8) - of(4)) // 4


def measure(path: str) -> None:
    run = Run.open(path)
    state, problem = run.state, run.problem
    family = state.in_phase(problem.members_of(state))
    rows = np.unique(np.linspace(0, family.size - 1, arguments.members).astype(int))
    r, family = state.positions[rows, : arguments.walkers], family.take(rows)
    n, walkers = r.shape[2], r.shape[0] * r.shape[1]
    print(f"{path}: {n} electrons, step {int(state.step)}, {len(rows)} members of {r.shape[1]} walkers")
    unit = problem.system.units.energy

    def best(method: AbstractLaplacian) -> tuple[jax.Array, float, int, int]:
        """Local energies by the fastest chunk, its seconds, the chunk, and the memory of a walker."""
        trials = []
        for chunk in arguments.chunks:
            inputs = (state.ansatz, r, family, jax.random.key(0), method, chunk)
            of_chunk = timed(energies, *inputs, repeats=arguments.repeats)
            trials.append((of_chunk.median, chunk, of_chunk.result))
        seconds, chunk, found = min(trials, key=lambda trial: trial[0])
        return found, seconds, chunk, memory(state.ansatz, r[:1, :8], family.take([0]), method)

    def words(seconds: float, bytes_: int) -> str:
        return f"{seconds / walkers * 1e3:9.2f} ms a walker, {bytes_ / 2**20:8.2f} MiB"

    exact, exact_seconds, _, exact_bytes = best(ForwardLaplacian())
    residuals = clipped_residuals(exact, 5.0)[0]
    spread = np.sqrt(np.mean(np.real(residuals) ** 2, axis=1))
    each = problem.scale * spread
    print(f"  exact     {words(exact_seconds, exact_bytes)}; deviation {each.min():.2f} to {each.max():.2f} {unit}")
    for colours in arguments.colours:
        method = ProbedLaplacian(colours=colours)
        _, seconds, chunk, bytes_ = best(method)
        keys = map(jax.random.key, range(arguments.draws))
        draws = [np.real(energies(state.ansatz, r, family, key, method, chunk) - exact) for key in keys]
        noise = np.stack(draws)
        share = np.mean(noise**2, axis=0) / spread[:, None] ** 2
        members = share.mean(axis=1)
        print(
            f"  {colours} colours {words(seconds, bytes_)}; {exact_seconds / seconds:5.1f} times faster, "
            f"{exact_bytes / bytes_:5.1f} times smaller; adds {share.mean():.3f} ({members.min():.3f} to "
            f"{members.max():.3f}) to the variance, median {np.median(np.sqrt(share)):.3f} deviations; mean "
            f"{noise.mean() / (np.std(noise) / np.sqrt(noise.size)):+.1f} errors",
            flush=True,
        )


one_core()
for one in arguments.runs:
    measure(one)
