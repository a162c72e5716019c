"""A sampling kernel of one's own in BlackJAX form: Langevin moves whose drift is limited near the nodes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from blackjax.base import SamplingAlgorithm

from qernel.sampling import Sampler


# --8<-- [start:kernel]
class LangevinState(NamedTuple):
    position: Any
    logdensity: Any
    drift: Any


class LangevinInfo(NamedTuple):
    acceptance_rate: Any


def langevin(log_density, step_size):
    """r' = r + v̄τ + √τ ξ with τ = step_size², and v = ∇log|ψ| limited to v̄ = 2v / (1 + √(1 + 2v²τ))."""

    def init(position, rng_key=None):
        value, gradient = jax.value_and_grad(log_density)(position)
        velocity = jnp.nan_to_num(gradient / 2)  # log_density is 2 log|ψ|
        square = jnp.sum(velocity**2, axis=-1, keepdims=True)
        limit = 2 / (1 + jnp.sqrt(1 + 2 * square * step_size**2))
        return LangevinState(position, value, velocity * limit * step_size**2)

    def step(rng_key, state):
        noise_key, accept_key = jax.random.split(rng_key)
        noise = step_size * jax.random.normal(noise_key, state.position.shape, state.position.dtype)
        new = init(state.position + state.drift + noise)
        # Metropolis-Hastings: the way back needs another noise, from the drift at the new position.
        back = state.position - new.position - new.drift
        ratio = new.logdensity - state.logdensity + jnp.sum(noise**2 - back**2) / (2 * step_size**2)
        accept = jnp.log(jax.random.uniform(accept_key, (), ratio.dtype)) < ratio
        state = jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, state)
        return state, LangevinInfo(jnp.exp(jnp.minimum(ratio, 0)))

    return SamplingAlgorithm(init, step)
    # --8<-- [end:kernel]


# --8<-- [start:use]
def with_node(r, parameters):
    """Log-density of the first excited state of an oscillator, ψ = x exp(-x²/2): ⟨x²⟩ = 3/2."""
    return jnp.sum(2 * jnp.log(jnp.abs(r)) - r**2)


def main(phases=200, walkers=512, algorithm=langevin, log_density=with_node):
    sampler = Sampler(algorithm, moves=10, target_acceptance=0.7)

    @jax.jit
    def run(positions, key):
        def phase(carry, number):
            walkers = sampler(log_density, jnp.zeros(1), *carry, jax.random.fold_in(key, number))
            return (walkers.positions, walkers.step_size), (walkers.positions, walkers.acceptance)

        return jax.lax.scan(phase, (positions, jnp.ones(1)), jnp.arange(phases))[1]

    positions, acceptance = run(jax.random.normal(jax.random.key(0), (1, walkers, 1, 1)), jax.random.key(1))
    square = jnp.mean(positions[phases // 4 :] ** 2, axis=(0, 1, 3, 4))
    mean, error = jnp.mean(square), jnp.std(square) / walkers**0.5
    print(f"<x²> = {mean:.4f} ± {error:.4f}, acceptance {acceptance[-1, 0]:.2f}")
    return positions, float(mean), float(error)
    # --8<-- [end:use]


if __name__ == "__main__":
    main()
