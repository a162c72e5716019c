"""How many walkers at once in each part of a step: from the memory that the compiled programs say they need."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp

from qernel.ansatz import log_density
from qernel.chunks import chunk_that_fits, memory_budget
from qernel.gradient import LogDerivatives, largest_chunk
from qernel.hamiltonian import Family
from qernel.layers import trainable
from qernel.sampling import Sampler

from ._state import Method, TrainingState


def with_largest_chunks(method: Method, state: TrainingState, family: Family) -> Method:
    """The method with numbers in place of chunks of "auto", its sampler's included.

    Moves and local energies fit a core's cache on a CPU, half of the memory on a GPU
    ([`memory_budget`][qernel.chunks.memory_budget]); the optimiser's update, whose chunks cost a second forward pass,
    half of the memory on either, and if all walkers do, there is no chunk.
    """
    method = dataclasses.replace(method, sampler=sampler_with_largest_chunk(method.sampler, state, family))
    family = state.in_phase(family)
    if method.chunk == "auto":
        chunk = largest_chunk(state.ansatz, family.hamiltonian, state.positions, family.parameters, method.laplacian)
        method = dataclasses.replace(method, chunk=chunk)
    if method.score_chunk == "auto":
        walkers = state.positions.shape[1]
        budget = memory_budget(state.positions, cache=False)
        chunk = chunk_that_fits(lambda chunk: _update(method, chunk), (state, family.parameters), walkers, budget)
        method = dataclasses.replace(method, score_chunk=None if chunk == walkers else chunk)
    return method


def sampler_with_largest_chunk(sampler: Sampler, state: TrainingState, family: Family) -> Sampler:
    """The sampler with a number in place of a chunk of "auto"."""
    parameters = state.in_phase(family).parameters
    return sampler.with_largest_chunk(log_density, state.ansatz, parameters, state.positions, state.step_size)


def _update(method, chunk):
    def update(state, parameters):
        trained, static = eqx.partition(state.ansatz, trainable(state.ansatz))
        derivatives = LogDerivatives(trained, static, state.positions, parameters, chunk)
        shape = state.positions.shape[:2]
        residuals = jnp.zeros(shape, state.positions.dtype)
        return method.optimiser.update(derivatives, residuals, jnp.ones(shape, bool), state.optimiser_state)

    return update
