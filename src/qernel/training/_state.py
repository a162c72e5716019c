"""Everything that a training run carries from step to step."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int, Num, PRNGKeyArray, PyTree

from qernel.gradient import EnergyStatistics
from qernel.hamiltonian import Family, InPhase
from qernel.laplacian import AbstractLaplacian, ForwardLaplacian
from qernel.layers import trainable
from qernel.optimise import AbstractOptimiser, StochasticReconfiguration
from qernel.sampling import Sampler, starting_width


class Method(eqx.Module):
    r"""How to train: sampler, optimiser, Laplacian, clipping width (mean absolute deviations), energy unit and chunks.

    `energy_unit` is that in which the optimiser sees energies, in effective Hartree, and so sets the length of its
    steps. By default it is measured in every step, ten times the energy scale of the kinetic energy
    ([`energy_unit`][qernel.training.energy_unit]), so that one learning rate suits every system, whatever its units:
    "family", the mean over the Hamiltonians of a family; or "member", each in its own, where their scales differ by
    much, as those of a gas over its density.

    `averaging` is the power p of the average of the parameters that is measured in place of the last ones,

    $$ \bar\theta_t = \bar\theta_{t-1} + \tfrac{p+1}{t+p}\,(\theta_t - \bar\theta_{t-1}) , $$

    steps weighted by about $t^p$ (arXiv:1212.1824): about the last 1/(p+1) of them, whose noise it takes out, with no
    need to know how many there will be. 0: the last parameters themselves.

    `chunk` walkers of each Hamiltonian are done at once in the local energies, `score_chunk` in the derivatives in
    the parameters; all of them by default. [`train`][qernel.training.train] takes so many on each device. Chunks of
    "auto", also that of the sampler, are chosen when training begins, see
    [`with_largest_chunks`][qernel.training.with_largest_chunks]. Small chunks fit a CPU's cache; a `score_chunk` saves
    the memory of the activations and costs a second forward pass.
    """

    sampler: Sampler = Sampler()
    optimiser: AbstractOptimiser = StochasticReconfiguration()
    laplacian: AbstractLaplacian = ForwardLaplacian()
    clip: float = eqx.field(static=True, default=5.0)
    energy_unit: float | Literal["family", "member"] = eqx.field(static=True, default="family")
    averaging: float = eqx.field(static=True, default=10.0)
    chunk: int | Literal["auto"] | None = eqx.field(static=True, default=None)
    score_chunk: int | Literal["auto"] | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if not self.clip > 0:
            raise ValueError(f"the clipping width must be positive, got {self.clip}")
        unit = self.energy_unit
        if unit not in ("family", "member") and not (isinstance(unit, int | float) and np.isfinite(unit) and unit > 0):
            raise ValueError(f"the energy unit of the optimiser must be positive, 'family' or 'member', got {unit!r}")
        if not 0 <= self.averaging < float("inf"):
            raise ValueError(f"the power of the averaging cannot be negative or infinite, got {self.averaging}")
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
        raise ValueError("the chunk is still to be chosen: `train` does it, or `with_largest_chunks`")
    return chunk


class TrainingState(eqx.Module):
    """One immutable pytree: ansatz, its average, optimiser state, walkers, step sizes, phases, key, step number.

    `average` is that of the trained parameters over the last steps (see [`Method`][qernel.training.Method]), and
    [`averaged`][qernel.training.TrainingState.averaged] the ansatz with it: the walkers follow the last parameters, and
    what is measured when training has ended is the average.

    Where several phases of matter compete in one wavefunction, `phase` is the number of the one that each row of
    walkers trains and `point` that of the point of the family at which it does (one row for each phase at every point,
    until [`reallocate`][qernel.training.reallocate] gives rows to others); `mean_energy` and `mean_variance`, that of
    the clipped local energies, are averaged over about the last third of the steps: by them the competition is decided
    and the rows are given out. None otherwise.

    `faults` counts consecutive steps whose update was refused because it was not finite. No cached log-density is
    carried: it would be that of the parameters before the last update, and each round of sampling recomputes it.
    """

    ansatz: Any
    average: PyTree
    optimiser_state: Any
    positions: Float[Array, "hamiltonians walkers electrons dim"]
    step_size: Float[Array, " hamiltonians"]
    key: PRNGKeyArray
    step: Int[Array, ""]
    faults: Int[Array, ""]
    phase: Float[Array, " hamiltonians"] | None = None
    mean_energy: Float[Array, " hamiltonians"] | None = None
    point: Int[Array, " hamiltonians"] | None = None
    mean_variance: Float[Array, " hamiltonians"] | None = None

    @property
    def averaged(self) -> Any:
        """The ansatz with the average of its parameters over the last steps: less noisy than the last ones."""
        return eqx.combine(self.average, self.ansatz)

    def in_phase(self, family: Family) -> Family:
        """The family whose parameters name the phase of each member as well, for wavefunctions that hold several."""
        if self.phase is None:
            return family
        return dataclasses.replace(family, parameters=InPhase(family.parameters, self.phase))


class StepReport(eqx.Module):
    """What one step measured, before its update: unclipped energies per Hamiltonian and facts about the step.

    Energies in effective Hartree, totals (not per electron).

    **Fields:**

    - `statistics`; `terms`, means of each; `bad_terms`, walkers in which each is not finite.
    - `residuals`: clipped local energies less their mean, real part; zero where they are not finite.
    - `kinetic_difference`, `kinetic_difference_error`: of the two kinetic estimators.
    - `acceptance`; `stuck`, walkers that accepted no move; `redrawn`, walkers that were lost and put where others are.
    - `step_norm`, `distance`, `shrink`, `fallback`: of the update, see [`Update`][qernel.optimise.Update].
    - `refused`: whether the update was not finite, or nothing was measured at all, and parameters and optimiser stayed
      as they were.
    - `seconds`: of the step; `sampling_seconds`, of its moves. NaN but in [`train`][qernel.training.train].
    """

    statistics: EnergyStatistics
    terms: dict[str, Float[Array, " hamiltonians"]]
    bad_terms: dict[str, Int[Array, " hamiltonians"]]
    residuals: Float[Array, "hamiltonians walkers"]
    kinetic_difference: Float[Array, " hamiltonians"]
    kinetic_difference_error: Float[Array, " hamiltonians"]
    acceptance: Float[Array, " hamiltonians"]
    stuck: Int[Array, " hamiltonians"]
    redrawn: Int[Array, " hamiltonians"]
    step_norm: Float[Array, ""]
    distance: Float[Array, ""]
    shrink: Float[Array, ""]
    fallback: Array
    refused: Array
    seconds: float = float("nan")
    sampling_seconds: float = float("nan")


def initial_state(
    ansatz: Any,
    method: Method,
    positions: Num[Array | np.ndarray, "hamiltonians walkers electrons dim"],
    *,
    key: PRNGKeyArray,
    step_size: ArrayLike | None = None,
    phase: Sequence[int] | None = None,
) -> TrainingState:
    """State before the first step.

    **Arguments:** `positions`, starting walkers (see [`qernel.sampling.initial_positions`][]), whose dtype is that of
    the sampling; `step_size`, starting width of the moves, in the unit of length, one number or one for each
    Hamiltonian (default: guessed from the walkers' spread, see [`starting_width`][qernel.sampling.starting_width]);
    `phase`, of a wavefunction with competing phases, the number of the one that each member trains, all of them at one
    point after another.

    **Raises:** `ValueError` for positions of another shape, without a walker, of integers, or from which no walk can
    begin, and for a step size that is not positive.
    """
    if positions.ndim != 4 or 0 in positions.shape:
        raise ValueError(
            "a run needs positions of the shape (hamiltonians, walkers, electrons, dim), at least one of each, got "
            f"{positions.shape}"
        )
    if not jnp.issubdtype(positions.dtype, jnp.floating):
        raise ValueError(f"positions must be floating-point numbers, as which electrons move, got {positions.dtype}")
    width = starting_width(positions, step_size)
    ansatz = jax.tree.map(_as_updates_are, ansatz)
    trained = eqx.filter(ansatz, trainable(ansatz))
    return TrainingState(
        ansatz=ansatz,
        average=trained,
        optimiser_state=method.optimiser.init(trained),
        positions=jnp.asarray(positions),
        step_size=jnp.asarray(width, positions.dtype),
        key=key,
        step=jnp.zeros((), jnp.int32),
        faults=jnp.zeros((), jnp.int32),
        phase=None if phase is None else jnp.asarray(phase, float),
        mean_energy=None if phase is None else jnp.full(len(phase), jnp.nan, float),
        point=None if phase is None else jnp.asarray(np.arange(len(phase)) // (max(phase) + 1), jnp.int32),
        mean_variance=None if phase is None else jnp.full(len(phase), jnp.nan, float),
    )


def _as_updates_are(leaf: Any) -> Any:
    """An array as an update returns it, of JAX and of a dtype of its own: a step keeps either the old or the new ones,
    and they must be of one type."""
    if not eqx.is_inexact_array(leaf):
        return leaf
    array = jnp.asarray(leaf)
    # With its own dtype named, an array is weakly typed no more.
    return jnp.asarray(array, dtype=array.dtype)
