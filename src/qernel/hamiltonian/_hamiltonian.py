from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..lattice import Lattice, Supercell, check_commensurate, is_commensurate
from ._coulomb import Nuclei
from ._coulomb_divergence import AbstractCoulomb
from ._cusp import Cusp
from ._ewald import Ewald
from ._in_phase import without_phase
from ._kinetic import Kinetic
from ._nuclear_cusp import NuclearCusp
from ._potential import AbstractLatticePotential, AbstractPotential


class Hamiltonian(eqx.Module):
    r"""H = T + Σ_terms V_term for a fixed number of electrons, spin up first, then spin down.

    **Arguments:**

    - `kinetic`: the kinetic energy.
    - `potentials`: the potential terms by name; local energies are reported under these names.
    - `electrons`: numbers of electrons (n_up, n_down).
    - `cell`: lattice of the periodic supercell, or `None` for open boundaries.
    - `dim`: number of dimensions; needed with open boundaries only.
    - `twist`: in a cell, the boundary condition where wavefunctions are not periodic: a function of the parameters
      that returns the angles θ of $\psi(r_i + A_k) = e^{i\theta_k}\psi$, in radians, one for each vector of the cell.

    Raises `ValueError` if there are no electrons, a count is negative, `dim` is missing or contradicts
    the cell, a twist is given without a cell, or a potential does not belong to these boundaries: see
    [`AbstractPotential`][qernel.hamiltonian.AbstractPotential].
    """

    kinetic: Kinetic
    potentials: dict[str, AbstractPotential]
    cell: Lattice | None
    electrons: tuple[int, int] = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    twist: Callable[[PyTree], Float[Array, " dim"]] | None = eqx.field(static=True)

    def __init__(
        self,
        kinetic: Kinetic,
        potentials: Mapping[str, AbstractPotential],
        electrons: tuple[int, int],
        *,
        cell: Lattice | None = None,
        dim: int | None = None,
        twist: Callable[[PyTree], Float[Array, " dim"]] | None = None,
    ):
        self.electrons = _electrons(electrons)
        if cell is None and dim is None:
            raise ValueError("a Hamiltonian with open boundaries needs dim, its number of dimensions")
        if cell is not None and dim is not None and dim != cell.dim:
            raise ValueError(f"dim={dim} contradicts the {cell.dim}-dimensional cell")
        if twist is not None and cell is None:
            raise ValueError("a twist is the boundary condition of a periodic cell: with open boundaries there is none")
        if "kinetic" in potentials:
            raise ValueError("a potential cannot be called 'kinetic'")
        self.dim = cell.dim if cell is not None else int(dim)  # pyright: ignore[reportArgumentType]
        if not 1 <= self.dim <= 3:
            raise ValueError(f"a Hamiltonian needs 1, 2 or 3 dimensions, got {self.dim}")
        for name, potential in potentials.items():
            _check_boundary(name, potential, cell)
        self.kinetic = kinetic
        self.potentials = dict(potentials)
        self.cell = cell
        self.twist = twist

    @property
    def n_electrons(self) -> int:
        """Number of electrons."""
        return sum(self.electrons)

    @property
    def interactions(self) -> tuple[str, ...]:
        """Names of the potentials through which electrons act on one another."""
        return tuple(name for name, potential in self.potentials.items() if potential.interaction)

    @property
    def primitive(self) -> Lattice | None:
        """The lattice of the external potential, None if no potential has one."""
        found = [v.primitive for v in self.potentials.values() if isinstance(v, AbstractLatticePotential)]
        return found[0] if found else None

    @property
    def supercell(self) -> Supercell | None:
        """The cell as whole primitive cells of the external potential, None without a cell or such a potential."""
        if self.primitive is None or self.cell is None:
            return None
        return Supercell(self.primitive, np.round(self.cell.matrix @ np.linalg.inv(self.primitive.matrix)).astype(int))

    @property
    def cusp(self) -> Cusp | None:
        """The electron-electron cusps, a function of the parameters: what a wavefunction needs to know of them.

        None where no potential is an [`AbstractCoulomb`][qernel.hamiltonian.AbstractCoulomb], and in one dimension,
        where no wavefunction that is finite at contact balances 1/|x|.
        """
        found = tuple(v.divergence for v in self.potentials.values() if isinstance(v, AbstractCoulomb))
        return Cusp(self.kinetic, found, self.n_electrons) if found and self.dim > 1 else None

    @property
    def nuclear_cusp(self) -> NuclearCusp | None:
        """Where [`Nuclei`][qernel.hamiltonian.Nuclei] attract electrons, and how steep a wavefunction is there; None
        without any, and in one dimension.

        **Raises:** `ValueError` if two potentials have nuclei: give all of them to one.
        """
        found = [v for v in self.potentials.values() if isinstance(v, Nuclei)]
        if len(found) > 1:
            raise ValueError("two potentials have nuclei: give the positions and charges of all to one of them")
        if not found or self.dim == 1:
            return None
        (nuclei,) = found
        places = tuple(tuple(float(x) for x in place) for place in np.asarray(nuclei.positions, np.float64))
        charges = tuple(float(z) for z in np.asarray(nuclei.charges, np.float64))
        return NuclearCusp(self.kinetic, nuclei.strength, places, charges)

    def twist_angles(self, parameters: PyTree) -> Float[np.ndarray, " dim"] | None:
        """The twist of one Hamiltonian in radians, None where wavefunctions are periodic or boundaries open."""
        if self.twist is None:
            return None
        return np.asarray(self.twist(without_phase(parameters)), np.float64)

    def potential_energies(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> dict[str, Float[Array, ""]]:
        """Potential energy of one configuration term by term: totals, not per electron, effective Hartree.

        **Raises:** `ValueError` if a potential is not one real number.
        """
        energies = {}
        for name, potential in self.potentials.items():
            with jax.named_scope(f"qernel.hamiltonian.{name}"):
                energies[name] = potential(r, without_phase(parameters))
            if jnp.shape(energies[name]) or jnp.iscomplexobj(energies[name]):
                raise ValueError(
                    f"the potential '{name}' must return one real number, the total of all electrons, got the shape "
                    f"{jnp.shape(energies[name])} and dtype {jnp.result_type(energies[name])}"
                )
        return energies


def _check_boundary(name: str, potential: AbstractPotential, cell: Lattice | None) -> None:
    boundary = potential.boundary
    if not isinstance(boundary, Lattice):
        if boundary not in ("open", "any"):
            raise ValueError(f"the boundary of the potential '{name}' must be 'open', 'any' or a lattice, {boundary=}")
        if boundary == "open" and cell is not None:
            raise ValueError(
                f"the potential '{name}' ({type(potential).__name__}) is for open boundaries and has no periodic "
                "images, but the Hamiltonian has a cell: leave out the cell and give dim, or take a periodic potential "
                "(Ewald for the Coulomb repulsion)"
            )
        return
    if cell is not None:
        check_commensurate(cell, boundary, f"the lattice {boundary.matrix.tolist()} of the potential '{name}'")
    # Of a smaller lattice, electrons of the same cell would be images of one another.
    if isinstance(potential, Ewald) and (cell is None or not is_commensurate(boundary, cell)):
        raise ValueError(
            f"the Ewald sum '{name}' is over the images of the cell {boundary.matrix.tolist()}, the Hamiltonian has "
            f"{'open boundaries' if cell is None else f'the cell {cell.matrix.tolist()}'}: give both the same cell"
        )


def _electrons(electrons: tuple[int, int]) -> tuple[int, int]:
    if len(electrons) != 2 or any(int(n) != n or n < 0 for n in electrons):
        raise ValueError(f"electrons must be two counts (n_up, n_down), none of them negative, got {electrons}")
    if sum(electrons) == 0:
        raise ValueError("a Hamiltonian needs at least one electron, got (0, 0)")
    return int(electrons[0]), int(electrons[1])
