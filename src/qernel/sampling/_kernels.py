"""Kernels in BlackJAX form: random walks of all electrons or of a block, and Langevin moves."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._metropolis import Metropolis

if TYPE_CHECKING:
    from blackjax.base import SamplingAlgorithm

LogDensity = Callable[[Float[Array, "electrons dim"]], Float[Array, ""]]
Kernel = Callable[[LogDensity, Float[Array, ""]], "SamplingAlgorithm | Metropolis"]


def random_walk(log_density: LogDensity, step_size: Float[Array, ""]) -> "SamplingAlgorithm":
    r"""Random-walk Metropolis that moves all electrons at once, $r' = r + \sigma\xi$ with $\xi\sim N(0, 1)$.

    BlackJAX's `additive_step_random_walk`; `step_size` σ in the unit of length.

    **Source:** N. Metropolis et al., J. Chem. Phys. 21, 1087 (1953).
    """
    # Importing BlackJAX starts a backend, which importing qernel must not do.
    import blackjax

    def propose(key, position):
        return step_size.astype(position.dtype) * jax.random.normal(key, position.shape, position.dtype)

    return blackjax.additive_step_random_walk(log_density, propose)


@dataclasses.dataclass(frozen=True)
class BlockWalk:
    r"""Random-walk Metropolis of `electrons` electrons at a time, another random set of them for each move.

    The kernel to pass is `BlockWalk(electrons)`. Each move evaluates the whole log-density. Raises `ValueError` for a
    block of less than one electron, and when called for fewer electrons than that.
    """

    electrons: int

    def __post_init__(self):
        if self.electrons < 1:
            raise ValueError(f"a block needs at least one electron, got {self.electrons}")

    def __call__(self, log_density: LogDensity, step_size: Float[Array, ""]) -> "SamplingAlgorithm":
        """The algorithm for one density and width of the moves."""
        import blackjax

        def propose(key, position):
            if self.electrons > position.shape[0]:
                raise ValueError(f"a block of {self.electrons} cannot be chosen from {position.shape[0]} electrons")
            keys = jax.random.split(key)
            chosen = jax.random.permutation(keys[0], position.shape[0])[:, None] < self.electrons
            noise = jax.random.normal(keys[1], position.shape, position.dtype)
            return jnp.where(chosen, step_size.astype(position.dtype) * noise, 0)

        return blackjax.additive_step_random_walk(log_density, propose)


class LangevinState(NamedTuple):
    """Position, log-density, the drift there, and whether the next move is without it."""

    position: Any
    logdensity: Any
    drift: Any
    plain: Any


# Next to a node every electron has the largest drift, and the way back costs a factor exp(-1) for each of them: of more
# electrons than this, what is next to a node would stay there. Small moves without a drift take it away.
_DRIFTING = 12
# The share of such moves, as normal numbers above a bound.
_PLAIN = 1.15


class LangevinInfo(NamedTuple):
    """Probability with which the move was accepted."""

    acceptance_rate: Any


def langevin(log_density: LogDensity, step_size: Float[Array, ""]) -> Metropolis:
    r"""Langevin moves of all electrons at once along a drift that is limited near the nodes,

    $$ r' = r + \bar v\,\tau + \sqrt\tau\,\xi, \qquad
       \bar v_i = \frac{2}{1 + \sqrt{1 + 2 v_i^2\tau}}\, v_i, \qquad v = \nabla\log|\psi| , $$

    with the Metropolis test for the drifts there and back, which keeps the density exactly. `step_size` is $\sqrt\tau$,
    a length as for the random walk. Without the limit (BlackJAX's `mala`) walkers are thrown off a node to places from
    which the way back is too improbable to be taken, and stick. A move costs two to three evaluations, and goes as far
    as ten to twenty of the random walk; aim at an acceptance of 0.7.

    Of more than twelve electrons one move in eight, at random, has no drift and the width $N^{-1/3}\sqrt\tau$: next
    to a node all electrons drift, and the way back is improbable however far each of them goes.

    **Source:** C. J. Umrigar, M. P. Nightingale and K. J. Runge, J. Chem. Phys. 99, 2865 (1993).
    """

    def start(position):
        return LangevinState(
            position, jnp.full((), -jnp.inf, position.dtype), jnp.zeros_like(position), jnp.zeros((), bool)
        )

    def evaluate(position):
        value, gradient = jax.value_and_grad(log_density)(position)
        tau = step_size.astype(position.dtype) ** 2
        velocity = jnp.nan_to_num(gradient / 2)
        square = jnp.sum(velocity**2, axis=-1, keepdims=True)
        drift = 2 / (1 + jnp.sqrt(1 + 2 * square * tau)) * velocity * tau
        return LangevinState(position, value, drift, jnp.zeros((), bool))

    def turn(rng_key, state, new):
        # All random numbers at once: each draw is a program of half a second to compile. The half sum of two squared
        # normal numbers is distributed as minus the logarithm of a uniform one.
        size, electrons = state.position.size, len(state.position)
        draws = jax.random.normal(rng_key, (size + 3,), state.position.dtype)
        log_uniform = -jnp.sum(draws[size : size + 2] ** 2) / 2
        width = step_size.astype(state.position.dtype)
        there = new.position - state.position - state.drift
        # The way back needs another noise, from the drift at the new position.
        back = state.position - new.position - new.drift
        ratio = new.logdensity - state.logdensity
        ratio = ratio + jnp.where(state.plain, 0, jnp.sum(there**2 - back**2) / (2 * width**2))
        # A ratio that is not a number rejects.
        kept = jax.tree.map(lambda a, b: jnp.where(log_uniform < ratio, a, b), new, state)
        kept = kept._replace(plain=(draws[-1] > _PLAIN) & (electrons > _DRIFTING))
        drift = jnp.where(kept.plain, 0, kept.drift)
        scale = width * jnp.where(kept.plain, electrons ** (-1 / 3), 1).astype(width.dtype)
        proposal = kept.position + drift + scale * draws[:size].reshape(state.position.shape)
        return kept, proposal, LangevinInfo(jnp.nan_to_num(jnp.exp(jnp.minimum(ratio, 0))))

    return Metropolis(start, evaluate, turn)
