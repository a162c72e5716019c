"""Estimators of variational Monte Carlo: local energies, residuals, derivatives of log ψ."""

from ._alike import Alike as Alike
from ._alike import finite_walkers as finite_walkers
from ._clip import EnergyStatistics as EnergyStatistics
from ._clip import clipped_residuals as clipped_residuals
from ._factors import Factors as Factors
from ._factors import Layout as Layout
from ._factors import OuterProducts as OuterProducts
from ._gram import centred_gram as centred_gram
from ._largest_chunk import largest_chunk as largest_chunk
from ._local_energy import LocalEnergy as LocalEnergy
from ._local_energy import local_energies as local_energies
from ._local_energy import local_energy as local_energy
from ._log_derivatives import Gram as Gram
from ._log_derivatives import LogDerivatives as LogDerivatives
