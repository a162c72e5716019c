"""Metropolis kernels that evaluate the density in one place."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float, PRNGKeyArray


@dataclasses.dataclass(frozen=True)
class Metropolis:
    r"""A kernel in halves, between which the density is evaluated: a program of many moves then holds it once.

    In BlackJAX's form a program evaluates it twice, where a chain begins and in every move, and twice is it compiled. A
    [`Sampler`][qernel.sampling.Sampler] runs `start`, then `evaluate` and `turn` in turns. `init` and `step` are
    BlackJAX's form of the same kernel.

    **Fields:**

    - `start(position) -> state`: a state with a `logdensity` of -inf, from which every proposal is accepted: the first
      one is the position itself.
    - `evaluate(position) -> state`: with `position`, `logdensity` and what else the next move needs.
    - `turn(key, state, new) -> state, proposal, info`: accepts `new` or stays, and proposes the next position;
      `info` has the `acceptance_rate` of `new`.
    """

    start: Callable[[Float[Array, "electrons dim"]], Any]
    evaluate: Callable[[Float[Array, "electrons dim"]], Any]
    turn: Callable[[PRNGKeyArray, Any, Any], tuple[Any, Float[Array, "electrons dim"], Any]]

    def init(self, position: Float[Array, "electrons dim"], rng_key: PRNGKeyArray | None = None) -> Any:
        """The state at a position."""
        return self.evaluate(position)

    def step(self, rng_key: PRNGKeyArray, state: Any) -> tuple[Any, Any]:
        """One move."""
        proposing, accepting = jax.random.split(rng_key)
        # What a state remembers of its proposal is in the one that is handed on.
        state, proposal, _ = self.turn(proposing, state, state)
        new, _, info = self.turn(accepting, state, self.evaluate(proposal))
        return new, info
