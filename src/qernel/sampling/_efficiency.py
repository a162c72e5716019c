"""Which kernel is fastest: independent samples per second."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.compilation import compiled

from ._diagnostics import effective_samples
from ._sampler import Sampler, Walkers


@dataclasses.dataclass(frozen=True)
class Efficiency:
    """What a kernel achieves, autocorrelation included.

    - `effective`: independent samples of each observable at each Hamiltonian.
    - `seconds`: wall time of the measured rounds.
    - `acceptance`, `step_size`: of each Hamiltonian, adapted.
    """

    effective: Float[np.ndarray, "hamiltonians observables"]
    seconds: float
    acceptance: Float[np.ndarray, " hamiltonians"]
    step_size: Float[np.ndarray, " hamiltonians"]

    @property
    def per_second(self) -> Float[np.ndarray, " hamiltonians"]:
        """Independent samples per second at each Hamiltonian, of its slowest observable."""
        return self.effective.min(axis=1) * len(self.effective) / self.seconds


def efficiency(
    sampler: Sampler,
    log_density: Callable[[Float[Array, "electrons dim"], Any], Float[Array, ""]],
    parameters: Any,
    positions: Float[Array, "hamiltonians walkers electrons dim"],
    observables: Callable[[Float[Array, "electrons dim"], Any], Float[Array, " observables"]],
    *,
    key: PRNGKeyArray,
    step_size: Float[Array, " hamiltonians"] | float,
    burn_in: int = 40,
    rounds: int = 100,
) -> Efficiency:
    """Measure how many independent samples a second a sampler gives.

    `burn_in` rounds adapt the step, which is frozen for the `rounds` that are timed; compilation is not counted. The
    number of samples is BlackJAX's estimate from the chains of all walkers; the log-density is one more observable. Let
    the others include what relaxes slowly: the best kernel is the one whose slowest observable is fastest.

    **Arguments:** as for [`Sampler`][qernel.sampling.Sampler]; `observables(r, parameters)` of one configuration.

    **Raises:** `ValueError` for fewer than four rounds.
    """
    if rounds < 4:
        raise ValueError(f"an autocorrelation needs at least four rounds, got {rounds}")
    steps = jnp.broadcast_to(jnp.asarray(step_size, positions.dtype), positions.shape[:1])
    keys = jax.random.split(key)
    for number in range(burn_in):
        walkers, _ = _phase(sampler, log_density, parameters, positions, steps, _fold(keys[0], number), observables)
        positions, steps = walkers.positions, walkers.step_size
    frozen = dataclasses.replace(sampler, gain=0.0)
    series, acceptance, start = [], [], 0.0
    for number in range(rounds + 1):
        walkers, values = _phase(frozen, log_density, parameters, positions, steps, _fold(keys[1], number), observables)
        positions = walkers.positions
        series.append(np.asarray(values, np.float64))
        acceptance.append(np.asarray(walkers.acceptance, np.float64))
        if number == 0:
            start = time.perf_counter()
    seconds = time.perf_counter() - start
    # hamiltonians, observables, walkers, rounds
    chains = np.moveaxis(np.stack(series[1:]), 0, -1).swapaxes(1, 2)
    effective = np.array([[effective_samples(one) for one in of_hamiltonian] for of_hamiltonian in chains])
    return Efficiency(effective, seconds, np.mean(acceptance[1:], axis=0), np.asarray(steps, np.float64))


def _fold(key, number):
    return jax.random.fold_in(key, np.uint32(number))


@compiled
def _phase(sampler, log_density, parameters, positions, steps, key, observables) -> tuple[Walkers, Array]:
    walkers = sampler(log_density, parameters, positions, steps, key)
    values = jax.vmap(jax.vmap(observables, in_axes=(0, None)))(walkers.positions, parameters)
    return walkers, jnp.concatenate([values, walkers.log_density[..., None].astype(values.dtype)], axis=-1)
