"""Stochastic reconfiguration at size: `python benchmarks/solvers.py [--electrons 24] [--width 64 256] [--run 256]`.

The update alone (scores, linear system, new parameters) of one Hamiltonian, real determinants, 4 layers; the width
decides the number of parameters. `GiB` are the temporary arrays of the program, by the compiler's own account: it is
compiled for these shapes and not run. `scores` is what the matrix of all scores would take. With `--run N`, the time of
the update for N walkers of the width 64, run on one core.
"""

import argparse
import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from published_sizes import problem
from timing import one_core, timed

from qernel.compilation import compiler_options
from qernel.gradient import LogDerivatives
from qernel.layers import trainable
from qernel.optimise import AbstractSolver, Cholesky, ConjugateGradients, StochasticReconfiguration
from qernel.run_directory import Problem

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--electrons", type=int, default=24)
parser.add_argument("--width", type=int, nargs="+", default=[64, 256])
parser.add_argument("--walkers", type=int, nargs="+", default=[256, 1024, 4096])
parser.add_argument("--score-chunk", type=int, default=0, help="walkers differentiated at once; 0: all")
parser.add_argument("--run", type=int, nargs="*", default=[])
arguments = parser.parse_args()
SOLVERS = {"cholesky": Cholesky(), "conjugate gradients": ConjugateGradients()}


def built_with(width: int) -> Problem:
    others = (f"ansatz.width={width}", f"ansatz.expert_width={width}", f"ansatz.head_size={width // 4}")
    return problem(arguments.electrons, walkers=2, real=True, others=others)


def update_of(built: Problem, solver: AbstractSolver):
    assert isinstance(built.method.optimiser, StochasticReconfiguration)
    optimiser = dataclasses.replace(built.method.optimiser, solver=solver)
    trained, static = eqx.partition(built.ansatz, trainable(built.ansatz))
    arrays, rest = eqx.partition(static, eqx.is_array)

    def update(trained: Any, arrays: Any, positions: jax.Array, parameters: Any):
        derivatives = LogDerivatives(
            trained, eqx.combine(arrays, rest), positions, parameters, arguments.score_chunk or None
        )
        residuals = jnp.sin(jnp.arange(positions.shape[1], dtype=positions.dtype))[None]
        mask = jnp.ones(positions.shape[:2], bool)
        return optimiser.update(derivatives, residuals - residuals.mean(), mask, optimiser.init(trained)).trained

    return update, (trained, arrays)


def memory(built: Problem, walkers: int, solver: AbstractSolver) -> float:
    update, (trained, arrays) = update_of(built, solver)
    one = built.state().positions[:, :1]
    positions = jnp.broadcast_to(one, (1, walkers, *one.shape[2:]))
    options = dict(compiler_options()) | {"xla_backend_optimization_level": "0"}
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (trained, arrays, positions, built.members.parameters)
    )
    analysis = jax.jit(update, compiler_options=options).lower(*shapes).compile().memory_analysis()
    assert analysis is not None
    return analysis.temp_size_in_bytes / 2**30


one_core()
with jax.enable_x64(True):
    chunk = arguments.score_chunk or "all"
    print(f"{arguments.electrons} electrons, {chunk} walkers differentiated at once, jax {jax.__version__}")
    for width in arguments.width:
        built = built_with(width)
        size = ravel_pytree(eqx.filter(built.ansatz, trainable(built.ansatz)))[0].size
        for walkers in arguments.walkers:
            cells = [f"{name} {memory(built, walkers, solver):6.2f} GiB" for name, solver in SOLVERS.items()]
            whole = 4 * size * walkers / 2**30
            print(
                f"{size:8d} parameters, {walkers:5d} walkers: {'  '.join(cells)}  scores {whole:6.2f} GiB", flush=True
            )
    for walkers in arguments.run:
        built = problem(arguments.electrons, walkers=walkers, real=True)
        for name, solver in SOLVERS.items():
            update, inputs = update_of(built, solver)
            compiled_update = jax.jit(update, compiler_options=compiler_options())
            positions, parameters = built.state().positions, built.members.parameters
            seconds = timed(compiled_update, *inputs, positions, parameters, repeats=2).median
            print(f"{walkers} walkers, {name}: {seconds:.2f} s", flush=True)
