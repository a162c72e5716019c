"""A sampling kernel of one's own in BlackJAX form: a random walk that tries a smaller move where a large one failed."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.base import SamplingAlgorithm

from qernel.sampling import Sampler


# --8<-- [start:kernel]
class State(NamedTuple):
    position: Any
    logdensity: Any


class Info(NamedTuple):
    acceptance_rate: Any


def delayed_rejection(log_density, step_size, shorter=0.3):
    """First r' = r + σξ; if that is rejected, r'' = r + 0.3 σξ' with a test that accounts for the first."""

    def init(position, rng_key=None):
        return State(position, log_density(position))

    def step(rng_key, state):
        keys = jax.random.split(rng_key, 4)
        walk = lambda key: step_size * jax.random.normal(key, state.position.shape, state.position.dtype)
        one, two = init(state.position + walk(keys[0])), init(state.position + shorter * walk(keys[1]))
        first = jnp.exp(jnp.minimum(one.logdensity - state.logdensity, 0))
        # From r'' the same first move would have had to be tried, and rejected, too.
        back = jnp.exp(jnp.minimum(one.logdensity - two.logdensity, 0))
        distance = lambda other: jnp.sum((one.position - other.position) ** 2) / (2 * step_size**2)
        ratio = two.logdensity - state.logdensity + distance(state) - distance(two)
        second = jnp.exp(ratio) * (1 - back) / jnp.maximum(1 - first, 1e-30)
        accept = [
            jax.random.uniform(key, (), first.dtype) < p for key, p in zip(keys[2:], (first, second), strict=True)
        ]
        state = jax.tree.map(lambda a, b, old: jnp.where(accept[0], a, jnp.where(accept[1], b, old)), one, two, state)
        return state, Info(first)

    return SamplingAlgorithm(init, step)
    # --8<-- [end:kernel]


# --8<-- [start:use]
def with_node(r, parameters):
    """Log-density of the first excited state of an oscillator, ψ = x exp(-x²/2): ⟨x²⟩ = 3/2."""
    return jnp.sum(2 * jnp.log(jnp.abs(r)) - r**2)


def main(rounds=200, walkers=512, log_density=with_node):
    sampler = Sampler(delayed_rejection, moves=10, target_acceptance=0.3)

    @jax.jit
    def run(positions, key):
        def one_round(carry, number):
            positions, step_size = carry
            walkers = sampler(log_density, jnp.zeros(1), positions, step_size, jax.random.fold_in(key, number))
            return (walkers.positions, walkers.step_size), (walkers.positions, walkers.acceptance)

        return jax.lax.scan(one_round, (positions, jnp.ones(1)), jnp.arange(rounds))[1]

    positions, acceptance = run(jax.random.normal(jax.random.key(0), (1, walkers, 1, 1)), jax.random.key(1))
    square = jnp.mean(positions[rounds // 4 :] ** 2, axis=(0, 1, 3, 4))
    mean, error = jnp.mean(square), jnp.std(square) / walkers**0.5
    print(f"<x²> = {mean:.4f} ± {error:.4f}, acceptance {acceptance[-1, 0]:.2f}")
    return positions, float(mean), float(error)
    # --8<-- [end:use]


if __name__ == "__main__":
    main()
