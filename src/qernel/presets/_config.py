"""The configuration of a run: every number that the command line knows, checked before it is used."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from qernel.systems import (
    MOST,
    MOST_MEMBERS,
    Count,
    Finite,
    Positive,
    Section,
    SystemSection,
    Values,
    complex_references,
    system_names,
    system_section,
)

# The system of a configuration that names none: that of the default preset.
DEFAULT_SYSTEM = "moire"
Natural = Annotated[int, Field(ge=0, le=MOST)]
# Walkers at once; 0: all.
Chunk = Natural | Literal["auto"]
# Sizes of arrays: what memory holds of them together is asked before they are made. None of the largest networks has
# layers of more features.
Size = Annotated[int, Field(ge=1, le=2**16)]
# Each layer is compiled by itself.
Layers = Annotated[int, Field(ge=1, le=100)]
# Of a cell of a hundred moiré cells the thousandth shell varies within a fiftieth of one.
Shells = Annotated[int, Field(ge=1, le=1000)]
# The moves of one program, which nothing interrupts.
Moves = Annotated[int, Field(ge=1, le=100_000)]
# What random keys are made from has 64 bits, with the sign.
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
NotNegative = Annotated[Finite, Field(ge=0)]


def _references(value: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(value)) < len(value):
        raise ValueError(f"must name different sets of orbitals, got {list(value)}")
    return value


def _grid(value: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    points = math.prod(len(values) for values in value.values())
    if points > MOST_MEMBERS:
        raise ValueError(f"must name at most {MOST_MEMBERS} points together, got {points} combinations of values")
    return value


def _system(value: Any) -> Any:
    """The [system] section of the system that it names; of one that names none, that of the default preset."""
    if isinstance(value, SystemSection) or not isinstance(value, dict):
        return value
    name = value.get("name", DEFAULT_SYSTEM)
    if not isinstance(name, str) or name not in system_names():
        raise ValueError(f"must have a name among {', '.join(system_names())}, got {str(name)[:80]!r}")
    try:
        return system_section(name).model_validate(value)
    except ValidationError as error:
        # With the section in the place of each mistake, as those of the other sections have it.
        raise SectionError("system", error) from None


class SectionError(Exception):
    """Mistakes in a section that is validated by itself."""

    def __init__(self, section: str, error: ValidationError):
        self.section, self.error = section, error


class AnsatzConfig(Section):
    """Sizes of the Qernel wavefunction, and the orbitals that it dresses.

    `references` are sets of orbitals of the system, by default one of each of its phases of matter; `start`, the phase
    of matter that most of the weight is on at the start, or "both". `phases` is "separate" by default where the
    references are the system's own phases of matter, all of them to start with, and else "sum": states that may cross
    are kept apart. `complex` is true by default where one of the sets is complex, and `determinants` four or, where the
    sets cannot share them, the next number that they can.
    """

    width: Size = 32
    layers: Layers = 2
    query_heads: Size = 4
    key_value_heads: Size = 2
    head_size: Size = 8
    experts: Size = 4
    expert_width: Size = 32
    router: Literal["joint", "electron", "condition"] = "joint"
    gate: Literal["softmax", "squared_relu", "spline", "top_k"] = "softmax"
    top_k: Size = 2
    film: bool = True
    conditioned: bool = True
    projected: bool = False
    determinants: Size = 4
    complex: bool = False
    references: Annotated[tuple[str, ...], AfterValidator(_references)] = ()
    phases: Literal["auto", "sum", "separate"] = "auto"
    start: str = "both"
    condition_size: Size = 16
    dressing_scale: NotNegative = 0.1
    feature_shells: Shells = 2
    pair_shells: Annotated[int, Field(ge=0, le=1000)] = 4
    cusp: bool = True

    @model_validator(mode="after")
    def _fit(self) -> "AnsatzConfig":
        if self.query_heads % self.key_value_heads:
            raise ValueError(
                f"key_value_heads must divide query_heads, got {self.key_value_heads} and {self.query_heads}"
            )
        given = "determinants" in self.model_fields_set
        if given and self.references and self.determinants % len(self.references):
            raise ValueError(
                f"determinants must be a multiple of the {len(self.references)} sets of references, "
                f"got {self.determinants}"
            )
        if self.gate == "top_k" and self.top_k > self.experts:
            raise ValueError(f"top_k cannot pick {self.top_k} of {self.experts} experts")
        if self.gate == "spline" and self.experts < 3:
            raise ValueError(f"the spline gate uses three experts, and there are {self.experts}")
        if self.phases == "separate":
            if len(self.references) == 1:
                raise ValueError(f"phases = 'separate' needs two sets of references, got {list(self.references)}")
            if self.start != "both" or not self.conditioned:
                raise ValueError(
                    "phases = 'separate' starts from all of its phases and conditions the network on them: "
                    "leave start = 'both' and conditioned = true"
                )
        return self


class SamplingConfig(Section):
    """The Markov chains: `walkers` for each member of the family, `moves` for each step of the training.

    The evaluation uses the same `kernel`. A `target_acceptance` of 0: what suits the kernel. `chunk` walkers of a
    member are moved at once, here and in the evaluation; 0: all of them, "auto": as many as fit.
    """

    kernel: Literal["langevin", "random_walk"] = "langevin"
    walkers: Count = 64
    moves: Moves = 5
    burn_in: Natural = 20
    target_acceptance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    chunk: Chunk = 0

    @property
    def acceptance(self) -> float:
        """The acceptance to which the step size is adapted."""
        return self.target_acceptance or {"langevin": 0.7}.get(self.kernel, 0.5)


def _unit(value: Any) -> Any:
    """The unit of energy; runs of earlier versions have 0 for that of the family."""
    return "family" if value == 0 and not isinstance(value, bool) else value


_SUITS = {"kfac": {"learning_rate": 0.3, "damping": 1.0}, "adam": {"learning_rate": 0.001}}


class OptimiserConfig(Section):
    """Learning rate η/(1 + t/decay) and the rest; `adam` uses neither damping nor trust region.

    `energy_unit`, in effective Hartree, is that in which the optimiser sees energies: the learning rate is an imaginary
    time in its inverse; "family": ten times the quantum that belongs to the family's kinetic energy, which suits any
    system; "member": to each member's own, by default where the system says that its members differ by much.
    `averaging`: what is measured are the parameters averaged with weights t^averaging over the steps t, about the last
    1/(1 + averaging) of them; 0: the last ones.
    The defaults are those of `spring`; `kfac` and `adam` have a learning rate, and `kfac` a damping, of their own.
    """

    name: Literal["spring", "kfac", "adam"] = "spring"
    learning_rate: Positive = 1.0
    decay: Positive = 300.0
    damping: Positive = 1e-2
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    trust_region: Positive = 0.3
    balance: bool = True
    energy_unit: Annotated[Positive | Literal["family", "member"], BeforeValidator(_unit)] = "family"
    solver: Literal["cholesky", "conjugate_gradients"] = "cholesky"
    averaging: NotNegative = 10.0
    clip: Positive = 5.0

    @model_validator(mode="before")
    @classmethod
    def _what_suits(cls, values: Any) -> Any:
        return _SUITS.get(str(values.get("name")), {}) | values if isinstance(values, dict) else values


class TrainingConfig(Section):
    """Length, seed, precision and safety of the training. A chunk of 0: all walkers of a member at
    once; `auto`: as many as fit.

    Separate phases compete everywhere during the first share `competition` of the steps, and afterwards only where
    their energies differ by less than `margin` per electron, in the system's unit of energy.

    `laplacian`: of the local energies; `exact`, or `probed` along random directions of so many `colours`, which costs
    less the more electrons there are and adds noise; `auto`: probed from 16 electrons on.
    """

    steps: Natural = 200
    seed: Seed = 0
    precision: Literal["fast", "mixed", "double"] = "mixed"
    chunk: Chunk = 0
    score_chunk: Chunk = 0
    laplacian: Literal["auto", "exact", "probed"] = "auto"
    colours: Count = 2
    checkpoint_every: Count = 25
    keep: Count = 3
    competition: Annotated[float, Field(gt=0, le=1)] = 0.3
    margin: NotNegative = 1.0
    patience: Count = 10


class EvaluationConfig(Section):
    """The measurement with frozen parameters.

    `at` names the points by coordinate: values of each, of which all combinations are measured; they need not have been
    trained. Without it, the trained points. `laplacian` and `colours` as in the training; `auto`: probed from 32
    electrons on.
    """

    at: Annotated[dict[str, Values], AfterValidator(_grid)] = {}
    walkers: Count = 64
    moves: Moves = 10
    rounds: Annotated[int, Field(ge=4, le=MOST)] = 40
    burn_in: Natural = 20
    chunk: Chunk = 0
    laplacian: Literal["auto", "exact", "probed"] = "auto"
    colours: Count = 2


class Config(Section):
    """A whole run. `provenance` records what a finished run was made with; it is not read."""

    description: str = ""
    system: Annotated[SerializeAsAny[SystemSection], BeforeValidator(_system)] = Field(
        default_factory=lambda: system_section(DEFAULT_SYSTEM).model_validate({})
    )
    ansatz: AnsatzConfig = AnsatzConfig()
    sampling: SamplingConfig = SamplingConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    provenance: dict[str, Any] = {}

    @model_validator(mode="after")
    def _resolved(self) -> "Config":
        """With the system's own orbitals in place of none, and what suits them in place of what is not said."""
        ansatz, own = self.ansatz, self.system.references
        given = ansatz.model_fields_set
        references = ansatz.references or own
        changes: dict[str, Any] = {} if ansatz.references else {"references": references}
        if not ansatz.complex and "complex" not in given and complex_references(self.system, references):
            changes["complex"] = True
        if "determinants" not in given and ansatz.determinants % len(references):
            changes["determinants"] = -(-ansatz.determinants // len(references)) * len(references)
        if ansatz.phases == "auto":
            compete = len(own) > 1 and references == own and ansatz.start == "both" and ansatz.conditioned
            changes["phases"] = "separate" if compete else "sum"
        optimiser = self.optimiser
        if self.system.member_units and "energy_unit" not in optimiser.model_fields_set:
            optimiser = optimiser.model_copy(update={"energy_unit": "member"})
        if not changes and optimiser is self.optimiser:
            return self
        # Validated anew: determinants must fit the number of sets.
        try:
            ansatz = AnsatzConfig.model_validate(ansatz.model_dump() | changes)
            return self.model_copy(update={"ansatz": ansatz, "optimiser": optimiser})
        except ValidationError as error:
            raise SectionError("ansatz", error) from None

    def identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be of the same model, as plain data."""
        plain = self.model_dump(mode="json")
        return {
            "system": plain["system"],
            "ansatz": plain["ansatz"],
            "sampling": {"walkers": plain["sampling"]["walkers"]},
            "optimiser": {"name": plain["optimiser"]["name"]},
            # The dtype of what is stored.
            "training": {"precision": "float64" if plain["training"]["precision"] == "double" else "float32"},
        }


def check_same_model(recorded: Config, config: Config) -> None:
    """Raises `ValueError` if a run that was begun with one configuration cannot go on with another one."""
    old, new = (c.model_dump(mode="json") for c in (recorded, config))
    for section, values in recorded.identity().items():
        for key in {**values, **config.identity()[section]}:
            was = old[section].get(key)
            if new[section].get(key) != was:
                raise ValueError(
                    f"{section}.{key} cannot change in a run that has begun: it is {was}; start another run instead"
                )
