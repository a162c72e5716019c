"""What a run needs of memory, before any of it is taken."""

import dataclasses
import math
from typing import Literal

import jax

from qernel.chunks import machine_memory
from qernel.hamiltonian import Hamiltonian
from qernel.systems import System

from ._colours import colours_of
from ._config import Config
from ._explain import ConfigurationError


@dataclasses.dataclass(frozen=True)
class Need:
    """Memory that a run cannot do without.

    - `key`, `value`: the setting that it grows with; `what`: it is for, in words; `bytes` of it.
    - `power`: with which it grows; 0 if no value of the setting changes enough.
    - `otherwise`: what helps beside a smaller value.
    """

    key: str
    value: int
    what: str
    bytes: int
    power: int = 1
    otherwise: str = ""


def needs(config: Config, system: System) -> tuple[Need, ...]:
    """What training and measurement keep in memory at once, each from below: temporary copies are not counted."""
    return (*_training(config, system), *_measurement(config, system))


def _training(config: Config, system: System) -> tuple[Need, ...]:
    a, s = config.ansatz, config.sampling
    hamiltonian, size = system.family.hamiltonian, _bytes_of_number(config)
    n, coordinates = hamiltonian.n_electrons, hamiltonian.n_electrons * hamiltonian.dim
    members = system.family.size * (len(a.references) if a.phases == "separate" else 1)
    found = [
        # Drawn in double precision, then rounded.
        Need("sampling.walkers", s.walkers, "the positions of the walkers", members * s.walkers * coordinates * 8),
        Need(
            "ansatz.width", a.width, "the parameters, their gradient, step and last step", 4 * size * _parameters(a, n)
        ),
        _jets(config, "training", s.walkers, members, hamiltonian),
    ]
    if config.optimiser.name == "spring" and config.optimiser.solver == "cholesky":
        rows = members * s.walkers * (2 if a.complex else 1)
        otherwise = "optimiser.solver = 'conjugate_gradients' and optimiser.name = 'kfac' do without"
        matrix = "the matrix of all walkers of all members, and its factor"
        found.append(Need("sampling.walkers", s.walkers, matrix, 2 * 8 * rows**2, 2, otherwise))
    for name in a.references:
        orbitals = Need("system.electrons", n, f"the orbitals '{name}'", system.phase(name).memory, 0)
        found.append(dataclasses.replace(orbitals, otherwise="take a smaller cell, or fewer electrons"))
    return tuple(found)


def _measurement(config: Config, system: System) -> tuple[Need, ...]:
    e, hamiltonian = config.evaluation, system.family.hamiltonian
    coordinates = hamiltonian.n_electrons * hamiltonian.dim
    points = math.prod(len(values) for values in e.at.values()) if e.at else system.family.size
    terms = 2 + len(hamiltonian.potentials)
    more = ("evaluation.rounds", e.rounds) if e.rounds > e.walkers else ("evaluation.walkers", e.walkers)
    kept = points * e.walkers * e.rounds * terms * 8
    return (
        Need("evaluation.walkers", e.walkers, "the positions of the walkers", points * e.walkers * coordinates * 8),
        Need(*more, "the energies of all walkers in all rounds", kept),
        _jets(config, "evaluation", e.walkers, points, hamiltonian),
    )


def _jets(
    config: Config, section: Literal["training", "evaluation"], walkers: int, members: int, hamiltonian: Hamiltonian
) -> Need:
    """Derivatives along all directions, of the features of the electrons and of the matrices of the determinants."""
    a, n, settings = config.ansatz, hamiltonian.n_electrons, getattr(config, section)
    features = max(a.width, a.query_heads * a.head_size)
    directions = hamiltonian.dim * min(colours_of(settings, n) or n, n)
    one = members * directions * n * (features + a.determinants * n * (2 if a.complex else 1))
    one *= _bytes_of_number(config)
    key, of = f"{section}.chunk", "sampling.walkers" if section == "training" else "evaluation.walkers"
    at_once = 1 if isinstance(settings.chunk, str) else min(settings.chunk or walkers, walkers)
    what = f"the derivatives of the network at {at_once} walkers of each member at once"
    if not settings.chunk:
        return Need(of, walkers, what, one * at_once, 1, f"so many walkers are done at once unless {key} says how many")
    return Need(key, at_once, what, one * at_once)


def _bytes_of_number(config: Config) -> int:
    return 8 if config.training.precision == "double" else 4


def _parameters(a, electrons: int) -> int:
    """Number of the parameters of the layers that grow with the settings, from below."""
    attention = a.width * a.head_size * 2 * (a.query_heads + a.key_value_heads)
    experts = a.experts * 2 * a.width * a.expert_width
    film = 2 * a.condition_size * a.width if a.film else 0
    dressing = a.width * a.determinants * electrons * (2 if a.complex else 1)
    return a.layers * (attention + experts + film) + dressing


def check_memory(config: Config, system: System, *, train: bool = True, available: int | None = None) -> None:
    """Refuse what cannot fit, before anything is built.

    **Arguments:** `train`: whether it is to be trained, too, or measured alone; `available`, in bytes, by default what
    [`available_memory`][qernel.presets.available_memory] says.

    **Raises:** `ConfigurationError` with the memory needed, what there is, and what would fit.
    """
    memory = available_memory() if available is None else available
    found = needs(config, system) if train else _measurement(config, system)
    worst = max(found, key=lambda need: need.bytes)
    if worst.bytes <= memory:
        return
    most = int(worst.value * (memory / worst.bytes) ** (1 / worst.power)) if worst.power else 0
    fits = [f"at most about {_rounded(most)} would fit"] if most else []
    if worst.power and not most:
        fits = ["not even 1 would fit: take fewer electrons, members or features"]
    hints = "; ".join([*fits, *([worst.otherwise] if worst.otherwise else [])])
    raise ConfigurationError(
        f"{worst.key} = {worst.value} needs about {in_words(worst.bytes)} for {worst.what}, and there are "
        f"{in_words(memory)} here: {hints}"
    )


def available_memory() -> int:
    """Bytes of memory of all devices, of this and of the other processes of the run."""
    devices = jax.devices()
    if devices[0].platform == "cpu":
        return machine_memory() * jax.process_count()
    limits = [(device.memory_stats() or {}).get("bytes_limit", 2**34) for device in jax.local_devices()]
    return sum(limits) * len(devices) // len(limits)


def _rounded(count: int) -> int:
    """Two digits: no estimate knows more."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return count // step * step


def in_words(size: int) -> str:
    """Bytes as `2.3 TB`."""
    units = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
    power = min(max(len(str(size)) - 1, 0) // 3, len(units) - 1)
    return f"{size / 1000**power:.3g} {units[power]}"
