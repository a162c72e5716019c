"""Sweeps of single-electron moves, with an update of the density where it has rules for one."""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._density import DensityOfHamiltonian
from ._kernels import LogDensity

if TYPE_CHECKING:
    from blackjax.base import SamplingAlgorithm


class SweepState(NamedTuple):
    """Position and log-density."""

    position: Any
    logdensity: Any


class SweepInfo(NamedTuple):
    """Mean acceptance of the moves of one sweep."""

    acceptance_rate: Any


def single_electron(log_density: LogDensity, step_size: Float[Array, ""]) -> "SamplingAlgorithm":
    r"""Random-walk Metropolis that moves the electrons one after the other; one step is a sweep over all of them.

    Where the density knows how it changes with one electron ([`UpdatableDensity`][qernel.sampling.UpdatableDensity]:
    determinants of orbitals that depend on one electron each, by the Sherman-Morrison formula) a sweep costs about as
    much as a few evaluations; elsewhere, as with attention, one evaluation an electron. Each sweep starts from an
    evaluation of its own, so that rounding does not pile up.

    **Source:** D. Ceperley, G. V. Chester and M. H. Kalos, Phys. Rev. B 16, 3081 (1977).
    """
    from blackjax.base import SamplingAlgorithm

    density = log_density if isinstance(log_density, DensityOfHamiltonian) else None

    def begin(position):
        return (log_density(position), None) if density is None else density.begin(position)

    def moved(cache, position, electron, new):
        if density is None:
            return log_density(position.at[electron].set(new)), None
        return density.moved(cache, position, electron, new)

    def init(position, rng_key=None):
        return SweepState(position, log_density(position))

    def step(rng_key, state):
        electrons = state.position.shape[0]
        width = step_size.astype(state.position.dtype)

        def move(carry, electron):
            position, value, cache = carry
            keys = jax.random.split(jax.random.fold_in(rng_key, electron))
            new = position[electron] + width * jax.random.normal(keys[0], position.shape[1:], position.dtype)
            proposed = moved(cache, position, electron, new)
            change = proposed[0] - value
            accept = jnp.log(jax.random.uniform(keys[1], (), change.dtype)) < change
            value, cache = jax.tree.map(lambda a, b: jnp.where(accept, a, b), proposed, (value, cache))
            position = jnp.where(accept, position.at[electron].set(new), position)
            return (position, value, cache), jnp.nan_to_num(jnp.exp(jnp.minimum(change, 0)))

        start = (state.position, *begin(state.position))
        (position, value, _), rates = jax.lax.scan(move, start, jnp.arange(electrons))
        return SweepState(position, value), SweepInfo(jnp.mean(rates))

    return SamplingAlgorithm(init, step)
