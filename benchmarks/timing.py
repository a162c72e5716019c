"""What the timing benchmarks share: one core, medians, and the forward pass that others are compared with."""

import os
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from qernel.ansatz import Ansatz, log_density
from qernel.compilation import compiled
from qernel.hamiltonian import Family


class Timing(NamedTuple):
    """What a call returns, the median time of later calls, and what the first took beyond it, to compile; seconds."""

    result: Any
    median: float
    compiling: float


def one_core() -> None:
    """Keep this process on one core; to be called before anything is computed."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def timed(function: Callable, *inputs: Any, repeats: int = 5) -> Timing:
    """Time a function of arrays."""
    times = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        result = jax.block_until_ready(function(*inputs))
        times.append(time.perf_counter() - start)
    median = statistics.median(times[1:])
    return Timing(result, median, times[0] - median)


@compiled
def forward_pass(ansatz: Ansatz, r: jax.Array, family: Family) -> jax.Array:
    """log|ψ|² of all walkers."""
    return jax.vmap(lambda p, walkers: jax.vmap(lambda x: log_density(ansatz)(x, p))(walkers))(family.parameters, r)
