"""From a configuration to everything that a run is made of."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PRNGKeyArray

from qernel.ansatz import Ansatz, CompetingPhases, MomentumProjected, Unconditioned, qernel
from qernel.hamiltonian import in_phases
from qernel.laplacian import ForwardLaplacian, ProbedLaplacian
from qernel.layers import ConditionRouter, ElectronRouter, JointRouter, Softmax, Spline, SquaredReLU, TopK
from qernel.optimise import (
    KFAC,
    AbstractOptimiser,
    Cholesky,
    ConjugateGradients,
    Decay,
    FirstOrder,
    StochasticReconfiguration,
)
from qernel.precision import precision
from qernel.run_directory import Problem, Settings
from qernel.sampling import Sampler, langevin, random_walk
from qernel.systems import System, matter_of
from qernel.training import Method

from ._colours import colours_of
from ._config import AnsatzConfig, Config, OptimiserConfig
from ._memory import check_memory

_KERNELS = {"langevin": langevin, "random_walk": random_walk}
_KERNEL_WORDS = {"langevin": "Langevin moves with a limited drift", "random_walk": "random-walk Metropolis"}
_ROUTERS = {"joint": JointRouter, "electron": ElectronRouter, "condition": ConditionRouter}


def build(config: Config, *, solve: bool = True) -> Problem:
    """Build what a configuration describes.

    **Arguments:** `solve`: solve for the mean-field orbitals (the expensive part); if false they are zero,
    which is right if a checkpoint is to be read into `state(solved=False)`.

    **Raises:** `ValueError` in the user's terms; if `solve`, also for what the memory here cannot hold.
    """
    with jax.enable_x64(True):
        system = config.system.system()
        matter = matter_of(system.phases, config.ansatz.references)
        _check_phases(config.ansatz, matter)
        _check_complex(config.ansatz, system)
        # What is only to be read, perhaps on another machine, was built somewhere.
        if solve:
            check_memory(config, system)
        keys = jax.random.split(jax.random.key(config.training.seed), 3)
        points = system.family.as_points(config.evaluation.at) if config.evaluation.at else None
        return Problem(
            system=system,
            ansatz=build_ansatz(config, system, key=keys[0], solve=solve),
            method=build_method(config, system),
            settings=_settings(config, system.family.hamiltonian.n_electrons),
            key=keys[2],
            points=points,
            identity=config.identity(),
            names=matter if config.ansatz.phases == "separate" else (),
            references=config.ansatz.references,
            notes={"kernel": _KERNEL_WORDS[config.sampling.kernel]},
            walkers_key=keys[1],
        )


def _check_phases(a: AnsatzConfig, matter: tuple[str, ...]) -> None:
    if a.start not in ("both", *matter):
        raise ValueError(
            f"ansatz.start is '{a.start}', and the orbitals {list(a.references)} are those of {', '.join(matter)}: "
            "take one of these, or 'both'"
        )
    if a.phases == "separate" and len(set(matter)) < len(matter):
        raise ValueError(f"phases that compete must differ, and {list(a.references)} are those of {', '.join(matter)}")


def _check_complex(a: AnsatzConfig, system: System) -> None:
    own = [name for name in a.references if system.phase(name).complex]
    if own and not a.complex:
        raise ValueError(
            f"ansatz.complex must be true for the orbitals '{own[0]}', a state of one momentum that no real "
            "wavefunction has: leave it out, or take other references"
        )


def _settings(config: Config, electrons: int) -> Settings:
    t, s, e = config.training, config.sampling, config.evaluation
    return Settings(
        steps=t.steps,
        walkers=s.walkers,
        burn_in=s.burn_in,
        checkpoint_every=t.checkpoint_every,
        keep=t.keep,
        patience=t.patience,
        competition=t.competition,
        margin=t.margin,
        dtype=precision(t.precision).network,
        measured_walkers=e.walkers,
        measured_moves=e.moves,
        measured_rounds=e.rounds,
        measured_burn_in=e.burn_in,
        measured_chunk=e.chunk or None,
        measured_colours=colours_of(e, electrons),
    )


def build_method(config: Config, system: System) -> Method:
    """Sampler, optimiser and chunks of a configuration."""
    s, cell = config.sampling, system.family.hamiltonian.cell
    colours = colours_of(config.training, system.family.hamiltonian.n_electrons)
    sampler = Sampler(
        _KERNELS[s.kernel],
        moves=s.moves,
        target_acceptance=s.acceptance,
        chunk=s.chunk or None,
        cell=cell,
    )
    return Method(
        sampler=sampler,
        optimiser=_optimiser(config.optimiser),
        laplacian=ForwardLaplacian() if colours is None else ProbedLaplacian(colours=colours),
        clip=config.optimiser.clip,
        energy_unit=config.optimiser.energy_unit,
        averaging=config.optimiser.averaging,
        chunk=config.training.chunk or None,
        score_chunk=config.training.score_chunk or None,
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


def build_ansatz(config: Config, system: System, *, key: PRNGKeyArray, solve: bool = True) -> Ansatz:
    """The wavefunction of a configuration, with its starting parameters."""
    a, hamiltonian = config.ansatz, system.family.hamiltonian
    dtype = jnp.dtype(precision(config.training.precision).network)
    span = (system.family if system.span is None else system.span).parameters
    gates: Mapping[str, Any] = {
        "softmax": Softmax,
        "squared_relu": SquaredReLU,
        "spline": Spline,
        "top_k": lambda: TopK(a.top_k),
    }
    blocks: dict[str, Any] = {"cusp_range": 2.0} | config.system.blocks(system, a)
    if not a.cusp:
        blocks["cusp_range"] = None
    ansatz = qernel(
        in_phases(span, len(a.references)) if a.phases == "separate" else span,
        hamiltonian.electrons,
        references=tuple(system.phase(name).orbitals(dtype, solve) for name in a.references),
        key=key,
        cusp_strength=hamiltonian.cusp,
        width=a.width,
        layers=a.layers,
        query_heads=a.query_heads,
        key_value_heads=a.key_value_heads,
        head_size=a.head_size,
        experts=a.experts,
        expert_width=a.expert_width,
        determinants=a.determinants,
        condition_size=a.condition_size,
        initial_weights=_starting_weights(a, matter_of(system.phases, a.references)),
        complex=a.complex,
        router=_ROUTERS[a.router],
        gate=gates[a.gate](),
        film=a.film,
        dressing_scale=a.dressing_scale,
        dtype=dtype,
        precision=config.training.precision,
        **blocks,
    )
    if a.projected:
        if hamiltonian.supercell is None:
            raise ValueError("ansatz.projected needs a periodic cell made of primitive cells of the potential")
        ansatz = MomentumProjected(ansatz, hamiltonian.supercell)
    if a.phases == "separate":
        return CompetingPhases(ansatz)
    if a.conditioned:
        return ansatz
    middle = jax.tree.map(lambda leaf: (leaf[0] + leaf[-1]) / 2, span)
    return Unconditioned(ansatz, middle)


def _starting_weights(a: AnsatzConfig, matter: tuple[str, ...]) -> tuple[float, ...]:
    share = a.determinants // len(a.references)
    weights = [1.0 if a.start in ("both", phase) else 0.3 for phase in matter]
    return tuple(weight for weight in weights for _ in range(share))
