"""Time of one training step by phase, and compile time: `python benchmarks/step_time.py [--electrons 6 12 24]`.

One core. Sizes of the published program for this model: 4 layers of width 64, 4 heads of 16, 4 complex determinants,
about 1e5 parameters, 256 walkers of one Hamiltonian, 10 all-electron moves, float32, stochastic reconfiguration.
Prints medians over repeats, all measured in one run, and ratios to 2N + 2 forward passes of the same network. `gram`
is the scores of all walkers and their Gram matrix, `solve` the rest of the update; `MB` the temporary arrays of the
local energy of one walker, `rate` what it reaches of the rate of a product of matrices of 1024 x 1024 (both by the
compiler's own account of one walker). The last lines are the exponents p of N^p from each size to the next.
"""

import argparse
import itertools
import math
import os
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--electrons", type=int, nargs="+", default=[6, 12, 24])
parser.add_argument("--walkers", type=int, default=256)
parser.add_argument("--repeats", type=int, default=5)
parser.add_argument("--real", action="store_true", help="real determinants in place of complex ones")
parser.add_argument("--chunk", type=int, help="walkers at once in the energies; by default what fits a cache")
arguments = parser.parse_args()

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax.flatten_util import ravel_pytree  # noqa: E402
from published_sizes import problem  # noqa: E402

from qernel.ansatz import log_density  # noqa: E402
from qernel.compilation import compiled, compiler_options  # noqa: E402
from qernel.gradient import LogDerivatives, clipped_residuals, local_energies  # noqa: E402
from qernel.layers import trainable  # noqa: E402
from qernel.training import train_step  # noqa: E402
from qernel.training._step import sample_phase  # noqa: E402


def seconds(function, *inputs):
    """Time of the first call, less a later one, and the median of later ones."""
    start = time.perf_counter()
    result = jax.block_until_ready(function(*inputs))
    first = time.perf_counter() - start
    times = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        jax.block_until_ready(function(*inputs))
        times.append(time.perf_counter() - start)
    median = statistics.median(times)
    return result, median, first - median


def measure(electrons):
    chunk = arguments.chunk or (8 if electrons < 12 else 2)
    built = problem(electrons, walkers=arguments.walkers, real=arguments.real, chunk=chunk)
    family, method = built.family, built.method
    state = built.state()
    trained, static = eqx.partition(state.ansatz, trainable(state.ansatz))
    size = ravel_pytree(trained)[0].size

    @compiled
    def forward(ansatz, r):
        return jax.vmap(lambda p, walkers: jax.vmap(lambda x: log_density(ansatz)(x, p))(walkers))(family.parameters, r)

    def energies_of(ansatz, r):
        parameters, chunk = family.parameters, method.energy_chunk
        return local_energies(ansatz, family.hamiltonian, r, parameters, method.laplacian, chunk).total

    energies = compiled(energies_of)

    def derivatives(trained, r):
        return LogDerivatives(trained, static, r, family.parameters)

    @compiled
    def gram(trained, r):
        return derivatives(trained, r).gram(jnp.ones(r.shape[:2], bool))[0]

    @compiled
    def update(trained, r, local, optimiser_state):
        residuals, mask, _ = clipped_residuals(local)
        return method.optimiser.update(derivatives(trained, r), residuals, mask, optimiser_state).trained

    r = state.positions
    _, pass_time, _ = seconds(forward, state.ansatz, r)
    _, sampling, _ = seconds(compiled(lambda s: sample_phase(s, family, method).positions), state)
    local, energy, _ = seconds(energies, state.ansatz, r)
    _, gradient, _ = seconds(gram, trained, r)
    _, updating, _ = seconds(update, trained, r, local, state.optimiser_state)
    _, step, compiling = seconds(lambda: train_step(state, family, method))
    floor = (2 * electrons + 2) * pass_time
    flops, bytes_ = of_one_walker(energies_of, state.ansatz, r)
    rate = flops * arguments.walkers / energy / MATRIX_RATE
    print(
        f"{electrons:4d} {size:9d} {pass_time * 1e3:9.1f} {sampling:9.3f} {energy:9.3f} {gradient:9.3f} "
        f"{updating - gradient:9.3f} {step:9.3f} {compiling:9.1f} {energy / floor:14.2f} "
        f"{bytes_ / 2**20:8.1f} {rate:6.2f}",
        flush=True,
    )
    return {"pass": pass_time, "sampling": sampling, "energy": energy, "step": step}


def of_one_walker(energies, ansatz, r):
    arrays, static = eqx.partition(ansatz, eqx.is_array)
    on_arrays = jax.jit(lambda arrays, r: energies(eqx.combine(arrays, static), r), compiler_options=compiler_options())
    program = on_arrays.lower(arrays, r[:, :1]).compile()
    return program.cost_analysis()["flops"], program.memory_analysis().temp_size_in_bytes


def matrix_rate(size=1024):
    a = jnp.ones((size, size), jnp.float32)
    _, time_, _ = seconds(jax.jit(lambda a: jnp.matmul(a, a, precision="highest")), a)
    return 2 * size**3 / time_


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
