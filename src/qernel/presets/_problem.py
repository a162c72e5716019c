"""From a configuration to everything that a training run needs."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.ansatz import Ansatz, MomentumProjected, Unconditioned, qernel
from qernel.hamiltonian import Family
from qernel.lattice import Lattice, PeriodicDistance
from qernel.layers import ConditionRouter, ElectronRouter, JointRouter, Softmax, SquaredReLU, TopK
from qernel.observables import moire_supercell
from qernel.optimise import AbstractOptimiser, FirstOrder, StochasticReconfiguration
from qernel.orbitals import PlaneWaves
from qernel.reference import crystal_sites, default_cutoff
from qernel.sampling import Sampler
from qernel.training import Method, TrainingState, initial_positions, initial_state
from qernel.units import Material

from ._config import AnsatzConfig, Config, OptimiserConfig
from ._references import family_of, reference_orbitals


@dataclasses.dataclass(frozen=True)
class Decay:
    """The schedule η/(1 + t/τ); compares and hashes by value, so that a rebuilt run compiles nothing anew."""

    start: float
    decay: float

    def __call__(self, step: Any) -> Any:
        """Learning rate at step t."""
        return self.start / (1 + jnp.asarray(step).astype(float) / self.decay)


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """Everything that a configuration stands for: pass the parts to `qernel.training`.

    - `config`, `material`: what it was built from, and its units.
    - `family`: the Hamiltonians that are trained.
    - `ansatz`: the wavefunction with its starting parameters.
    - `method`: sampler, optimiser and the rest.
    - `positions`: starting walkers, half uniform, half near the crystal.
    - `key`: the random key of the run.
    """

    config: Config
    material: Material
    family: Family
    ansatz: Ansatz
    method: Method
    positions: Float[Array, "hamiltonians walkers electrons dim"]
    key: PRNGKeyArray

    @property
    def electrons(self) -> int:
        """Number of electrons."""
        return sum(self.config.system.electrons)

    def state(self) -> TrainingState:
        """The state before the first step; the walkers still need their burn-in."""
        with jax.enable_x64(True):
            return initial_state(self.ansatz, self.method, self.positions, key=self.key)

    def family_at(self, depths_meV: tuple[float, ...]) -> Family:
        """The same Hamiltonian at other depths."""
        with jax.enable_x64(True):
            return family_of(self.config.system, self.material, depths_meV)


def build(config: Config, *, references: bool = True) -> Problem:
    """Build what a configuration describes.

    **Arguments:** `references`: solve for the reference orbitals (the expensive part); if false they are zero,
    which is right if a checkpoint is to be read into `state()`.

    **Raises:** `ValueError` in the user's terms.
    """
    with jax.enable_x64(True):
        system = config.system
        material = Material(system.effective_mass, system.dielectric, system.lattice_constant_nm)
        family = family_of(system, material, system.depths_meV)
        _check_orbitals(config, family)
        key = jax.random.key(config.training.seed)
        keys = jax.random.split(key, 3)
        sites = crystal_sites(family.hamiltonian, family.select(-1)) if references else None
        dtype = jnp.float32 if config.training.precision == "single" else jnp.float64
        return Problem(
            config=config,
            material=material,
            family=family,
            ansatz=_ansatz(config, material, family, sites, key=keys[0], dtype=dtype),
            method=method(config, family),
            positions=initial_positions(
                family.hamiltonian,
                family.size,
                config.sampling.walkers,
                key=keys[1],
                sites=sites,
                dtype=dtype,
            ),
            key=keys[2],
        )


def _check_orbitals(config: Config, family: Family) -> None:
    cell = family.hamiltonian.cell
    assert cell is not None
    available, wanted = (
        PlaneWaves(cell, default_cutoff(family.hamiltonian)).size,
        max(config.system.electrons),
    )
    if wanted > available:
        (a, b), (c, d) = config.system.supercell
        raise ValueError(
            f"{wanted} electrons of one spin need as many orbitals, and {abs(a * d - b * c)} moiré cells "
            f"have {available}: choose fewer electrons or a larger supercell"
        )


def method(config: Config, family: Family) -> Method:
    """Sampler, optimiser and chunk of a configuration."""
    cell = family.hamiltonian.cell
    assert cell is not None
    sampling = config.sampling
    return Method(
        sampler=Sampler(moves=sampling.moves, target_acceptance=sampling.target_acceptance, wrap=cell.wrap),
        optimiser=_optimiser(config.optimiser),
        clip=config.optimiser.clip,
        chunk=config.training.chunk or None,
        score_chunk=config.training.score_chunk or None,
    )


def _optimiser(config: OptimiserConfig) -> AbstractOptimiser:
    schedule = Decay(config.learning_rate, config.decay)
    if config.name == "adam":
        return FirstOrder(optax.adam(schedule, b1=config.momentum))
    return StochasticReconfiguration(
        learning_rate=schedule,
        damping=config.damping,
        momentum=config.momentum,
        trust_region=config.trust_region,
        balance=config.balance,
    )


def _ansatz(config: Config, material: Material, family: Family, sites: Any, *, key: PRNGKeyArray, dtype: Any) -> Ansatz:
    a, system, cell = config.ansatz, config.system, family.hamiltonian.cell
    assert cell is not None
    routers = {"joint": JointRouter, "electron": ElectronRouter, "condition": ConditionRouter}
    gates = {"softmax": Softmax, "squared_relu": SquaredReLU, "top_k": lambda: TopK(a.top_k)}
    ends = family_of(system, material, tuple(sorted(set(system.depth_range)))).parameters
    ansatz = qernel(
        ends,
        system.electrons,
        shells(cell, a.feature_shells),
        tuple(reference_orbitals(name, config, material, sites) for name in a.references),
        key=key,
        squared_distance=PeriodicDistance(cell),
        cusp_range=2.0 if a.cusp else None,
        pair_waves=shells(cell, a.pair_shells) if a.pair_shells else None,
        width=a.width,
        layers=a.layers,
        query_heads=a.query_heads,
        key_value_heads=a.key_value_heads,
        head_size=a.head_size,
        experts=a.experts,
        expert_width=a.expert_width,
        determinants=a.determinants,
        condition_size=a.condition_size,
        initial_weights=_starting_weights(a),
        complex=a.complex,
        router=routers[a.router],
        gate=gates[a.gate](),
        film=a.film,
        dressing_scale=a.dressing_scale,
        dtype=dtype,
    )
    if a.projected:
        supercell = moire_supercell(family.hamiltonian)
        assert supercell is not None
        ansatz = MomentumProjected(ansatz, supercell)
    if a.conditioned:
        return ansatz
    middle = jax.tree.map(lambda leaf: (leaf[0] + leaf[-1]) / 2, ends)
    return Unconditioned(ansatz, middle)


def _starting_weights(a: AnsatzConfig) -> tuple[float, ...]:
    phase = {"liquid": "liquid", "plane_waves": "liquid", "crystal": "crystal", "gaussians": "crystal"}
    share = a.determinants // len(a.references)
    weights = [1.0 if a.start in ("both", phase[name]) else 0.3 for name in a.references]
    return tuple(weight for weight in weights for _ in range(share))


def shells(cell: Lattice, count: int) -> Float[np.ndarray, "vectors dim"]:
    """One of each pair ±G of the `count` shortest shells of reciprocal vectors of a cell."""
    radius = 2 * math.pi / cell.volume ** (1 / cell.dim)
    while True:
        vectors = cell.reciprocal_vectors(radius)
        lengths = np.linalg.norm(vectors, axis=1)
        edges = np.flatnonzero(np.diff(lengths) > 1e-6 * radius)
        # The last shell inside the radius is whole as well, but one more edge shows that it is.
        if len(edges) >= count:
            inside = vectors[: edges[count - 1] + 1]
            break
        radius *= 1.5
    turns = np.round(inside @ cell.matrix.T / (2 * np.pi)).astype(int)
    first = np.array([next(n for n in row if n) for row in turns])
    return inside[first > 0]
