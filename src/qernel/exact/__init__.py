"""Exact diagonalisation on the host, in float64: reference values of few electrons."""

from ._exact import ExactState as ExactState
from ._exact import basis_limit as basis_limit
from ._exact import exact_diagonalisation as exact_diagonalisation
