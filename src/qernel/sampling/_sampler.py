"""Many walkers through any BlackJAX kernel."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Int, PRNGKeyArray

from qernel.chunks import chunk_that_fits, map_walkers, memory_budget, walker_keys
from qernel.compilation import compiled
from qernel.lattice import Lattice

from ._kernels import random_walk
from ._metropolis import Metropolis


class Walkers(eqx.Module):
    """What a round of sampling leaves: `positions`, `log_density` there, and per Hamiltonian `step_size`, `acceptance`.

    `stuck` counts walkers that accepted no move during the round. `lost` are those at a position, or with a density,
    that is not finite: no comparison with it accepts a move, so that they stay where they are for ever.
    """

    positions: Float[Array, "hamiltonians walkers electrons dim"]
    log_density: Float[Array, "hamiltonians walkers"]
    step_size: Float[Array, " hamiltonians"]
    acceptance: Float[Array, " hamiltonians"]
    stuck: Int[Array, " hamiltonians"]
    lost: Bool[Array, "hamiltonians walkers"]


class Sampler(eqx.Module):
    r"""Moves walkers of many Hamiltonians with a kernel in BlackJAX form, and tunes its step.

    - `algorithm(log_density, step_size)` returns a `blackjax` `SamplingAlgorithm` (`init`, `step`), whose `info` has an
      `acceptance_rate`: any BlackJAX algorithm and any kernel of one's own of this form; or a
      [`Metropolis`][qernel.sampling.Metropolis] kernel.
    - `moves` kernel steps make one round of sampling.
    - after each round, per Hamiltonian, $\log\sigma \leftarrow \log\sigma + g\,(a - a^*)$ with the mean acceptance a,
      the target $a^*$ = `target_acceptance` and gain g = `gain`; `gain=0` freezes the step.
    - `chunk` walkers of each Hamiltonian are moved at once (all of them by default); small chunks fit a CPU's cache.
      Of "auto", [`with_largest_chunk`][qernel.sampling.Sampler.with_largest_chunk] makes a number.
    - `cell`: the periodic cell, into which positions are mapped back after each round (None: open boundaries). The step
      grows to the length of the cell's longest vector and no further: what nearly uniform density accepts at any width
      would else grow until positions have no digits left.

    The density is closed over inside the traced function, so that it may depend on traced network parameters with no
    retrace, and its value at the walkers is computed afresh at the start of every round: BlackJAX's cache would be
    that of the parameters before the last optimiser step. Keys are folded with the global number of the walker, so
    that the chains do not depend on the number of devices.
    """

    algorithm: Callable = eqx.field(static=True, default=random_walk)
    moves: int = eqx.field(static=True, default=10)
    target_acceptance: float = eqx.field(static=True, default=0.5)
    gain: float = eqx.field(static=True, default=0.3)
    chunk: int | Literal["auto"] | None = eqx.field(static=True, default=None)
    cell: Lattice | None = None

    def __check_init__(self):
        if self.moves < 1:
            raise ValueError(f"a round of sampling needs at least one move, got moves={self.moves}")
        if isinstance(self.chunk, int) and self.chunk < 1:
            raise ValueError(f"a chunk needs at least one walker, got {self.chunk}")
        if not 0 <= self.gain < float("inf"):
            raise ValueError(f"the gain of the step size cannot be negative or infinite, got {self.gain}")
        if not 0 < self.target_acceptance < 1:
            raise ValueError(f"target_acceptance must lie between 0 and 1, got {self.target_acceptance}")

    def __call__(
        self,
        log_density: Callable[[Float[Array, "electrons dim"], Any], Float[Array, ""]],
        parameters: Any,
        positions: Float[Array, "hamiltonians walkers electrons dim"],
        step_size: Float[Array, " hamiltonians"],
        key: PRNGKeyArray,
    ) -> Walkers:
        """Run one round from `positions`.

        **Arguments:** `log_density(r, parameters)`, $2\\log|\\psi|$ of one configuration; `parameters`, pytree with a
        leading axis over Hamiltonians.

        **Raises:** `ValueError` while the chunk is "auto".
        """
        if isinstance(self.chunk, str):
            raise ValueError("the chunk is still to be chosen: `Sampler.with_largest_chunk` does it")
        shape = positions.shape[:2]
        keys = walker_keys(key, shape)

        def chain(of_hamiltonian, position, key):
            """The moves of one walker."""
            parameters, step = of_hamiltonian
            algorithm = self.algorithm(lambda r: log_density(r, parameters), step)

            def rate(info):
                return jnp.nan_to_num(jnp.asarray(info.acceptance_rate, float))

            def move(carry, number):
                state, total, moved = carry
                new, info = algorithm.step(jax.random.fold_in(key, number), state)
                return (new, total + rate(info), moved | jnp.any(new.position != state.position)), None

            def turn(carry, number):
                (state, total, moved), proposal = carry
                new, proposal, info = algorithm.turn(
                    jax.random.fold_in(key, number), state, algorithm.evaluate(proposal)
                )
                # The first turn evaluates where the chain begins and is no move.
                total = total + jnp.where(number > 0, rate(info), 0)
                return ((new, total, moved | jnp.any(new.position != state.position)), proposal), None

            begin = jnp.zeros((), float), jnp.zeros((), bool)
            if isinstance(algorithm, Metropolis):
                first = ((algorithm.start(position), *begin), position)
                return jax.lax.scan(turn, first, jnp.arange(1 + self.moves))[0][0]
            return jax.lax.scan(move, (algorithm.init(position), *begin), jnp.arange(self.moves))[0]

        of_hamiltonians = (parameters, step_size)
        states, total, moved = map_walkers(chain, of_hamiltonians, (positions, keys), shape[1], self.chunk)
        acceptance = jnp.mean(total, axis=1) / self.moves
        factor = jnp.exp(self.gain * (acceptance - self.target_acceptance)).astype(step_size.dtype)
        width, final = step_size * factor, states.position
        if self.cell is not None:
            longest = float(np.linalg.norm(self.cell.reduced[-1]))
            width, final = jnp.minimum(width, longest), self.cell.wrap(final)
        return Walkers(
            positions=final,
            log_density=states.logdensity,
            step_size=width,
            acceptance=acceptance,
            stuck=jnp.sum(~moved, axis=1),
            lost=~(jnp.isfinite(states.logdensity) & jnp.all(jnp.isfinite(final), axis=(2, 3))),
        )

    def with_largest_chunk(
        self,
        log_density: Callable[[Any], Callable[..., Any]],
        model: Any,
        parameters: Any,
        positions: Float[Array, "hamiltonians walkers electrons dim"],
        step_size: Float[Array, " hamiltonians"],
        *,
        budget: int | None = None,
    ) -> "Sampler":
        """The sampler with a number in place of a chunk of "auto": the largest whose temporary arrays fit a `budget`.

        **Arguments:** `log_density(model)` makes the density of a pytree that may be traced; `budget`, in bytes, by
        default [`memory_budget`][qernel.chunks.memory_budget] of the device of `positions`; the others as for a round.
        """
        if self.chunk != "auto":
            return self

        def program(chunk):
            sampler = dataclasses.replace(self, chunk=chunk)
            return lambda model, *arguments: sampler(log_density(model), *arguments)

        arguments = (model, parameters, positions, step_size, jax.random.key(0))
        size = memory_budget(positions) if budget is None else budget
        return dataclasses.replace(self, chunk=chunk_that_fits(program, arguments, positions.shape[1], size))


@compiled
def sampling_round(
    sampler: Sampler,
    log_density: Callable[[Float[Array, "electrons dim"], Any], Float[Array, ""]],
    parameters: Any,
    positions: Float[Array, "hamiltonians walkers electrons dim"],
    step_size: Float[Array, " hamiltonians"],
    key: PRNGKeyArray,
    number: Int[ArrayLike, ""],
) -> Walkers:
    """Phase `number` of a chain: the [`Sampler`][qernel.sampling.Sampler] called with `key` folded with the number.

    Compiled once for walkers of one shape: burn-in, training and measurement run the same program. `log_density` is a
    pytree whose arrays are arguments of the program, so that the network's parameters may change from round to round.
    """
    return sampler(log_density, parameters, positions, step_size, jax.random.fold_in(key, number))
