import abc
from typing import Protocol, runtime_checkable

import equinox as eqx
from jaxtyping import Array, Float, Int, Num, PyTree


class AbstractOrbitals(eqx.Module):
    """Orbitals of one electron, φ_n(r; λ), functions of position and of the Hamiltonian's parameters."""

    @property
    @abc.abstractmethod
    def orbitals(self) -> int:
        """The number of orbitals."""

    @abc.abstractmethod
    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Num[Array, "electrons orbitals"]:
        """φ_n(r_i), real or complex, at the precision of `r`.

        **Arguments:**

        - `r`: positions of one walker, in effective Bohr radii.
        - `parameters`: the Hamiltonian's parameters.
        """


@runtime_checkable
class DistinctRows(Protocol):
    """Orbitals that differ between electrons, as those of two spins do, and know the row of one electron."""

    def of_electron(
        self, position: Float[Array, " dim"], electron: Int[Array, ""], parameters: PyTree
    ) -> Num[Array, " orbitals"]: ...


def orbitals_of_electron(
    orbitals: AbstractOrbitals, position: Float[Array, " dim"], electron: Int[Array, ""], parameters: PyTree
) -> Num[Array, " orbitals"]:
    """The row of one electron at `position`."""
    if isinstance(orbitals, DistinctRows):
        return orbitals.of_electron(position, electron, parameters)
    return orbitals(position[None], parameters)[0]
