"""The command line `qernel`: it parses, calls a run, and puts what it does into words."""

from ._entry import main as main
