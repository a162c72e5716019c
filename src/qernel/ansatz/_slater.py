from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from qernel.layers import Frozen
from qernel.orbitals import AbstractOrbitals, check_spins, log_sum_determinants

from ._contract import LogPsi


class SlaterDeterminant(eqx.Module):
    r"""One determinant of given orbitals, $\psi(r;\lambda) = \det\phi_j(r_i;\lambda)$, without any correlation.

    With Bloch orbitals the non-interacting liquid, with those of a Hartree-Fock calculation its state, with Gaussians
    on the sites of a crystal that crystal: the named states that a trained wavefunction is compared with. Of electrons
    of both spins it is the product of a determinant each, $\det\phi^\uparrow\,\det\phi^\downarrow$. It is complex where
    the orbitals are, as those of a twist; nothing in it is trained.

    **Arguments:**

    - `orbitals`: of one spin, whose first N are used; of both, [`SpinBlocks`][qernel.orbitals.SpinBlocks].
    - `electrons`: (n_up, n_down).

    **Raises:** `ValueError` for fewer orbitals than electrons, or one set of orbitals under electrons of both spins.
    """

    orbitals: Frozen
    electrons: tuple[int, int] = eqx.field(static=True)

    def __init__(self, orbitals: AbstractOrbitals, electrons: tuple[int, int]):
        check_spins(orbitals, electrons)
        self.orbitals = Frozen(orbitals)
        self.electrons = electrons

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> LogPsi:
        """Logarithm of ψ at one configuration `r`."""
        matrix = self.orbitals(r, parameters)[:, : sum(self.electrons)]
        log_magnitude, phase = log_sum_determinants(matrix[None], jnp.ones(1, r.dtype))
        return LogPsi(log_magnitude, phase, real=not jnp.iscomplexobj(matrix))
