"""From a configuration to everything that a training run needs."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.ansatz import Ansatz, CompetingPhases, MomentumProjected, Unconditioned, qernel
from qernel.hamiltonian import Family, InPhase, in_phases
from qernel.lattice import PeriodicDistance, shells
from qernel.layers import ConditionRouter, ElectronRouter, JointRouter, Softmax, Spline, SquaredReLU, TopK
from qernel.mean_field import crystal_sites, default_cutoff
from qernel.observables import moire_supercell
from qernel.optimise import (
    KFAC,
    AbstractOptimiser,
    Cholesky,
    ConjugateGradients,
    FirstOrder,
    StochasticReconfiguration,
)
from qernel.orbitals import PlaneWaves
from qernel.precision import precision
from qernel.sampling import Sampler, langevin, random_walk
from qernel.training import Method, TrainingState, initial_positions, initial_state
from qernel.units import Material

from ._config import AnsatzConfig, Config, OptimiserConfig, SamplingConfig
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
    - `family`: the Hamiltonians that are trained, each in every phase if the phases are separate.
    - `ansatz`: the wavefunction with its starting parameters.
    - `method`: sampler, optimiser and the rest.
    - `positions`: starting walkers, half uniform, half near the crystal; of separate phases each in its own.
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

    @property
    def phases(self) -> tuple[str, ...]:
        """Names of the separate phases, in the order of their numbers; none if one sum holds them."""
        return self.config.ansatz.references if self.config.ansatz.phases == "separate" else ()

    @property
    def rows(self) -> tuple[tuple[float, str], ...]:
        """Depth in meV and phase (an empty name without separate ones) of each member of `family`."""
        depths = self.config.system.depths_meV
        if not self.phases:
            return tuple((depth, "") for depth in depths)
        numbers = np.round(np.asarray(self.family.parameters.number)).astype(int)
        return tuple(zip(np.repeat(depths, len(self.phases)).tolist(), (self.phases[n] for n in numbers), strict=True))

    def with_phases(self, names: Sequence[str]) -> "Problem":
        """The same with another phase in each member of `family`, after some have retired."""
        with jax.enable_x64(True):
            numbers = jnp.asarray([self.phases.index(name) for name in names], float)
            parameters = InPhase(self.family.parameters.parameters, numbers)
        return dataclasses.replace(self, family=dataclasses.replace(self.family, parameters=parameters))

    def nearest_rows(self, depths_meV: Sequence[float], phase: str = "") -> np.ndarray:
        """The member of `family` in this phase whose depth is nearest, for each depth."""
        rows = [row for row, (_, name) in enumerate(self.rows) if name == phase]
        trained = np.array([self.rows[row][0] for row in rows])
        return np.array(rows)[np.argmin(np.abs(trained[None] - np.asarray(depths_meV)[:, None]), axis=1)]

    def competes(self, depths_meV: Sequence[float], phase: str) -> np.ndarray:
        """Where this phase is trained: between the nearest trained depths, on either side, at which it is not."""
        depths = np.array(self.config.system.depths_meV)
        trained = np.array([(depth, phase) in self.rows for depth in depths])
        places = np.clip(depths_meV, depths[0], depths[-1])
        below = np.clip(np.searchsorted(depths, places, side="right") - 1, 0, len(depths) - 1)
        above = np.clip(np.searchsorted(depths, places, side="left"), 0, len(depths) - 1)
        return trained[below] | trained[above]

    def state(self) -> TrainingState:
        """The state before the first step; the walkers still need their burn-in."""
        with jax.enable_x64(True):
            return initial_state(self.ansatz, self.method, self.positions, key=self.key)

    def family_at(self, depths_meV: tuple[float, ...], phases: Sequence[int] | None = None) -> Family:
        """The same Hamiltonian at other depths; `phases`, the number of one at each depth if they are separate."""
        with jax.enable_x64(True):
            family = family_of(self.config.system, self.material, depths_meV)
            if phases is None:
                return family
            numbers = jnp.asarray(np.asarray(phases), float)
            return dataclasses.replace(family, parameters=InPhase(family.parameters, numbers))


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
        dtype = jnp.dtype(precision(config.training.precision).network)
        ansatz = _ansatz(config, material, family, sites, key=keys[0], dtype=dtype)
        crystal = None
        if isinstance(ansatz, CompetingPhases):
            crystal = np.tile([_PHASE[name] == "crystal" for name in config.ansatz.references], family.size)
            family = dataclasses.replace(family, parameters=in_phases(family.parameters, ansatz.phases))
        return Problem(
            config=config,
            material=material,
            family=family,
            ansatz=ansatz,
            method=method(config, family),
            positions=initial_positions(
                family.hamiltonian,
                family.size,
                config.sampling.walkers,
                key=keys[1],
                sites=sites,
                crystal=crystal,
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
    return Method(
        sampler=_sampler(config.sampling, family),
        optimiser=_optimiser(config.optimiser),
        clip=config.optimiser.clip,
        # Learning rates of configurations are in inverse effective Hartree, those of earlier runs too.
        energy_unit=1.0,
        chunk=config.training.chunk or None,
        score_chunk=config.training.score_chunk or None,
    )


_KERNELS = {"langevin": langevin, "random_walk": random_walk}


def _sampler(config: SamplingConfig, family: Family) -> Sampler:
    cell = family.hamiltonian.cell
    assert cell is not None
    return Sampler(
        _KERNELS[config.kernel],
        moves=config.moves,
        target_acceptance=config.acceptance,
        chunk=config.chunk or None,
        wrap=cell.wrap,
    )


def _optimiser(config: OptimiserConfig) -> AbstractOptimiser:
    schedule = Decay(config.learning_rate, config.decay)
    if config.name == "adam":
        return FirstOrder(optax.adam(schedule, b1=config.momentum))
    common = {
        "learning_rate": schedule,
        "damping": config.damping,
        "momentum": config.momentum,
        "trust_region": config.trust_region,
        "balance": config.balance,
    }
    if config.name == "kfac":
        return KFAC(**common)
    return StochasticReconfiguration(
        **common,
        solver={"cholesky": Cholesky, "conjugate_gradients": ConjugateGradients}[config.solver](),
    )


def _ansatz(config: Config, material: Material, family: Family, sites: Any, *, key: PRNGKeyArray, dtype: Any) -> Ansatz:
    a, system, cell = config.ansatz, config.system, family.hamiltonian.cell
    assert cell is not None
    routers = {"joint": JointRouter, "electron": ElectronRouter, "condition": ConditionRouter}
    gates = {"softmax": Softmax, "squared_relu": SquaredReLU, "spline": Spline, "top_k": lambda: TopK(a.top_k)}
    ends = family_of(system, material, tuple(sorted(set(system.depth_range)))).parameters
    ansatz = qernel(
        in_phases(ends, len(a.references)) if a.phases == "separate" else ends,
        system.electrons,
        shells(cell, a.feature_shells),
        tuple(reference_orbitals(name, config, material, sites) for name in a.references),
        key=key,
        cusp_strength=family.hamiltonian.cusp,
        squared_distance=PeriodicDistance(cell),
        cusp_range=2.0 if a.cusp else None,
        pair=shells(cell, a.pair_shells) if a.pair_shells else None,
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
        precision=config.training.precision,
    )
    if a.projected:
        supercell = moire_supercell(family.hamiltonian)
        assert supercell is not None
        ansatz = MomentumProjected(ansatz, supercell)
    if a.phases == "separate":
        return CompetingPhases(ansatz)
    if a.conditioned:
        return ansatz
    middle = jax.tree.map(lambda leaf: (leaf[0] + leaf[-1]) / 2, ends)
    return Unconditioned(ansatz, middle)


# The phase that each set of reference orbitals stands for.
_PHASE = {"liquid": "liquid", "plane_waves": "liquid", "crystal": "crystal", "gaussians": "crystal"}


def _starting_weights(a: AnsatzConfig) -> tuple[float, ...]:
    share = a.determinants // len(a.references)
    weights = [1.0 if a.start in ("both", _PHASE[name]) else 0.3 for name in a.references]
    return tuple(weight for weight in weights for _ in range(share))
