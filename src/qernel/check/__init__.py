"""Checks of wavefunctions against their Hamiltonians, and of their Laplacians."""

from ._check_ansatz import check_ansatz as check_ansatz
from ._check_ansatz import laplacian_difference as laplacian_difference
from ._check_laplacian import LaplacianCheck as LaplacianCheck
from ._check_laplacian import check_laplacian as check_laplacian
from ._check_laplacian import compiled_check as compiled_check
from ._finding import AnsatzReport as AnsatzReport
from ._finding import Finding as Finding
