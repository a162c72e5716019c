"""Configurations: shipped presets, files, overrides; and the problems that they describe."""

from ._build import build as build
from ._config import AnsatzConfig as AnsatzConfig
from ._config import Config as Config
from ._config import EvaluationConfig as EvaluationConfig
from ._config import OptimiserConfig as OptimiserConfig
from ._config import SamplingConfig as SamplingConfig
from ._config import TrainingConfig as TrainingConfig
from ._config import check_same_model as check_same_model
from ._decode import configuration_text as configuration_text
from ._explain import ConfigurationError as ConfigurationError
from ._explain import show as show
from ._load import DEFAULT_PRESET as DEFAULT_PRESET
from ._load import load as load
from ._load import parse as parse
from ._load import preset as preset
from ._load import preset_names as preset_names
from ._load import to_toml as to_toml
from ._memory import available_memory as available_memory
from ._memory import check_memory as check_memory
