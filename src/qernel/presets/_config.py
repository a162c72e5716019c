"""The configuration of a run: every number that the command line knows, checked before it is used."""

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
# Walkers at once; 0: all.
Chunk = Annotated[int, Field(ge=0)] | Literal["auto"]
Square = tuple[tuple[int, int], tuple[int, int]]


def _supercell(value: Any) -> Square:
    """A matrix of whole numbers from n, [n1, n2] or the matrix itself."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        rows: Any = ((value, 0), (0, value))
    elif isinstance(value, tuple) and len(value) == 2 and not any(isinstance(v, tuple) for v in value):
        rows = ((value[0], 0), (0, value[1]))
    else:
        rows = value
    numbers = [n for row in rows for n in row] if _is_square(rows) else None
    if numbers is None or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers):
        raise ValueError(
            f"must be n, [n1, n2] or a matrix of whole numbers such as [[2, 1], [-1, 1]], got {_toml(value)}"
        )
    if not all(math.isfinite(n) and n == round(n) for n in numbers):
        raise ValueError(
            "must hold whole moiré cells: a supercell with the vectors "
            f"{_toml(rows)} is incommensurate with the moiré lattice"
        )
    (a, b), (c, d) = ((int(n) for n in row) for row in rows)
    if a * d - b * c == 0:
        raise ValueError(f"must have two independent vectors, got {_toml(value)}")
    return (a, b), (c, d)


def _is_square(rows: Any) -> bool:
    return isinstance(rows, tuple) and len(rows) == 2 and all(isinstance(r, tuple) and len(r) == 2 for r in rows)


def _toml(value: Any) -> str:
    return str(value).replace("(", "[").replace(")", "]")


def _electrons(value: tuple[int, int]) -> tuple[int, int]:
    if min(value) < 0 or sum(value) < 1:
        raise ValueError(f"must be [n_up, n_down] with at least one electron and no negative number, got {list(value)}")
    return value


def _depths(value: tuple[float, ...]) -> tuple[float, ...]:
    if not value:
        raise ValueError("must name at least one depth, got []")
    if not all(math.isfinite(v) for v in value):
        raise ValueError(f"must be finite numbers, got {list(value)}")
    if len(set(value)) < len(value):
        raise ValueError(f"must not name a depth twice, got {list(value)}")
    return tuple(sorted(value))


def _references(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or len(set(value)) < len(value):
        raise ValueError(f"must name one or several different sets of orbitals, got {list(value)}")
    return value


Depths = Annotated[tuple[float, ...], AfterValidator(_depths)]
Reference = Literal["liquid", "crystal", "gaussians", "plane_waves"]


class Section(BaseModel):
    """Strict and immutable: no unknown key, no silent conversion."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SystemConfig(Section):
    """The material, the supercell and the family of potential depths."""

    effective_mass: Positive = 0.35
    dielectric: Positive = 5.0
    lattice_constant_nm: Positive = 8.031
    phase_degrees: Annotated[float, Field(allow_inf_nan=False)] = 45.0
    supercell: Annotated[Square, BeforeValidator(_supercell)] = ((3, 0), (0, 3))
    electrons: Annotated[tuple[int, int], AfterValidator(_electrons)] = (6, 0)
    depths_meV: Depths = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0)
    depth_range_meV: tuple[()] | tuple[float, float] = ()

    @model_validator(mode="after")
    def _in_range(self) -> "SystemConfig":
        low, high = self.depth_range
        if not (
            math.isfinite(low) and math.isfinite(high) and low <= self.depths_meV[0] <= self.depths_meV[-1] <= high
        ):
            raise ValueError(
                f"depth_range_meV must be [low, high] around all of depths_meV, got {list(self.depth_range_meV)}"
            )
        return self

    @property
    def depth_range(self) -> tuple[float, float]:
        """The range of depths, in meV, that the wavefunction is made for: that of the trained ones by default."""
        return self.depth_range_meV or (self.depths_meV[0], self.depths_meV[-1])


class AnsatzConfig(Section):
    """Sizes of the Qernel wavefunction, and the orbitals that it dresses."""

    width: Count = 32
    layers: Count = 2
    query_heads: Count = 4
    key_value_heads: Count = 2
    head_size: Count = 8
    experts: Count = 4
    expert_width: Count = 32
    router: Literal["joint", "electron", "condition"] = "joint"
    gate: Literal["softmax", "squared_relu", "spline", "top_k"] = "softmax"
    top_k: Count = 2
    film: bool = True
    conditioned: bool = True
    projected: bool = False
    determinants: Count = 4
    complex: bool = False
    references: Annotated[tuple[Reference, ...], AfterValidator(_references)] = ("liquid", "crystal")
    phases: Literal["sum", "separate"] = "sum"
    start: Literal["both", "liquid", "crystal"] = "both"
    condition_size: Count = 16
    dressing_scale: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.1
    feature_shells: Count = 2
    pair_shells: Annotated[int, Field(ge=0)] = 4
    cusp: bool = True
    reference_spacing_meV: Positive = 2.5

    @model_validator(mode="after")
    def _fit(self) -> "AnsatzConfig":
        if self.query_heads % self.key_value_heads:
            raise ValueError(
                f"key_value_heads must divide query_heads, got {self.key_value_heads} and {self.query_heads}"
            )
        if self.determinants % len(self.references):
            raise ValueError(
                f"determinants must be a multiple of the {len(self.references)} sets of references, "
                f"got {self.determinants}"
            )
        if self.gate == "top_k" and self.top_k > self.experts:
            raise ValueError(f"top_k cannot pick {self.top_k} of {self.experts} experts")
        if self.gate == "spline" and self.experts < 3:
            raise ValueError(f"the spline gate uses three experts, and there are {self.experts}")
        if self.phases == "separate":
            if len(self.references) < 2:
                raise ValueError(f"phases = 'separate' needs two sets of references, got {list(self.references)}")
            if self.start != "both" or not self.conditioned:
                raise ValueError(
                    "phases = 'separate' starts from all of its phases and conditions the network on them: "
                    "leave start = 'both' and conditioned = true"
                )
        start = {"both": set(self.references), "liquid": {"liquid", "plane_waves"}}.get(
            self.start, {"crystal", "gaussians"}
        )
        if not start & set(self.references):
            raise ValueError(
                f"start = '{self.start}' needs such a set among the references, got {list(self.references)}"
            )
        return self


class SamplingConfig(Section):
    """The Markov chains: `walkers` for each depth, `moves` for each step of the training.

    The evaluation uses the same `kernel`. A `target_acceptance` of 0: what suits the kernel. `chunk` walkers of a depth
    are moved at once, here and in the evaluation; 0: all of them, "auto": as many as fit.
    """

    kernel: Literal["langevin", "random_walk"] = "langevin"
    walkers: Count = 64
    moves: Count = 5
    burn_in: Annotated[int, Field(ge=0)] = 20
    target_acceptance: Annotated[float, Field(ge=0, lt=1)] = 0.0
    chunk: Chunk = 0

    @property
    def acceptance(self) -> float:
        """The acceptance to which the step size is adapted."""
        return self.target_acceptance or {"langevin": 0.7}.get(self.kernel, 0.5)


_SUITS = {"kfac": {"learning_rate": 0.3, "damping": 1.0}, "adam": {"learning_rate": 0.001}}


class OptimiserConfig(Section):
    """Learning rate η/(1 + t/decay) and the rest; `adam` uses neither damping nor trust region.

    The defaults are those of `spring`; `kfac` and `adam` have a learning rate, and `kfac` a damping, of their own.
    """

    name: Literal["spring", "kfac", "adam"] = "spring"
    learning_rate: Positive = 1.0
    decay: Positive = 300.0
    damping: Positive = 1e-3
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    trust_region: Positive = 0.3
    balance: bool = True
    solver: Literal["cholesky", "conjugate_gradients"] = "cholesky"
    clip: Positive = 5.0

    @model_validator(mode="before")
    @classmethod
    def _what_suits(cls, values: Any) -> Any:
        return _SUITS.get(str(values.get("name")), {}) | values if isinstance(values, dict) else values


def _of_old_runs(precision: Any) -> Any:
    return "mixed" if precision == "single" else precision


class TrainingConfig(Section):
    """Length, seed, precision and safety of the training. A chunk of 0: all walkers of a depth at
    once; `auto`: as many as fit.

    Separate phases compete everywhere during the first share `competition` of the steps, and afterwards only where
    their energies differ by less than `margin_meV` per electron.
    """

    steps: Annotated[int, Field(ge=0)] = 200
    seed: Annotated[int, Field(ge=0)] = 0
    precision: Annotated[Literal["fast", "mixed", "double"], BeforeValidator(_of_old_runs)] = "mixed"
    chunk: Chunk = 0
    score_chunk: Chunk = 0
    checkpoint_every: Count = 25
    keep: Count = 3
    competition: Annotated[float, Field(gt=0, le=1)] = 0.3
    margin_meV: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    patience: Count = 10


class EvaluationConfig(Section):
    """The measurement with frozen parameters; the depths need not have been trained."""

    depths_meV: Depths = (0.0, 5.0, 10.0, 15.0, 20.0, 30.0)
    walkers: Count = 64
    moves: Count = 10
    phases: Annotated[int, Field(ge=4)] = 40
    burn_in: Annotated[int, Field(ge=0)] = 20
    chunk: Chunk = 0


class Config(Section):
    """A whole run. `provenance` records what a finished run was made with; it is not read."""

    description: str = ""
    system: SystemConfig = SystemConfig()
    ansatz: AnsatzConfig = AnsatzConfig()
    sampling: SamplingConfig = SamplingConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    provenance: dict[str, Any] = {}

    def identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be of the same model, as plain data."""
        plain = self.model_dump(mode="json")
        # Checkpoints older than these settings know the default alone.
        younger = (
            *(("ansatz", key) for key in ("film", "conditioned", "projected", "phases")),
            ("system", "depth_range_meV"),
        )
        for section, key in younger:
            if plain[section][key] == Config().model_dump(mode="json")[section][key]:
                del plain[section][key]
        return {
            "system": plain["system"],
            "ansatz": plain["ansatz"],
            "sampling": {"walkers": plain["sampling"]["walkers"]},
            "optimiser": {"name": plain["optimiser"]["name"]},
            # The dtype of what is stored; checkpoints call float32 `single`.
            "training": {"precision": "double" if plain["training"]["precision"] == "double" else "single"},
        }
