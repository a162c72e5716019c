"""The symmetries of a crystal, and what they make of plane waves."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Complex, Float, Int, PyTree
from scipy.spatial import KDTree

from ..hamiltonian import Hamiltonian
from ..lattice import Lattice, point_group
from ..orbitals import PlaneWaves
from ._functional import Functional
from ._problem import hartree_fock_functional, periodic_cell, plane_waves


@dataclasses.dataclass(frozen=True, eq=False)
class SpaceGroup:
    r"""A group of symmetries $r \to R r + t$ of a periodic problem, the identity first.

    **Fields:**

    - `lattice`: of the supercell.
    - `rotations`: integer matrices M: R carries the reciprocal vector of integers n to that of n M.
    - `shifts`: t, in effective Bohr radii.
    """

    lattice: Lattice
    rotations: Int[np.ndarray, "symmetries dim dim"]
    shifts: Float[np.ndarray, "symmetries dim"]

    def __len__(self) -> int:
        return len(self.shifts)

    def select(self, chosen: Bool[np.ndarray, " symmetries"]) -> "SpaceGroup":
        """Those of the symmetries that are marked."""
        return SpaceGroup(self.lattice, self.rotations[chosen], self.shifts[chosen])

    def cartesian_rotations(self) -> Float[np.ndarray, "symmetries dim dim"]:
        """R of each symmetry."""
        # R B^T = (M B)^T for the reciprocal vectors B as rows.
        reciprocal = self.lattice.reciprocal
        return np.swapaxes(np.linalg.solve(reciprocal, self.rotations @ reciprocal), 1, 2)

    def phases(self, symmetry: int, integers: Int[np.ndarray, "vectors dim"]) -> Complex[np.ndarray, " vectors"]:
        r"""$e^{-iG\cdot t}$ at the vectors that waves are carried *to*."""
        return np.exp(-1j * (integers @ (self.lattice.reciprocal @ self.shifts[symmetry])))


class WaveAction:
    """What the symmetries of a group make of coefficients of e^{iG·r}, ordered 0, G₁, -G₁, ..."""

    def __init__(self, group: SpaceGroup, waves: PlaneWaves):
        signed = waves.signed_integers
        kinds, which = np.unique(group.rotations, axis=0, return_inverse=True)
        numbers = {tuple(n): i for i, n in enumerate(signed.tolist())}
        places = [np.array([numbers.get(tuple(n), -1) for n in (signed @ m).tolist()]) for m in kinds]
        if any(np.any(place < 0) for place in places):
            raise ValueError("the symmetries carry plane waves to others that the basis has not: are they of its cell?")
        self._places = [places[kind] for kind in which.ravel()]
        self._phases = [group.phases(g, signed[place]) for g, place in enumerate(self._places)]

    def __len__(self) -> int:
        return len(self._places)

    def __call__(
        self, symmetries: Int[np.ndarray, " chosen"], spectrum: Complex[np.ndarray, "basis orbitals"]
    ) -> Complex[np.ndarray, "basis chosen_orbitals"]:
        """Every orbital under every chosen symmetry: orbitals of the first, of the second, ..."""
        moved = np.empty((len(symmetries), spectrum.shape[1], len(spectrum)), np.complex128)
        rows = np.ascontiguousarray(spectrum.T)
        for i, g in enumerate(symmetries):
            moved[i, :, self._places[g]] = (self._phases[g] * rows).T
        return moved.reshape(-1, len(spectrum)).T


def crystal_symmetries(
    hamiltonian: Hamiltonian,
    sites: Float[np.ndarray, "electrons dim"],
    *parameters: PyTree,
    cutoff: float | None = None,
) -> SpaceGroup:
    """The symmetries of a crystal: they carry the sites of each spin into themselves and keep the potentials.

    Rotations, reflections and translations that keep the supercell and every one-body potential, whatever it is.
    Sites must meet their images to 1e-10 of the cell, as those of `crystal_sites` do: others have fewer symmetries.

    **Arguments:**

    - `sites`: in effective Bohr radii, spin up first.
    - `parameters`: of one Hamiltonian, or of several, whose common symmetries are found.
    - `cutoff`: of the plane waves whose grid carries the potentials; see `default_cutoff`.
    """
    cell, up = periodic_cell(hamiltonian), hamiltonian.electrons[0]
    rotations, shifts = [], []
    spin = sites[:up] if up else sites
    for m in point_group(cell):
        (r,) = SpaceGroup(cell, m[None], np.zeros((1, cell.dim))).cartesian_rotations()
        # The first site goes to some site of the same spin.
        for shift in spin - r @ spin[0]:
            rotations.append(m)
            shifts.append(shift)
    group = SpaceGroup(cell, np.array(rotations), np.array(shifts))
    waves = plane_waves(hamiltonian, cutoff)
    for member in parameters:
        group = group.select(kept_by_potential(hartree_fock_functional(hamiltonian, member, waves), group))
    return group.select(_carries(group, sites[:up]) & _carries(group, sites[up:]))


def kept_rotations(functional: Functional) -> Int[np.ndarray, "rotations dim dim"]:
    """Rotations and reflections, as in a `SpaceGroup`, that keep the potentials together with some shift; the identity
    first.

    The shift follows from the potential: V at RG is V at G, times e^{-iRG·t}, so that the phases of the ratios are a
    linear function of RG.
    """
    cell = functional.grid.waves.lattice
    integers, amplitudes = functional.potential_waves()
    values = dict(zip(map(tuple, integers.tolist()), amplitudes, strict=True))
    rotations = point_group(cell)
    shifts = np.zeros((len(rotations), cell.dim))
    for i, m in enumerate(rotations):
        moved = integers @ m
        there = np.array([values.get(tuple(n), 0.0) for n in moved.tolist()])
        if np.all(np.abs(there) > 0):
            shifts[i] = _shift(cell, moved, -np.angle(there / amplitudes))
    group = SpaceGroup(cell, rotations, shifts)
    return rotations[kept_by_potential(functional, group)]


def _shift(
    cell: Lattice, integers: Int[np.ndarray, "waves dim"], phases: Float[np.ndarray, " waves"]
) -> Float[np.ndarray, " dim"]:
    """A shift t with G·t equal to these phases, modulo 2π, if there is one: for a basis of the lattice of the waves."""
    rows, angles, basis, wanted = integers.copy(), phases.copy(), [], []
    # Euclid's algorithm, column by column; what is done to the vectors is done to their phases.
    for column in range(integers.shape[1]):
        while len(live := np.flatnonzero(rows[:, column])):
            pivot = live[np.argmin(np.abs(rows[live, column]))]
            factors = rows[:, column] // rows[pivot, column]
            factors[pivot] = 0
            rows -= factors[:, None] * rows[pivot]
            angles -= factors * angles[pivot]
            if np.count_nonzero(rows[:, column]) == 1:
                basis.append(rows[pivot].copy())
                wanted.append(angles[pivot])
                rows[pivot] = 0
    if not basis:
        return np.zeros(cell.dim)
    return np.linalg.lstsq(np.array(basis) @ cell.reciprocal, np.array(wanted), rcond=None)[0]


def kept_by_potential(functional: Functional, group: SpaceGroup) -> Bool[np.ndarray, " symmetries"]:
    """Which symmetries leave the potentials as they are: V at RG is V at G, times e^{-iRG·t}, and so is v of pairs."""
    integers, amplitudes = functional.potential_waves()
    values = dict(zip(map(tuple, integers), amplitudes, strict=True))
    # The wavevectors of a potential may be known in float32 only.
    tolerance = 1e-4 * np.abs(amplitudes).max(initial=0.0)
    kinds, which = np.unique(group.rotations, axis=0, return_inverse=True)
    moved = [integers @ m for m in kinds]
    found = [np.array([values.get(tuple(n), 0.0) for n in to]) for to in moved]
    wanted = (group.phases(g, moved[kind]) * amplitudes for g, kind in enumerate(which.ravel()))
    kept = [np.all(np.abs(found[k] - w) <= tolerance) for k, w in zip(which.ravel(), wanted, strict=True)]
    return np.array(kept) & np.array([_keeps_pairs(functional, m) for m in kinds])[which.ravel()]


def _keeps_pairs(functional: Functional, rotation: Int[np.ndarray, "dim dim"]) -> bool:
    # The Coulomb interaction knows no direction.
    others = [i.kernel for i in functional.interactions.values() if not i.coulomb]
    if not others:
        return True
    kernel = sum(others[1:], others[0])
    grid = functional.grid
    integers = grid.wave_numbers.reshape(-1, len(grid.shape))
    length = np.linalg.norm(integers @ grid.waves.lattice.reciprocal, axis=1)
    integers = integers[length <= 2 * grid.waves.cutoff * (1 + 1e-9)]
    here, there = (kernel.ravel()[grid.places(n)] for n in (integers, integers @ rotation))
    return bool(np.all(np.abs(there - here) <= 1e-4 * np.abs(here).max()))


def _carries(group: SpaceGroup, sites: Float[np.ndarray, "sites dim"]) -> Bool[np.ndarray, " symmetries"]:
    if not len(sites):
        return np.ones(len(group), bool)
    inverse = np.linalg.inv(group.lattice.matrix)
    fractions = lambda r: np.mod(np.mod(r @ inverse, 1.0), 1.0)
    tree = KDTree(fractions(sites), boxsize=1.0)
    moved = np.einsum("gab,nb->gna", group.cartesian_rotations(), sites) + group.shifts[:, None]
    distance, found = tree.query(fractions(moved))
    onto = np.all(np.sort(found, axis=1) == np.arange(len(sites)), axis=1)
    # Phases of the shortest waves, 2π n δ, must be right to 1e-6: a density is averaged by them.
    return onto & np.all(distance < 1e-10, axis=1)


def find_images(
    action: WaveAction,
    symmetries: Int[np.ndarray, " symmetries"],
    spectrum: Complex[np.ndarray, "basis orbitals"],
    chosen: Int[np.ndarray, " chosen"],
) -> Int[np.ndarray, "symmetries chosen"]:
    """Which orbital each symmetry makes of each of the chosen ones.

    **Raises:** `ValueError` if it is none of the orbitals.
    """
    moved = action(symmetries, spectrum[:, chosen])
    overlap = np.real(spectrum.conj().T @ moved)
    if np.any(np.abs(overlap.max(axis=0) - 1) > 1e-6):
        raise ValueError("the orbitals of the start are not carried into one another by the symmetries")
    return overlap.argmax(axis=0).reshape(len(symmetries), len(chosen))
