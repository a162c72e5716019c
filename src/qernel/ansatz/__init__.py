"""Whole wavefunctions, and the contract that every wavefunction meets."""

from ._branch import single_branch as single_branch
from ._conditioner import Conditioner as Conditioner
from ._contract import Ansatz as Ansatz
from ._contract import AtParameters as AtParameters
from ._contract import Derivatives as Derivatives
from ._contract import DifferentiableAnsatz as DifferentiableAnsatz
from ._contract import LogPsi as LogPsi
from ._contract import ProbedAnsatz as ProbedAnsatz
from ._density import LogDensity as LogDensity
from ._density import log_density as log_density
from ._dressed import dressed_derivatives as dressed_derivatives
from ._dressed import dressed_probed_derivatives as dressed_probed_derivatives
from ._node_noise import node_noise as node_noise
from ._phases import CompetingPhases as CompetingPhases
from ._phases import OnePhase as OnePhase
from ._projected import MomentumProjected as MomentumProjected
from ._qernel import Qernel as Qernel
from ._qernel import QernelBlock as QernelBlock
from ._qernel import qernel as qernel
from ._slater import SlaterDeterminant as SlaterDeterminant
from ._unconditioned import Unconditioned as Unconditioned
