"""Checks of wavefunctions against their Hamiltonians."""

from ._check_ansatz import AnsatzReport as AnsatzReport
from ._check_ansatz import Finding as Finding
from ._check_ansatz import check_ansatz as check_ansatz
from ._check_ansatz import laplacian_difference as laplacian_difference
