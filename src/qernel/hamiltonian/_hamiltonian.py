from collections.abc import Mapping

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from ..lattice import Lattice
from ._coulomb_divergence import AbstractCoulomb
from ._cusp import Cusp
from ._in_phase import without_phase
from ._kinetic import Kinetic
from ._potential import AbstractPotential


class Hamiltonian(eqx.Module):
    """H = T + Σ_terms V_term for a fixed number of electrons, spin up first, then spin down.

    **Arguments:**

    - `kinetic`: the kinetic energy.
    - `potentials`: the potential terms by name; local energies are reported under these names.
    - `electrons`: numbers of electrons (n_up, n_down).
    - `cell`: lattice of the periodic supercell, or `None` for open boundaries.
    - `dim`: number of dimensions; needed with open boundaries only.

    Raises `ValueError` if there are no electrons, a count is negative, or `dim` is missing or contradicts
    the cell.
    """

    kinetic: Kinetic
    potentials: dict[str, AbstractPotential]
    cell: Lattice | None
    electrons: tuple[int, int] = eqx.field(static=True)
    dim: int = eqx.field(static=True)

    def __init__(
        self,
        kinetic: Kinetic,
        potentials: Mapping[str, AbstractPotential],
        electrons: tuple[int, int],
        *,
        cell: Lattice | None = None,
        dim: int | None = None,
    ):
        self.electrons = _electrons(electrons)
        if cell is None and dim is None:
            raise ValueError("a Hamiltonian with open boundaries needs dim, its number of dimensions")
        if cell is not None and dim is not None and dim != cell.dim:
            raise ValueError(f"dim={dim} contradicts the {cell.dim}-dimensional cell")
        if "kinetic" in potentials:
            raise ValueError("a potential cannot be called 'kinetic'")
        self.dim = cell.dim if cell is not None else int(dim)  # pyright: ignore[reportArgumentType]
        if not 1 <= self.dim <= 3:
            raise ValueError(f"a Hamiltonian needs 1, 2 or 3 dimensions, got {self.dim}")
        self.kinetic = kinetic
        self.potentials = dict(potentials)
        self.cell = cell

    @property
    def n_electrons(self) -> int:
        """Number of electrons."""
        return sum(self.electrons)

    @property
    def cusp(self) -> Cusp | None:
        """The electron-electron cusps, a function of the parameters: what a wavefunction needs to know of them.

        None where no potential is an [`AbstractCoulomb`][qernel.hamiltonian.AbstractCoulomb], and in one dimension,
        where no wavefunction that is finite at contact balances 1/|x|.
        """
        found = tuple(v.divergence for v in self.potentials.values() if isinstance(v, AbstractCoulomb))
        return Cusp(self.kinetic, found, self.n_electrons) if found and self.dim > 1 else None

    def potential_energies(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> dict[str, Float[Array, ""]]:
        """Potential energy of one configuration term by term: totals, not per electron, effective Hartree."""
        energies = {}
        for name, potential in self.potentials.items():
            with jax.named_scope(f"qernel.hamiltonian.{name}"):
                energies[name] = potential(r, without_phase(parameters))
        return energies


def _electrons(electrons: tuple[int, int]) -> tuple[int, int]:
    if len(electrons) != 2 or any(int(n) != n or n < 0 for n in electrons):
        raise ValueError(f"electrons must be two counts (n_up, n_down), none of them negative, got {electrons}")
    if sum(electrons) == 0:
        raise ValueError("a Hamiltonian needs at least one electron, got (0, 0)")
    return int(electrons[0]), int(electrons[1])
