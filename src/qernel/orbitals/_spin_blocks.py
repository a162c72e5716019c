from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PyTree

from ._orbitals import AbstractOrbitals


class SpinBlocks(AbstractOrbitals):
    r"""Orbitals of their own for each spin, as the square matrix of a product of determinants,

    $$ \begin{pmatrix} \phi^\uparrow_j(r_i) & 0 \\ 0 & \phi^\downarrow_j(r_i) \end{pmatrix} , $$

    with the rows of the spin-up electrons first. This is the reference of electrons of both spins: one set of orbitals
    under all of them would make the wavefunction antisymmetric between up and down, which electrons of different spin
    are not.

    **Arguments:** `up` and `down`, each with as many orbitals as there are electrons of that spin.

    Called for another number of electrons it raises `ValueError`.
    """

    up: AbstractOrbitals
    down: AbstractOrbitals

    @property
    def orbitals(self) -> int:
        return self.up.orbitals + self.down.orbitals

    @property
    def electrons(self) -> tuple[int, int]:
        """(n_up, n_down), one electron for each orbital."""
        return self.up.orbitals, self.down.orbitals

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Num[Array, "electrons orbitals"]:
        n = self.up.orbitals
        if len(r) != self.orbitals:
            raise ValueError(
                f"blocks of {n} spin-up and {self.down.orbitals} spin-down orbitals are for as many electrons, "
                f"not for {len(r)}"
            )
        up, down = self.up(r[:n], parameters), self.down(r[n:], parameters)
        # One of the spins may have real orbitals beside complex ones of the other.
        dtype = np.promote_types(up.dtype, down.dtype)
        above, below = jnp.zeros((n, down.shape[1]), dtype), jnp.zeros((r.shape[0] - n, n), dtype)
        up, down = up.astype(dtype), down.astype(dtype)
        return jnp.concatenate([jnp.concatenate([up, above], axis=1), jnp.concatenate([below, down], axis=1)], axis=0)


def of_both_spins(orbitals: Sequence[AbstractOrbitals]) -> AbstractOrbitals:
    """Orbitals of each spin that there is: [`SpinBlocks`][qernel.orbitals.SpinBlocks] of two, or the only ones."""
    return orbitals[0] if len(orbitals) == 1 else SpinBlocks(*orbitals)


def check_electrons(electrons: tuple[int, int]) -> None:
    """Raises `ValueError` unless these are numbers of electrons (n_up, n_down), at least one in all."""
    counts = tuple(electrons) if isinstance(electrons, tuple | list) else ()
    if len(counts) != 2 or any(int(n) != n or n < 0 for n in counts) or sum(counts) < 1:
        raise ValueError(f"electrons must be (n_up, n_down) with at least one electron, got {electrons}")


def check_spins(orbitals: AbstractOrbitals, electrons: tuple[int, int]) -> None:
    """Raises `ValueError` unless the orbitals make a determinant for each spin of (n_up, n_down) electrons."""
    check_electrons(electrons)
    n = sum(electrons)
    if isinstance(orbitals, SpinBlocks):
        if orbitals.electrons != tuple(electrons):
            raise ValueError(
                f"{electrons[0]} spin-up and {electrons[1]} spin-down electrons need as many orbitals of each spin, "
                f"the blocks have {orbitals.electrons[0]} and {orbitals.electrons[1]}"
            )
    elif min(electrons) > 0:
        raise ValueError(
            f"{electrons[0]} spin-up and {electrons[1]} spin-down electrons need orbitals for each spin, "
            f"SpinBlocks(up, down): one set under all {n} would be antisymmetric between the spins"
        )
    elif orbitals.orbitals < n:
        raise ValueError(f"{n} electrons need as many orbitals, the set has {orbitals.orbitals}")
