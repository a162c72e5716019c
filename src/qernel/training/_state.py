"""Everything that a training run carries from step to step."""

import dataclasses
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from qernel.gradient import EnergyStatistics
from qernel.laplacian import AbstractLaplacian, ForwardLaplacian
from qernel.layers import trainable
from qernel.optimise import AbstractOptimiser, StochasticReconfiguration
from qernel.sampling import Sampler


class Method(eqx.Module):
    """How to train: sampler, optimiser, Laplacian, clipping width (mean absolute deviations), energy unit and chunks.

    `energy_unit` is that in which the optimiser sees energies, in effective Hartree, and so sets the length of its
    steps. By default it is measured in every step, ten times the energy scale of the family's kinetic energy
    ([`energy_unit`][qernel.training.energy_unit]): one learning rate then suits every system, whatever its units.

    `chunk` walkers of each Hamiltonian are done at once in the local energies, `score_chunk` in the derivatives in
    the parameters; all of them by default. [`train`][qernel.training.train] takes so many on each device. Chunks of
    "auto", also that of the sampler, are chosen when training begins, see
    [`with_fitting_chunks`][qernel.training.with_fitting_chunks]. Small chunks fit a CPU's cache; a `score_chunk` saves
    the memory of the activations and costs a second forward pass.
    """

    sampler: Sampler = Sampler()
    optimiser: AbstractOptimiser = StochasticReconfiguration()
    laplacian: AbstractLaplacian = ForwardLaplacian()
    clip: float = eqx.field(static=True, default=5.0)
    energy_unit: float | None = eqx.field(static=True, default=None)
    chunk: int | Literal["auto"] | None = eqx.field(static=True, default=None)
    score_chunk: int | Literal["auto"] | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.clip <= 0:
            raise ValueError(f"the clipping width must be positive, got {self.clip}")
        if self.energy_unit is not None and not (np.isfinite(self.energy_unit) and self.energy_unit > 0):
            raise ValueError(f"the energy unit of the optimiser must be positive, got {self.energy_unit}")
        for chunk in (self.chunk, self.score_chunk):
            if isinstance(chunk, int) and chunk < 1:
                raise ValueError(f"a chunk needs at least one walker, got {chunk}")

    def on_devices(self, devices: int) -> "Method":
        """The method for walkers that so many devices share: chunks of as many walkers on each of them."""

        def times(chunk):
            return chunk * devices if isinstance(chunk, int) else chunk

        sampler = dataclasses.replace(self.sampler, chunk=times(self.sampler.chunk))
        return dataclasses.replace(self, sampler=sampler, chunk=times(self.chunk), score_chunk=times(self.score_chunk))

    @property
    def energy_chunk(self) -> int | None:
        """The chunk of the local energies; `ValueError` while it is "auto"."""
        return _chosen(self.chunk)

    @property
    def gradient_chunk(self) -> int | None:
        """The chunk of the derivatives in the parameters; `ValueError` while it is "auto"."""
        return _chosen(self.score_chunk)


def _chosen(chunk):
    if isinstance(chunk, str):
        raise ValueError("the chunk is still to be chosen: `train` does it, or `with_fitting_chunks`")
    return chunk


class TrainingState(eqx.Module):
    """One immutable pytree: ansatz, optimiser state, walkers, step sizes, key, step number.

    `faults` counts consecutive steps whose update was refused because it was not finite. No cached log-density is
    carried: it would be that of the parameters before the last update, and each sampling phase recomputes it.
    """

    ansatz: Any
    optimiser_state: Any
    positions: Float[Array, "hamiltonians walkers electrons dim"]
    step_size: Float[Array, " hamiltonians"]
    key: PRNGKeyArray
    step: Int[Array, ""]
    faults: Int[Array, ""]


class StepReport(eqx.Module):
    """What one step measured, before its update: unclipped energies per Hamiltonian and facts about the step.

    Energies in effective Hartree, totals (not per electron).
    """

    statistics: EnergyStatistics
    terms: dict[str, Float[Array, " hamiltonians"]]
    acceptance: Float[Array, " hamiltonians"]
    stuck: Int[Array, " hamiltonians"]
    step_norm: Float[Array, ""]
    distance: Float[Array, ""]
    shrink: Float[Array, ""]
    fallback: Array
    refused: Array


def initial_state(
    ansatz: Any,
    method: Method,
    positions: Float[Array, "hamiltonians walkers electrons dim"],
    *,
    key: PRNGKeyArray,
    step_size: float | None = None,
) -> TrainingState:
    """State before the first step.

    **Arguments:** `positions`, starting walkers (see [`qernel.training.initial_positions`][]); `step_size`, starting
    width of the moves, in the unit of length (default: 0.3 times the mean spacing guessed from the walkers' spread).

    **Raises:** `ValueError` without a walker.
    """
    if 0 in positions.shape:
        raise ValueError(f"a run needs at least one Hamiltonian, walker and electron, got {positions.shape}")
    guess = 0.3 * float(jnp.std(positions)) / positions.shape[2] ** (1 / positions.shape[3])
    width = guess if step_size is None else step_size
    trained = eqx.filter(ansatz, trainable(ansatz))
    return TrainingState(
        ansatz=ansatz,
        optimiser_state=method.optimiser.init(trained),
        positions=positions,
        step_size=jnp.full(positions.shape[0], width, positions.dtype),
        key=key,
        step=jnp.zeros((), jnp.int32),
        faults=jnp.zeros((), jnp.int32),
    )
