import equinox as eqx
import jax
from jaxtyping import PyTree

from ._hamiltonian import Hamiltonian


class Family(eqx.Module):
    """A Hamiltonian H(λ) and the parameters λ of its members.

    **Arguments:**

    - `hamiltonian`: the Hamiltonian; its terms take the parameters of one member.
    - `parameters`: pytree of arrays, each with a leading axis of Hamiltonians.
    - `varying`: names of the parameters that differ between members, the first one being the coordinate
      against which results are drawn.

    Raises `ValueError` if there are no members or the leading axes differ.
    """

    hamiltonian: Hamiltonian
    parameters: PyTree
    varying: tuple[str, ...] = eqx.field(static=True, default=())

    def __check_init__(self) -> None:
        leaves = jax.tree.leaves(self.parameters)
        sizes = {leaf.shape[0] if leaf.ndim else None for leaf in leaves}
        if len(sizes) != 1 or None in sizes or 0 in sizes:
            raise ValueError(
                "the parameters of a family need one leading axis of at least one Hamiltonian, got shapes "
                f"{[leaf.shape for leaf in leaves]}"
            )

    @property
    def size(self) -> int:
        """Number of Hamiltonians."""
        return jax.tree.leaves(self.parameters)[0].shape[0]

    def select(self, index: int) -> PyTree:
        """Parameters of one member."""
        if not -self.size <= index < self.size:
            raise ValueError(f"the family has {self.size} Hamiltonians, there is no number {index}")
        return jax.tree.map(lambda leaf: leaf[index], self.parameters)
