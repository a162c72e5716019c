"""Runs: a system, a wavefunction and a method in a directory, trained, measured, drawn and reported."""

from qernel.run_directory import Interrupted as Interrupted
from qernel.run_directory import Settings as Settings
from qernel.run_directory import Step as Step

from ._psi import Psi as Psi
from ._run import Run as Run
from ._transfer import begun_from as begun_from
from ._transfer import with_network_of as with_network_of
