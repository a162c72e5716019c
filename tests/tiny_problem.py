"""The smallest problem that has everything: two electrons, two depths, eight walkers, width 8."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from qernel.ansatz import LogPsi
from qernel.optimise import StochasticReconfiguration
from qernel.presets import build, preset
from qernel.sampling import Sampler, initial_positions
from qernel.systems.moire import Material, moire_family
from qernel.training import Method, initial_state

TINY = (
    "system.supercell=2",
    "system.electrons=[2,0]",
    "system.depths_meV=[5,20]",
    "ansatz.references=['plane_waves']",
    "ansatz.layers=1",
    "ansatz.width=8",
    "ansatz.head_size=4",
    "ansatz.query_heads=2",
    "ansatz.key_value_heads=1",
    "ansatz.experts=2",
    "ansatz.expert_width=8",
    "ansatz.determinants=2",
    "ansatz.condition_size=4",
    "ansatz.feature_shells=1",
    "ansatz.pair_shells=1",
    "ansatz.start=liquid",
    "sampling.walkers=8",
    "sampling.moves=2",
    "sampling.burn_in=1",
    "training.steps=4",
    "training.checkpoint_every=2",
    "evaluation.at.depth_meV=[5,20]",
    "evaluation.walkers=8",
    "evaluation.moves=2",
    "evaluation.rounds=4",
    "evaluation.burn_in=1",
)


def tiny_config(*overrides):
    return preset("moire-6", *TINY, *overrides)


def tiny_problem(*overrides):
    return build(tiny_config("training.precision=double", *overrides))


class Small(eqx.Module):
    """An ansatz of a few lines, for tests that compile the step many times."""

    mix: Array
    out: Array
    vectors: tuple = eqx.field(static=True)

    def __call__(self, r, parameters):
        phases = r @ jnp.asarray(self.vectors, r.dtype).T
        waves = jnp.concatenate([jnp.cos(phases), jnp.sin(phases)], axis=1)
        mean = jnp.broadcast_to(jnp.mean(waves, axis=0, keepdims=True), waves.shape)
        depth = jnp.broadcast_to(parameters.depth.astype(r.dtype), waves.shape)
        hidden = jnp.tanh(jnp.concatenate([waves, mean, depth], axis=1) @ self.mix)
        n = r.shape[0]
        matrix = waves[:, :n] * (1 + hidden @ self.out)
        sign, log = jnp.linalg.slogdet(matrix)
        return LogPsi(log, jnp.where(sign > 0, jnp.zeros_like(log), jnp.pi * jnp.ones_like(log)), real=True)


def small_problem(chunk=None, learning_rate=0.5, optimiser=None, walkers=8):
    """Family, method and starting state of the small ansatz, in float64: two depths, eight walkers unless told."""
    family = moire_family(Material(), 2, (2, 0), [5.0, 20.0])
    cell = family.hamiltonian.cell
    vectors = cell.reciprocal_vectors(1.01 * np.linalg.norm(cell.reciprocal[0]))[:4]
    keys = jax.random.split(jax.random.key(1), 4)
    ansatz = Small(
        0.3 * jax.random.normal(keys[0], (3 * 8, 5)),
        0.3 * jax.random.normal(keys[1], (5, 2)),
        tuple(map(tuple, vectors.tolist())),
    )
    method = Method(
        sampler=Sampler(moves=3, cell=cell),
        optimiser=optimiser or StochasticReconfiguration(learning_rate=learning_rate),
        chunk=chunk,
        score_chunk=chunk,
    )
    positions = initial_positions(family.hamiltonian, 2, walkers, key=keys[2], dtype=jnp.float64)
    return family, method, initial_state(ansatz, method, positions, key=keys[3])
