"""The command line: `qernel run`, `evaluate`, `resume`, `plot`, `presets`, `doctor`."""

from ._main import main as main
