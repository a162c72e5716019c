"""Processor milliseconds that XLA takes to compile one small kernel: `python benchmarks/kernels.py`.

Fifty arrays of different shapes in one program, so that no two kernels are equal. What a program of many kernels cannot
beat, whatever they compute.
"""

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from qernel.compilation import compiler_options

ARRAYS = [jnp.ones((7 + i, 13 + 2 * i)) for i in range(50)]
KERNELS = {
    "one addition": lambda x: x + 1,
    "one tanh": jnp.tanh,
    "one sum over an axis": lambda x: jnp.sum(x, axis=0),
    "one transposition": lambda x: x.T + 1,
}


def milliseconds(kernel: Callable[[jax.Array], jax.Array]) -> float:
    lowered = jax.jit(lambda arrays: [kernel(x) for x in arrays], compiler_options=compiler_options()).lower(ARRAYS)
    start = time.process_time()
    lowered.compile()
    return 1e3 * (time.process_time() - start) / len(ARRAYS)


milliseconds(lambda x: x - 1)
for name, kernel in KERNELS.items():
    print(f"{name:22s} {milliseconds(kernel):5.0f} ms", flush=True)
