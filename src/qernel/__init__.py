"""One neural wavefunction for a whole family of many-electron Hamiltonians (QERNEL, arXiv:2604.26018)."""

__version__ = "0.1.0"
