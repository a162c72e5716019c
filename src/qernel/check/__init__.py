"""Checks of wavefunctions against their Hamiltonians."""

from ._check_ansatz import check_ansatz as check_ansatz
from ._check_ansatz import laplacian_difference as laplacian_difference
from ._finding import AnsatzReport as AnsatzReport
from ._finding import Finding as Finding
