"""The command line `qernel`: its commands, and what they do and say."""

from ._main import main as main
