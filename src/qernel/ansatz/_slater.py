from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from qernel.layers import Frozen
from qernel.orbitals import AbstractOrbitals, RowUpdates, log_sum_determinants, orbitals_of_electron

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

    @property
    def updatable(self) -> bool:
        """A row of the matrix depends on one electron."""
        return True

    def begin(self, r: Float[Array, "electrons dim"], parameters: Any) -> tuple[Float[Array, ""], RowUpdates]:
        """log|ψ|, and the inverse matrix: see [`UpdatableAnsatz`][qernel.ansatz.UpdatableAnsatz]."""
        return self._log(RowUpdates.begin(self.orbitals(r, parameters)[None, :, : self.electrons]))

    def moved(
        self,
        cache: RowUpdates,
        r: Float[Array, "electrons dim"],
        electron: Int[Array, ""],
        position: Float[Array, " dim"],
        parameters: Any,
    ) -> tuple[Float[Array, ""], RowUpdates]:
        """The same after one electron has gone to `position`."""
        row = orbitals_of_electron(self.orbitals.module, position, electron, parameters)
        return self._log(cache.replaced(electron, row[None, : self.electrons]))

    @staticmethod
    def _log(updates: RowUpdates) -> tuple[Float[Array, ""], RowUpdates]:
        return updates.log_sum(jnp.ones(1, updates.log_modulus.dtype))[0], updates
