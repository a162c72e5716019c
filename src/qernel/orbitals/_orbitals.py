import abc

import equinox as eqx
from jaxtyping import Array, Float, Num, PyTree


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
