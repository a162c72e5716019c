"""How many walkers at once: from the memory that the compiled program says it needs."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from qernel import hosts
from qernel.ansatz import Ansatz
from qernel.compilation import compiler_options
from qernel.hamiltonian import Hamiltonian
from qernel.laplacian import AbstractLaplacian

from ._local_energy import local_energies

# Of a device's memory, the share for the temporary arrays of the local energies.
_SHARE = 0.5
# Of a CPU: what stays in a core's second-level cache. Larger chunks fit the memory, and are slower.
_CACHE = 3 * 2**19


def memory_budget(device: Any) -> int:
    """Bytes for the temporary arrays of one chunk: half of the memory of a GPU, the cache of a core on a CPU."""
    if device.platform == "cpu":
        return _CACHE
    statistics = device.memory_stats() or {}
    return int(_SHARE * statistics.get("bytes_limit", 2**34))


def fitting_chunk(
    ansatz: Ansatz,
    hamiltonian: Hamiltonian,
    positions: Float[Array, "hamiltonians walkers electrons dim"],
    parameters: Any,
    laplacian: AbstractLaplacian | None = None,
    *,
    budget: int | None = None,
) -> int:
    """The largest `chunk` of [`local_energies`][qernel.gradient.local_energies] whose temporary arrays fit.

    The program is compiled for one and for two walkers at once, without optimising its kernels; what it says of its
    memory grows linearly from there. By default the `budget`, in bytes, is
    [`memory_budget`][qernel.gradient.memory_budget] of the device of `positions`. Of several processes, all of which
    must call this, the first one chooses.

    **Raises:** `ValueError` for a budget that is not positive.
    """
    walkers = positions.shape[1]
    if budget is not None and budget < 1:
        raise ValueError(f"a budget of memory must be positive, got {budget} bytes")
    if walkers == 1:
        return 1
    ansatz, positions, parameters = hosts.local((ansatz, positions, parameters))
    size = memory_budget(next(iter(positions.devices()))) if budget is None else budget
    one, two = (_temporary_bytes(ansatz, hamiltonian, positions, parameters, laplacian, chunk) for chunk in (1, 2))
    fitting = 1 + (size - one) // max(two - one, 1)
    return int(hosts.from_first(np.asarray(min(max(fitting, 1), walkers))))


def _temporary_bytes(ansatz, hamiltonian, positions, parameters, laplacian, chunk) -> int:
    arrays, static = eqx.partition((ansatz, hamiltonian, parameters), eqx.is_array)

    def program(arrays, positions):
        ansatz, hamiltonian, parameters = eqx.combine(arrays, static)
        return local_energies(ansatz, hamiltonian, positions, parameters, laplacian, chunk)

    options = dict(compiler_options())
    if jax.default_backend() == "cpu":
        options["xla_backend_optimization_level"] = "0"
    # Shapes alone, on one device: the program is never run.
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), (arrays, positions))
    analysis = jax.jit(program, compiler_options=options).lower(*shapes).compile().memory_analysis()
    # Not every backend analyses.
    return 0 if analysis is None else int(analysis.temp_size_in_bytes)
