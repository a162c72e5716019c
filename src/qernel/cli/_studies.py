"""What the studies of several runs say while they do what they do."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from qernel.presets import DEFAULT_PRESET, load
from qernel.runs import Run
from qernel.studies import ablation, scaling

from . import _commands
from ._progress import TrainingProgress
