"""Whole wavefunctions, and the contract that every wavefunction meets."""

from ._conditioner import Conditioner as Conditioner
from ._contract import Ansatz as Ansatz, LogPsi as LogPsi
from ._qernel import (
    PairBias as PairBias,
    Qernel as Qernel,
    QernelBlock as QernelBlock,
    coulomb_strength as coulomb_strength,
    qernel as qernel,
)
