"""A wavefunction of one's own, put together from the blocks and trained for a whole moiré family."""

import equinox as eqx
import jax
import jax.numpy as jnp

from qernel.ansatz import Conditioner, LogPsi
from qernel.lattice import PeriodicDistance
from qernel.layers import FiLM, Frozen, GroupedQueryAttention, Linear, PeriodicEmbedding
from qernel.mean_field import crystal_branch, liquid_branch, potential_depth
from qernel.orbitals import CuspJastrow, InterpolatedOrbitals, PlaneWaves, log_sum_determinants
from qernel.runs import Run, Settings
from qernel.sampling import Sampler, langevin
from qernel.systems.moire import Material, moire_system
from qernel.training import Method


# --8<-- [start:ansatz]
class TwoPhases(eqx.Module):
    """exp(J) Σ_d det[φᵈ_j(r_i; V₀) (1 + fᵈ_j(h_i))]: liquid and crystal, dressed by one conditioned layer."""

    conditioner: Conditioner
    embedding: PeriodicEmbedding
    lift: Linear
    film: FiLM
    attention: GroupedQueryAttention
    dressing: Linear
    references: tuple[Frozen, ...]
    cusp: CuspJastrow

    def network(self, r, parameters):
        h, condition = jnp.tanh(self.lift(self.embedding(r))), self.conditioner(parameters).astype(r.dtype)
        return self.dressing(h + self.attention(self.film(h, condition)))

    def __call__(self, r, parameters):
        factors = 1 + self.network(r, parameters).reshape(len(r), len(self.references), len(r))
        orbitals = jnp.stack([orbital(r, parameters) for orbital in self.references], axis=1)
        matrices = jnp.swapaxes(orbitals * factors, 0, 1)
        log_magnitude, phase = log_sum_determinants(matrices, jnp.ones(len(matrices), r.dtype))
        return LogPsi(log_magnitude + self.cusp(r, parameters), phase, real=True)
        # --8<-- [end:ansatz]


# --8<-- [start:build]
def two_phases(family, width=32):
    cell, electrons = family.hamiltonian.cell, family.hamiltonian.electrons
    keys, waves = jax.random.split(jax.random.key(0), 4), PlaneWaves(cell, 0.4).vectors
    branches = liquid_branch(family), crystal_branch(family)
    orbitals = [InterpolatedOrbitals(b.waves, b.nodes, b.coefficients[0], potential_depth) for b in branches]
    conditioner = Conditioner(family.parameters, 16, key=keys[0])
    return TwoPhases(
        conditioner=conditioner,
        embedding=PeriodicEmbedding(waves),
        lift=Linear(2 * len(waves), width, key=keys[1]),
        film=FiLM(conditioner.size, width),
        attention=GroupedQueryAttention(width, query_heads=4, key_value_heads=2, head_size=8, key=keys[2]),
        dressing=Linear(width, len(orbitals) * sum(electrons), key=keys[3], scale=0.1),
        references=tuple(Frozen(phi) for phi in orbitals),
        cusp=CuspJastrow(electrons, 2.0, family.hamiltonian.cusp, squared_distance=PeriodicDistance(cell)),
    )
    # --8<-- [end:build]


# --8<-- [start:train]
def main(path="runs/two-phases", depths=(0, 5, 10, 15, 20, 25, 30), settings=None):
    system = moire_system(Material(), 3, (6, 0), depths)
    sampler = Sampler(langevin, moves=5, target_acceptance=0.7, cell=system.family.hamiltonian.cell)
    run = Run.begin(path, system, two_phases(system.family), Method(sampler), settings or Settings(steps=300))
    for step in run.train():
        if step.number % 10 == 0:
            print(step.number, step.energies, "meV per electron")
    run.evaluate()
    run.figures()
    return run
    # --8<-- [end:train]


if __name__ == "__main__":
    main()
