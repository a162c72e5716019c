"""One training step: sample, measure, differentiate, update. Compiled once for all λ."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Bool, PRNGKeyArray, PyTree

from qernel import hosts
from qernel.ansatz import log_density
from qernel.compilation import as_one, compiled
from qernel.gradient import LogDerivatives, clipped_residuals, local_energies
from qernel.hamiltonian import Family
from qernel.layers import trainable
from qernel.sampling import Walkers, sampling_round

from ._energy_unit import energy_unit
from ._kinetic_difference import kinetic_difference
from ._lost_walkers import redraw
from ._state import Method, StepReport, TrainingState

# Beyond the numbers of steps, with which the key of the moves is folded.
_PROBES = np.uint32(2**32 - 1)


def train_step(state: TrainingState, family: Family, method: Method) -> tuple[TrainingState, StepReport]:
    """One step of the training of one wavefunction for all Hamiltonians of a family.

    Samples with the current parameters, measures local energies term by term, clips and centres them per
    Hamiltonian, and updates. An update that is not finite, or for which no walker had a finite energy, is refused:
    parameters and optimiser state stay as they were and `faults` counts up. A walker that is lost, where nothing is
    finite, goes where another one of the same Hamiltonian is, once it has been counted.

    Two compiled programs: the moves are those of the burn-in, too.
    """
    return step_from(sample_round(state, family, method), state, family, method)


def step_from(
    walkers: Walkers, state: TrainingState, family: Family, method: Method
) -> tuple[TrainingState, StepReport]:
    """The part of a step after its moves."""
    lost = _placed_as(state.positions, walkers.lost)
    new, facts = measure_and_update(_with_walkers(state, walkers), lost, family, method)
    return new, StepReport(**facts, acceptance=walkers.acceptance, stuck=walkers.stuck)


def sample_round(state: TrainingState, family: Family, method: Method) -> Walkers:
    """Move the walkers: returns new walkers under the state's wavefunction."""
    return sampling_round(*_of_moves(state, family, method))


def trace_round(state: TrainingState, family: Family, method: Method) -> None:
    """Python's part of `sample_round`, which is then only to be compiled and run."""
    sampling_round.lower(*_of_moves(state, family, method))


def _of_moves(state, family, method):
    start = (state.positions, state.step_size)
    parameters = state.in_phase(family).parameters
    return method.sampler, log_density(state.ansatz), parameters, *start, state.key, state.step


def move_walkers(state: TrainingState, family: Family, method: Method, rounds: int) -> TrainingState:
    """Move the walkers for so many rounds of sampling with frozen parameters (burn-in); the step size adapts."""
    first = int(state.step)
    for number in range(first, first + rounds):
        moved = _with_walkers(state, sample_round(state, family, method))
        state = eqx.tree_at(lambda s: s.step, moved, _placed_as(state.step, jnp.asarray(number + 1, jnp.int32)))
    return state


def _with_walkers(state, walkers):
    """The state with other walkers in the place of its own: a program returns them where the compiler likes them, and
    in another place the next one would be compiled once more."""
    positions = _placed_as(state.positions, walkers.positions)
    step_size = _placed_as(state.step_size, walkers.step_size)
    return eqx.tree_at(lambda s: (s.positions, s.step_size), state, (positions, step_size))


def _placed_as(model, array):
    # What was never put on a mesh has no place, and must not be given one.
    return hosts.put(array, model.sharding) if isinstance(model.sharding, NamedSharding) else array


@compiled
def measure_and_update(
    state: TrainingState, lost: Bool[Array, "hamiltonians walkers"], family: Family, method: Method
) -> tuple[TrainingState, dict[str, Any]]:
    """Measure the moved walkers and update the wavefunction: the new state, and facts for the report."""
    family = state.in_phase(family)
    energies = local_energies(
        state.ansatz,
        family.hamiltonian,
        state.positions,
        family.parameters,
        method.laplacian,
        method.energy_chunk,
        key=probes_key(state.key, state.step),
    )
    residuals, finite, statistics = clipped_residuals(energies.total, method.clip)
    unscaled = residuals.real
    if method.energy_unit in ("family", "member"):
        units = energy_unit(energies.kinetic.real, finite, family)
        units = jnp.mean(units) if method.energy_unit == "family" else units[:, None]
        residuals = residuals / units.astype(residuals.dtype)
    elif method.energy_unit != 1:
        residuals = residuals / method.energy_unit
    trained, static = eqx.partition(state.ansatz, trainable(state.ansatz))
    # Two batched factorisations that do not depend on each other can deadlock XLA's CPU pool, so the scores must
    # wait for the energies. (An optimization_barrier is dropped before XLA schedules; residuals are never NaN.)
    done = jnp.isfinite(jnp.sum(residuals.real))
    positions = jnp.where(done, state.positions, jnp.nan)
    derivatives = LogDerivatives(trained, static, positions, family.parameters, method.gradient_chunk)
    update = method.optimiser.update(derivatives, residuals, finite, state.optimiser_state)
    # Where nothing was measured there is nothing to learn: no drift on the momentum of earlier steps.
    good = _all_finite((update.trained, update.state)) & jnp.any(finite)

    # Not a `where`: XLA would repeat the chain of tests, one for each array, in the kernel of every array.
    kept, optimiser_state = jax.lax.cond(
        good,
        lambda new, old: new,
        lambda new, old: old,
        (update.trained, update.state),
        (trained, state.optimiser_state),
    )
    # After they were measured: what is lost is counted, and no position counts twice.
    moved, redrawn = redraw(state.positions, lost, finite & ~lost, state.step)
    difference, error = kinetic_difference(energies, finite)
    new = TrainingState(
        ansatz=eqx.combine(kept, static),
        average=_average(state.average, kept, state.step, method.averaging),
        optimiser_state=optimiser_state,
        positions=moved,
        step_size=state.step_size,
        key=state.key,
        step=state.step + 1,
        faults=jnp.where(good, 0, state.faults + 1),
        phase=state.phase,
        # Of the clipped energies, as the gradient sees them: one walker near a node must not retire a phase, nor draw
        # all rows to it.
        mean_energy=_averaged(state.mean_energy, statistics.robust, state.step),
        point=state.point,
        mean_variance=_averaged(state.mean_variance, _finite_mean(unscaled**2, finite), state.step),
    )
    terms = {"kinetic": energies.kinetic, **energies.potentials}
    facts = {
        "statistics": statistics,
        "terms": {name: _finite_mean(value.real, finite) for name, value in terms.items()},
        "bad_terms": {name: jnp.sum(~jnp.isfinite(value), axis=1) for name, value in terms.items()},
        "residuals": unscaled,
        "kinetic_difference": difference,
        "kinetic_difference_error": error,
        "redrawn": redrawn,
        "step_norm": update.step_norm,
        "distance": update.distance,
        "shrink": update.shrink,
        "fallback": update.fallback,
        "refused": ~good,
    }
    return new, facts


def probes_key(key: PRNGKeyArray, step: Array) -> PRNGKeyArray:
    """Key of the random directions of a step, in a stream of their own beside the moves."""
    return jax.random.fold_in(jax.random.fold_in(key, _PROBES), step)


def _average(average: PyTree, trained: PyTree, step: Array, power: float) -> PyTree:
    """The average of the parameters with those of one more step."""
    if not power:
        return trained
    weight = (power + 1) / (step.astype(float) + 1 + power)
    return jax.tree.map(lambda mean, new: mean + weight.astype(new.dtype) * (new - mean), average, trained)


def _averaged(mean: Array | None, energy: Array, step: Array) -> Array | None:
    """The mean with one more step: weights of 3/t are those of steps to the power of two, about the last third.

    Like this the mean needs no record of the steps before, and no number of steps at which it is asked for.
    """
    if mean is None:
        return None
    weight = jnp.minimum(1.0, 3.0 / (step + 1).astype(mean.dtype))
    energy = energy.astype(mean.dtype)
    moved = jnp.where(jnp.isfinite(mean), mean + weight * (energy - mean), energy)
    return jnp.where(jnp.isfinite(energy), moved, mean)


def _all_finite(tree: Any) -> Array:
    leaves = jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    # As one array of each precision: an optimiser of one's own may keep a state of another one than the parameters'.
    arrays = [
        as_one([leaf for leaf in leaves if leaf.dtype == dtype]) for dtype in {leaf.dtype: None for leaf in leaves}
    ]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(array)) for array in arrays or [jnp.zeros(0)]]))


def _finite_mean(values, finite):
    # NaN without a finite walker.
    count = jnp.sum(finite, axis=1).astype(values.dtype)
    return jnp.sum(jnp.where(finite, values, 0), axis=1) / count
