"""One training step: sample, measure, differentiate, update. Compiled once for all λ."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array

from qernel.ansatz import log_density
from qernel.compilation import compiled
from qernel.gradient import LogDerivatives, clipped_residuals, local_energies
from qernel.hamiltonian import Family
from qernel.layers import trainable

from ._state import Method, StepReport, TrainingState


def sample_phase(state: TrainingState, family: Family, method: Method):
    """Move the walkers: returns new walkers under the state's wavefunction."""
    return method.sampler(
        log_density(state.ansatz),
        family.parameters,
        state.positions,
        state.step_size,
        jax.random.fold_in(state.key, state.step),
    )


def _all_finite(tree: Any) -> Array:
    leaves = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree) if eqx.is_inexact_array(leaf)]
    return jnp.all(jnp.stack(leaves))


@compiled
def train_step(state: TrainingState, family: Family, method: Method) -> tuple[TrainingState, StepReport]:
    """One step of the training of one wavefunction for all Hamiltonians of a family.

    Samples with the current parameters, measures local energies term by term, clips and centres them per
    Hamiltonian, and updates. An update that is not finite is refused: parameters and optimiser state stay as
    they were and `faults` counts up.
    """
    walkers = sample_phase(state, family, method)
    energies = local_energies(
        state.ansatz, family.hamiltonian, walkers.positions, family.parameters, method.laplacian, method.energy_chunk
    )
    residuals, finite, statistics = clipped_residuals(energies.total, method.clip)
    trained, static = eqx.partition(state.ansatz, trainable(state.ansatz))
    # Two batched factorisations that do not depend on each other can deadlock XLA's CPU pool, so the scores must
    # wait for the energies. (An optimization_barrier is dropped before XLA schedules; residuals are never NaN.)
    done = jnp.isfinite(jnp.sum(residuals.real))
    positions = jnp.where(done, walkers.positions, jnp.nan)
    derivatives = LogDerivatives(trained, static, positions, family.parameters, method.gradient_chunk)
    update = method.optimiser.update(derivatives, residuals, finite, state.optimiser_state)
    good = _all_finite((update.trained, update.state))

    # Not a `where`: XLA would repeat the chain of tests, one for each array, in the kernel of every array.
    kept, optimiser_state = jax.lax.cond(
        good,
        lambda new, old: new,
        lambda new, old: old,
        (update.trained, update.state),
        (trained, state.optimiser_state),
    )
    new = TrainingState(
        ansatz=eqx.combine(kept, static),
        optimiser_state=optimiser_state,
        positions=walkers.positions,
        step_size=walkers.step_size,
        key=state.key,
        step=state.step + 1,
        faults=jnp.where(good, 0, state.faults + 1),
    )
    means = {"kinetic": energies.kinetic.real, **energies.potentials}
    report = StepReport(
        statistics=statistics,
        terms={name: _finite_mean(value, finite) for name, value in means.items()},
        acceptance=walkers.acceptance,
        stuck=walkers.stuck,
        step_norm=update.step_norm,
        distance=update.distance,
        shrink=update.shrink,
        fallback=update.fallback,
        refused=~good,
    )
    return new, report


@compiled
def move_walkers(state: TrainingState, family: Family, method: Method, phases: int) -> TrainingState:
    """`phases` sampling phases with frozen parameters (burn-in); the step size adapts."""

    def body(state, _):
        walkers = sample_phase(state, family, method)
        moved = eqx.tree_at(
            lambda s: (s.positions, s.step_size, s.step),
            state,
            (walkers.positions, walkers.step_size, state.step + 1),
        )
        return moved, walkers.acceptance

    arrays, static = eqx.partition(state, eqx.is_array)
    arrays, _ = jax.lax.scan(
        lambda carry, x: (eqx.filter(body(eqx.combine(carry, static), x)[0], eqx.is_array), None),
        arrays,
        None,
        length=phases,
    )
    return eqx.combine(arrays, static)


def _finite_mean(values, finite):
    count = jnp.maximum(jnp.sum(finite, axis=1), 1).astype(values.dtype)
    return jnp.sum(jnp.where(finite, values, 0), axis=1) / count
