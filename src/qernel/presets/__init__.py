"""Configurations: shipped presets, files, overrides; and the problems that they describe."""

from typing import TYPE_CHECKING, Any

from ._config import AnsatzConfig as AnsatzConfig
from ._config import Config as Config
from ._config import EvaluationConfig as EvaluationConfig
from ._config import OptimiserConfig as OptimiserConfig
from ._config import SamplingConfig as SamplingConfig
from ._config import SystemConfig as SystemConfig
from ._config import TrainingConfig as TrainingConfig
from ._explain import ConfigurationError as ConfigurationError
from ._load import DEFAULT_PRESET as DEFAULT_PRESET
from ._load import load as load
from ._load import parse as parse
from ._load import preset as preset
from ._load import preset_names as preset_names
from ._load import to_toml as to_toml

if TYPE_CHECKING:
    from ._problem import Problem as Problem
    from ._problem import build as build
    from ._references import reference_orbitals as reference_orbitals


def __getattr__(name: str) -> Any:
    # JAX is loaded with the first of these: a list of presets or a misspelt key should not wait for it.
    if name in ("Problem", "build"):
        from . import _problem

        return getattr(_problem, name)
    if name == "reference_orbitals":
        from ._references import reference_orbitals

        return reference_orbitals
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
