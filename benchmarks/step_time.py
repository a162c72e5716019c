"""Time of one training step by phase, and compile time: `python benchmarks/step_time.py [--electrons 6 12 24]`.

One core. Sizes of the published program for this model: 4 layers of width 64, 4 heads of 16, 4 complex determinants,
about 1e5 parameters, 256 walkers of one Hamiltonian, 10 all-electron moves, float32, stochastic reconfiguration.
Prints medians over repeats, all measured in one run, and ratios to 2N + 2 forward passes of the same network. `gram`
is the scores of all walkers and their Gram matrix, `solve` the rest of the update; `MB` the temporary arrays of the
local energy of one walker, `rate` what its own matrix products reach of the rate of a product of
1024 x 1024 matrices. The last lines are the exponents p of N^p from each size to the next.
"""

import argparse
import itertools
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from flops import matrix_flops
from jax.flatten_util import ravel_pytree
from published_sizes import problem
from timing import forward_pass, one_core, timed

from qernel.ansatz import Ansatz
from qernel.compilation import compiled, compiler_options
from qernel.gradient import LogDerivatives, clipped_residuals, local_energies
from qernel.layers import trainable
from qernel.optimise import KFAC
from qernel.training import train_step
from qernel.training._step import sample_round

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--electrons", type=int, nargs="+", default=[6, 12, 24])
parser.add_argument("--walkers", type=int, default=256)
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--real", action="store_true", help="real determinants in place of complex ones")
parser.add_argument("--optimiser", default="spring", help="spring or kfac (then `gram` is its metric's scores)")
parser.add_argument("--chunk", type=int, help="walkers at once in the energies; by default what fits a cache")
arguments = parser.parse_args()


def median(function: Callable, *inputs: Any) -> float:
    return timed(function, *inputs, repeats=arguments.repeats).median


def measure(electrons: int) -> dict[str, float]:
    chunk = arguments.chunk or (8 if electrons < 12 else 2)
    built = problem(
        electrons,
        walkers=arguments.walkers,
        real=arguments.real,
        chunk=chunk,
        others=[f"optimiser.name='{arguments.optimiser}'"],
    )
    family, method = built.members, built.method
    # Not one of the steps in which KFAC computes eigenvectors, which are few.
    state = eqx.tree_at(lambda state: state.optimiser_state.step, built.state(), jnp.asarray(3, jnp.int32))
    trained, static = eqx.partition(state.ansatz, trainable(state.ansatz))
    size = ravel_pytree(trained)[0].size

    def energies_of(ansatz: Ansatz, r: jax.Array):
        parameters, chunk = family.parameters, method.energy_chunk
        return local_energies(ansatz, family.hamiltonian, r, parameters, method.laplacian, chunk).total

    energies = compiled(energies_of)

    def derivatives(trained: Any, r: jax.Array):
        return LogDerivatives(trained, static, r, family.parameters)

    @compiled
    def gram(trained: Any, r: jax.Array, mask: jax.Array):
        if isinstance(method.optimiser, KFAC):
            return derivatives(trained, r).outer_products(arguments.walkers // method.optimiser.sample)
        return derivatives(trained, r).gram(mask).matrix

    @compiled
    def update(trained: Any, r: jax.Array, local: jax.Array, optimiser_state: Any):
        residuals, mask, _ = clipped_residuals(local)
        return method.optimiser.update(derivatives(trained, r), residuals, mask, optimiser_state).trained

    r = state.positions
    pass_time = median(forward_pass, state.ansatz, r, family)
    _, sampling, compiling_moves = timed(lambda: sample_round(state, family, method), repeats=arguments.repeats)
    local, energy, _ = timed(energies, state.ansatz, r, repeats=arguments.repeats)
    gradient = median(gram, trained, r, jnp.ones(r.shape[:2], bool))
    updating = median(update, trained, r, local, state.optimiser_state)
    # The moves are compiled already, the other half of a step is not.
    _, step, compiling = timed(lambda: train_step(state, family, method), repeats=arguments.repeats)
    floor = (2 * electrons + 2) * pass_time
    flops, bytes_ = of_one_walker(energies_of, state.ansatz, r)
    rate = flops * arguments.walkers / energy / MATRIX_RATE
    print(
        f"{electrons:4d} {size:9d} {pass_time * 1e3:9.1f} {sampling:9.3f} {energy:9.3f} {gradient:9.3f} "
        f"{updating - gradient:9.3f} {step:9.3f} {compiling + compiling_moves:9.1f} {energy / floor:14.2f} "
        f"{bytes_ / 2**20:8.1f} {rate:6.2f}",
        flush=True,
    )
    return {"pass": pass_time, "sampling": sampling, "energy": energy, "step": step}


def of_one_walker(energies: Callable, ansatz: Ansatz, r: jax.Array) -> tuple[int, int]:
    arrays, static = eqx.partition(ansatz, eqx.is_array)
    on_arrays = jax.jit(lambda arrays, r: energies(eqx.combine(arrays, static), r), compiler_options=compiler_options())
    program = on_arrays.lower(arrays, r[:, :1]).compile()
    text, memory = program.as_text(), program.memory_analysis()
    assert text is not None and memory is not None
    return matrix_flops(text), memory.temp_size_in_bytes


def matrix_rate(size: int = 1024) -> float:
    a = jnp.ones((size, size), jnp.float32)
    return 2 * size**3 / median(jax.jit(lambda a: jnp.matmul(a, a, precision="highest")), a)


one_core()
with jax.enable_x64(True):
    kind = "real" if arguments.real else "complex"
    print(f"{arguments.walkers} walkers, {kind} determinants, one core, jax {jax.__version__}; seconds")
    MATRIX_RATE = matrix_rate()
    print(f"products of matrices: {MATRIX_RATE / 1e9:.0f} Gflop/s")
    columns = "sampling    energy      gram     solve      step   compile  energy / floor       MB   rate"
    print(f"   N parameters pass (ms)  {columns}")
    times = {number: measure(number) for number in arguments.electrons}
    for a, b in itertools.pairwise(arguments.electrons):
        powers = {name: math.log(times[b][name] / times[a][name]) / math.log(b / a) for name in times[a]}
        print(f"N {a} to {b}: " + "  ".join(f"{name} N^{power:.2f}" for name, power in powers.items()))
