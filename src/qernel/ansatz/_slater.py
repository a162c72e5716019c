from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from qernel.layers import Frozen
from qernel.orbitals import AbstractOrbitals, log_sum_determinants

from ._contract import LogPsi


class SlaterDeterminant(eqx.Module):
    r"""One determinant of given orbitals, $\psi(r;\lambda) = \det\phi_j(r_i;\lambda)$, without any correlation.

    With Bloch orbitals the non-interacting liquid, with those of a Hartree-Fock calculation its state, with Gaussians
    on the sites of a crystal that crystal: the named states that a trained wavefunction is compared with. The first
    N orbitals are used; nothing in it is trained.

    **Raises:** `ValueError` for fewer orbitals than electrons.
    """

    orbitals: Frozen
    electrons: int = eqx.field(static=True)
    complex: bool = eqx.field(static=True)

    def __init__(self, orbitals: AbstractOrbitals, electrons: int, *, complex: bool = False):
        if orbitals.orbitals < electrons:
            raise ValueError(f"{electrons} electrons need as many orbitals, the set has {orbitals.orbitals}")
        self.orbitals = Frozen(orbitals)
        self.electrons = electrons
        self.complex = complex

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> LogPsi:
        """Logarithm of ψ at one configuration `r`."""
        matrix = self.orbitals(r, parameters)[:, : self.electrons]
        log_magnitude, phase = log_sum_determinants(matrix[None], jnp.ones(1, r.dtype))
        return LogPsi(log_magnitude, phase, real=not self.complex)
