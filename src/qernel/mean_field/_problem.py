import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..hamiltonian import Ewald, Hamiltonian
from ..lattice import Lattice
from ..orbitals import PlaneWaves
from ._functional import Functional
from ._grid import Grid


def periodic_cell(hamiltonian: Hamiltonian) -> Lattice:
    """The Hamiltonian's supercell, or a `ValueError` where plane waves make no sense."""
    if hamiltonian.cell is None:
        raise ValueError("plane-wave orbitals need a periodic cell; this Hamiltonian has open boundaries")
    return hamiltonian.cell


def primitive_lattice(hamiltonian: Hamiltonian) -> Lattice | None:
    """The lattice of the first potential that has one as its `primitive` attribute."""
    for potential in hamiltonian.potentials.values():
        primitive = getattr(potential, "primitive", None)
        if isinstance(primitive, Lattice):
            return primitive
    return None


def default_cutoff(hamiltonian: Hamiltonian) -> float:
    """2.6 shortest reciprocal vectors of the moiré lattice, or, without one, six Fermi wavevectors.

    For the default moiré material at a depth of 30 meV this leaves 0.03 meV per electron of the Hartree-Fock
    energy; 3.2 leave less than 0.001.
    """
    primitive = primitive_lattice(hamiltonian)
    if primitive is not None:
        return 2.6 * float(np.linalg.norm(Lattice(primitive.reciprocal).reduced[0]))
    cell = periodic_cell(hamiltonian)
    density = max(hamiltonian.electrons) / cell.volume
    fermi = {1: np.pi * density, 2: (4 * np.pi * density) ** (1 / 2), 3: (6 * np.pi**2 * density) ** (1 / 3)}
    return 6.0 * float(fermi[cell.dim])


def plane_waves(hamiltonian: Hamiltonian, cutoff: float | None = None) -> PlaneWaves:
    """The real plane waves of the Hamiltonian's cell up to `cutoff`, inverse Bohr; see `default_cutoff`."""
    cutoff = default_cutoff(hamiltonian) if cutoff is None else cutoff
    waves = PlaneWaves(periodic_cell(hamiltonian), cutoff)
    if waves.size < max(hamiltonian.electrons):
        raise ValueError(
            f"the cutoff {cutoff:g} leaves {waves.size} plane waves for {max(hamiltonian.electrons)} "
            "electrons of one spin: raise it"
        )
    return waves


def hartree_fock_functional(hamiltonian: Hamiltonian, parameters: PyTree, waves: PlaneWaves) -> Functional:
    """The Hartree-Fock functional of a periodic Hamiltonian: its one-body potentials on the grid, its
    Coulomb prefactor.

    Every potential but `Ewald` counts as one-body and is evaluated with one electron at each grid point.
    """
    periodic_cell(hamiltonian)
    grid = Grid(waves)
    coulomb = {k: v for k, v in hamiltonian.potentials.items() if isinstance(v, Ewald)}
    if len(coulomb) > 1:
        raise ValueError(f"Hartree-Fock takes one Coulomb interaction, got {sorted(coulomb)}")
    # Host-side numbers in double precision whatever the process has chosen; the context ends with the block.
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: jnp.asarray(x, dtype=float), parameters)
        points = jnp.asarray(grid.points)
        potentials = {}
        for name, potential in hamiltonian.potentials.items():
            if name not in coulomb:
                values = jax.vmap(lambda r, v=potential: v(r[None], wide))(points)
                potentials[name] = np.asarray(values, dtype=np.float64).reshape(grid.shape)
        strength = self_image = 0.0
        for name, ewald in coulomb.items():
            if ewald.charges is not None:
                raise ValueError(f"Hartree-Fock is for equal unit charges, but '{name}' has charges of its own")
            strength = float(ewald.strength(wide) if callable(ewald.strength) else ewald.strength)
            self_image = 0.5 * strength * ewald.madelung
        prefactor = float(hamiltonian.kinetic.prefactor(wide))
    return Functional(grid, prefactor, potentials, strength, self_image)
