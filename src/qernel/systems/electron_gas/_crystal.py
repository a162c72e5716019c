"""The Wigner crystal that fits a cell."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Int

from qernel.hamiltonian import Ewald
from qernel.lattice import Lattice, Supercell, bcc, triangular

# Bravais lattices whose Madelung constants are compared: those whose sites are farthest apart.
_COMPARED = 8
# A crystal whose Madelung energy is less than that of the best one by more than this share is none that competes.
_TOLERANCE = 0.002
# Of one site in units of 1/r_s^3, squared frequencies ω² along each axis where all others stay: a third of the
# Laplacian of the background's potential in space; in the plane that of the triangular lattice.
_STIFFNESS = {2: 0.798, 3: 1.0}


@dataclasses.dataclass(frozen=True, eq=False)
class WignerCrystal:
    """Sites of a Bravais lattice in a cell, those of spin up first.

    **Fields:** `sites`; `primitive`, the lattice of all sites; `madelung`, its Madelung energy per electron at r_s = 1;
    `excess`, by which share that is above the energy of the best crystal, triangular in the plane, bcc in space.
    """

    sites: Float[np.ndarray, "electrons dim"]
    primitive: Lattice
    madelung: float
    excess: float


class CrystalWidth(eqx.Module):
    r"""Width of the ground state of an electron on its site while all others stay on theirs, in units of $r_s$:
    $w = (\omega^2 r_s^3)^{-1/4}\,r_s^{-1/4}$.

    **Arguments:** `stiffness`, $\omega^2 r_s^3$.
    """

    stiffness: float = eqx.field(static=True)

    def __call__(self, parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
        """The width of one Hamiltonian."""
        return (self.stiffness * parameters["r_s"]) ** -0.25


def crystal_width(dim: int) -> CrystalWidth:
    """The width of a crystal's orbitals, a function of the parameters."""
    return CrystalWidth(_STIFFNESS[dim])


@functools.lru_cache(maxsize=32)
def wigner_crystal(cell: Lattice, electrons: tuple[int, int]) -> WignerCrystal | None:
    """The Bravais lattice of as many sites as electrons with the lowest Madelung energy among all that fit the cell.

    Of both spins there must be equally many: they alternate, so that few nearest neighbours are parallel. None where
    they do not, or where no lattice comes within 0.2 % of the Madelung energy of the best crystal.
    """
    count = sum(electrons)
    if count < 2 or (min(electrons) and electrons[0] != electrons[1]):
        return None
    found = []
    for index in _sublattices(count, cell.dim):
        lattice = Lattice(np.linalg.inv(index) @ cell.matrix)
        found.append((-round(lattice.shortest_translation(), 9), index, lattice))
    found.sort(key=lambda one: one[0])
    distinct: dict[tuple[float, ...], tuple[np.ndarray, Lattice]] = {}
    for shortest, index, lattice in found:
        # Lattices of one kind, turned, have the same distances.
        near = np.linalg.norm(lattice.translations(-2 * shortest), axis=1)
        distinct.setdefault(tuple(np.round(near, 6).tolist()), (index, lattice))
        if len(distinct) == _COMPARED:
            break
    compared = [(Ewald(lattice).madelung / 2, index, lattice) for index, lattice in distinct.values()]
    madelung, index, lattice = min(compared, key=lambda one: one[0])
    best = _best_madelung(cell.dim)
    excess = (madelung - best) / abs(best)
    spins = _alternating(index, lattice) if min(electrons) else np.zeros(count, bool)
    if excess > _TOLERANCE or spins is None:
        return None
    # Away from the symmetric points of the cell, and in the order of the spins.
    sites = Supercell(lattice, index).primitive_translations()
    return WignerCrystal(sites[np.argsort(spins, kind="stable")], lattice, madelung, excess)


def _sublattices(count: int, dim: int):
    """All matrices h of integers with this determinant up to a choice of basis, so that the lattices h⁻¹A differ: lower
    triangles, each row less than its last entry."""
    for diagonal in itertools.product(range(1, count + 1), repeat=dim):
        if int(np.prod(diagonal)) != count:
            continue
        below = [(i, j) for i in range(dim) for j in range(i)]
        for numbers in itertools.product(*[range(diagonal[i]) for i, _ in below]):
            index = np.diag(diagonal)
            for (i, j), n in zip(below, numbers, strict=True):
                index[i, j] = n
            yield index


def _alternating(index: Int[np.ndarray, "dim dim"], lattice: Lattice) -> np.ndarray | None:
    """Spins of the sites, half of them up, in the order of `Supercell.primitive_translations`: the two sublattices of
    half the sites that leave the fewest parallel nearest neighbours; None where no such sublattices fit the cell."""
    neighbours = lattice.translations(1.001 * lattice.shortest_translation())[1:]
    steps = np.round(neighbours @ np.linalg.inv(lattice.matrix)).astype(np.int64)
    choices = [np.array(c) for c in itertools.product((0, 1), repeat=len(index)) if any(c)]
    fitting = [c for c in choices if not np.any(index @ c % 2)]
    if not fitting:
        return None
    chosen = min(fitting, key=lambda c: int(np.sum(steps @ c % 2 == 0)))
    sites = Supercell(lattice, index).primitive_translations()
    return np.round(sites @ np.linalg.inv(lattice.matrix)).astype(np.int64) @ chosen % 2 == 1


@functools.lru_cache(maxsize=2)
def _best_madelung(dim: int) -> float:
    lattice = triangular(1.0) if dim == 2 else bcc(1.0)
    radius = (lattice.volume / (np.pi if dim == 2 else 4 * np.pi / 3)) ** (1 / dim)
    return Ewald(lattice).madelung / 2 * radius
