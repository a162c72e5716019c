import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..hamiltonian import Ewald, Hamiltonian, without_phase
from ..lattice import Lattice
from ..orbitals import PlaneWaves
from ._functional import Functional
from ._grid import Grid
from ._interaction import Interaction, coulomb_kernel
from ._parts import one_and_two_body


def periodic_cell(hamiltonian: Hamiltonian) -> Lattice:
    """The Hamiltonian's supercell, or a `ValueError` where plane waves make no sense."""
    if hamiltonian.cell is None:
        raise ValueError("plane-wave orbitals need a periodic cell; this Hamiltonian has open boundaries")
    return hamiltonian.cell


def primitive_lattice(hamiltonian: Hamiltonian) -> Lattice | None:
    """The lattice of which the first potential that says so has the period (an Ewald sum has that of the cell)."""
    for potential in hamiltonian.potentials.values():
        if isinstance(potential.boundary, Lattice) and not isinstance(potential, Ewald):
            return potential.boundary
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
    """The Hartree-Fock functional of a periodic Hamiltonian: its one-body potentials and its interactions on the grid.

    Of `Ewald` the Fourier coefficients are known. Every other potential is taken apart into what it is for one electron
    and for pairs, see `one_and_two_body`, and refused if that is not all of it.

    **Raises:** `ValueError` for open boundaries and for such a potential.
    """
    periodic_cell(hamiltonian)
    grid = Grid(waves)
    potentials, interactions = {}, {}
    # Host-side numbers in double precision whatever the process has chosen; the context ends with the block.
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: jnp.asarray(x, dtype=float), without_phase(parameters))
        for name, potential in hamiltonian.potentials.items():
            if isinstance(potential, Ewald):
                interactions[name] = _coulomb(name, potential, wide, grid)
                continue
            potentials[name], pairs = one_and_two_body(name, potential, hamiltonian.n_electrons, wide, grid)
            if pairs is not None:
                interactions[name] = pairs
        prefactor = float(hamiltonian.kinetic.prefactor(wide))
    return Functional(grid, prefactor, potentials, interactions)


def _coulomb(name: str, ewald: Ewald, parameters: PyTree, grid: Grid) -> Interaction:
    if ewald.charges is not None:
        raise ValueError(f"Hartree-Fock is for equal unit charges, but '{name}' has charges of its own")
    strength = float(ewald.strength(parameters) if callable(ewald.strength) else ewald.strength)
    return Interaction(strength * coulomb_kernel(grid), 0.5 * strength * ewald.madelung, strength)
