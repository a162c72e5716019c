"""Optimisers of wavefunctions: stochastic reconfiguration, KFAC and any optax optimiser. Knows no Hamiltonian."""

from ._contract import AbstractOptimiser as AbstractOptimiser
from ._contract import LogPsiDerivatives as LogPsiDerivatives
from ._contract import OuterProducts as OuterProducts
from ._contract import Update as Update
from ._decay import Decay as Decay
from ._first_order import FirstOrder as FirstOrder
from ._kfac import KFAC as KFAC
from ._kfac import KFACState as KFACState
from ._kronecker_metric import KroneckerMetric as KroneckerMetric
from ._solver import AbstractSolver as AbstractSolver
from ._solver import Cholesky as Cholesky
from ._solver import ConjugateGradients as ConjugateGradients
from ._solver import Solution as Solution
from ._solver import System as System
from ._solver import solve_positive as solve_positive
from ._stochastic_reconfiguration import SpringState as SpringState
from ._stochastic_reconfiguration import StochasticReconfiguration as StochasticReconfiguration
