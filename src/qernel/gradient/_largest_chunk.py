"""Number of walkers at once in the local energies, from the memory that the compiled program says it needs."""

from typing import Any

import jax
from jaxtyping import Array, Float

from qernel.ansatz import Ansatz
from qernel.chunks import chunk_that_fits, memory_budget
from qernel.hamiltonian import Hamiltonian
from qernel.laplacian import AbstractLaplacian

from ._local_energy import local_energies


def largest_chunk(
    ansatz: Ansatz,
    hamiltonian: Hamiltonian,
    positions: Float[Array, "hamiltonians walkers electrons dim"],
    parameters: Any,
    laplacian: AbstractLaplacian | None = None,
    *,
    budget: int | None = None,
) -> int:
    """Largest `chunk` of [`local_energies`][qernel.gradient.local_energies] whose temporary arrays fit a `budget`.

    **Arguments:** `budget`, in bytes, by default [`memory_budget`][qernel.chunks.memory_budget] of the device of
    `positions`; the others as for `local_energies`.

    **Returns:** the number of walkers of each Hamiltonian, as
    [`chunk_that_fits`][qernel.chunks.chunk_that_fits] finds it: by compiling for one and for two.

    **Raises:** `ValueError` for a budget that is not positive.
    """

    def program(chunk):
        def energies(ansatz, hamiltonian, positions, parameters, key):
            return local_energies(ansatz, hamiltonian, positions, parameters, laplacian, chunk, key=key)

        return energies

    size = memory_budget(positions) if budget is None else budget
    key = jax.random.key(0)
    return chunk_that_fits(program, (ansatz, hamiltonian, positions, parameters, key), positions.shape[1], size)
