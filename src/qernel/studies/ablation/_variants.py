"""Variants of a wavefunction, each without one ingredient."""

import dataclasses
from collections.abc import Sequence

import jax

from qernel.presets import Config, ConfigurationError

FULL = "full"


@dataclasses.dataclass(frozen=True)
class Variant:
    """A variant of a configured wavefunction.

    - `meaning`: what it is, in words; `settings`: overrides that make it of the full wavefunction.
    - `separate`: whether every point has a wavefunction of its own.
    """

    meaning: str
    settings: tuple[str, ...] = ()
    separate: bool = False


def variants(config: Config) -> dict[str, Variant]:
    """All variants of a configuration by name, the full wavefunction first.

    Of the sets of orbitals that the system offers each is the only one of a variant, `only-NAME`.
    """
    a = config.ansatz
    # Any gate of one expert is 1; top_k and spline would ask for more experts than there are.
    one = ("ansatz.experts=1", "ansatz.gate='softmax'")
    active = {"top_k": a.top_k, "spline": 3}.get(a.gate, 1)
    found = {
        FULL: Variant("as configured"),
        "no-film": Variant("features not modulated by λ", ("ansatz.film=false",)),
        "unconditioned": Variant("one wavefunction for all λ", ("ansatz.conditioned=false",)),
        "dense": Variant(
            "one perceptron with all the experts' hidden units",
            (*one, f"ansatz.expert_width={a.experts * a.expert_width}"),
        ),
        "narrow": Variant(
            f"one perceptron as wide as {active} of the {a.experts} experts",
            (*one, f"ansatz.expert_width={active * a.expert_width}"),
        ),
        "multi-head": Variant("keys and values for every query head", (f"ansatz.key_value_heads={a.query_heads}",)),
        "separate": Variant("one wavefunction for each measured point, trained there", separate=True),
    }
    with jax.enable_x64(True):
        phases = config.system.system().phases
    for phase in phases:
        if a.references != (phase.name,):
            settings = (f"ansatz.references=['{phase.name}']", "ansatz.start='both'")
            found[f"only-{phase.name}"] = Variant(f"no orbitals but {phase.about}", settings)
    return found


def chosen_variants(known: dict[str, Variant], only: Sequence[str]) -> list[str]:
    """The names of the variants to train, by default all.

    **Raises:** `ConfigurationError` for an unknown one.
    """
    for name in only:
        if name not in known:
            raise ConfigurationError(f"there is no variant '{name}': there are {', '.join(known)}")
    return [name for name in known if name in only] if only else list(known)
