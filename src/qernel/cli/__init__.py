"""The command line `qernel`: its commands, and what they do and say."""

from ._commands import built as built
from ._commands import configuration_of as configuration_of
from ._commands import default_directory as default_directory
from ._commands import summary as summary
from ._errors import Interrupted as Interrupted
from ._main import main as main
from ._progress import TrainingProgress as TrainingProgress
from ._progress import clock as clock
