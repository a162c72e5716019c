import itertools
import math

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, PyTree

from ..hamiltonian import Hamiltonian
from ._functional import Functional
from ._problem import hartree_fock_functional, periodic_cell, plane_waves, primitive_lattice

# Primitive cells in the cell of a crystal.
_LARGEST_CRYSTAL_CELL = 12


def crystal_sites(
    hamiltonian: Hamiltonian, parameters: PyTree, *, cutoff: float | None = None, seed: int = 0
) -> Float[np.ndarray, "electrons dim"]:
    """The sites of the classical ground state on the minima of the potential, spin up first.

    Among the minima of the one-body potential the sites minimise Σ_i V(r_i) + Σ_{i<j} v(r_ij), with v the sum of the
    Hamiltonian's interactions (the Coulomb one that of slightly smeared charges; a unit one if there is none), by
    annealing and then the best single moves until none helps, once with every site free and once for each crystal
    lattice of up to twelve primitive cells that fits the supercell, where equivalent sites are occupied together: free
    annealing leaves defects in large cells. The spins are then dealt out so that equal ones are far apart. Where there
    are fewer minima than electrons every grid point is a candidate: a Wigner crystal. The answer is a good guess, not
    proven optimal.

    **Arguments:**

    - `cutoff`: of the plane waves whose grid carries the potential; see `default_cutoff`.
    - `seed`: of the annealing.
    """
    functional = hartree_fock_functional(hamiltonian, parameters, plane_waves(hamiltonian, cutoff))
    count = hamiltonian.n_electrons
    candidates = _candidates(functional, count)
    external = _values(functional, candidates)
    pairs = _pair_energies(functional, candidates, count)
    generator = np.random.default_rng(seed)
    trials = [_occupy(external, pairs, count, generator)]
    trials += _crystals(hamiltonian, candidates, external, pairs, generator)
    energies = np.array([external @ trial + trial @ pairs @ trial / 2 for trial in trials])
    # Of equal ones the first, up to rounding.
    best = int(np.flatnonzero(energies <= energies.min() + 1e-9 * abs(energies.min()))[0])
    chosen = np.flatnonzero(trials[best])
    pairs = pairs[np.ix_(chosen, chosen)]
    # The energy of equal spins alone, as a field and a doubled coupling on the sites of spin up.
    up = _occupy(-pairs.sum(axis=1), 2 * pairs, hamiltonian.electrons[0], generator)
    return candidates[np.concatenate([chosen[up], chosen[~up]])]


def _candidates(functional: Functional, count: int) -> Float[np.ndarray, "candidates dim"]:
    grid, potential = functional.grid, functional.one_body_potential
    points = grid.points
    if np.ptp(potential) > 1e-9:
        lowest = scipy.ndimage.minimum_filter(potential, size=3, mode="wrap")
        minima = points[np.flatnonzero(potential.ravel() == lowest.ravel())]
        minima = _refine(functional, minima)
        if len(minima) >= count:
            energies = _values(functional, minima)
            # Shallower minima are worth a try up to about what a neighbour's repulsion costs.
            spacing = (grid.waves.lattice.volume / count) ** (1 / len(grid.shape))
            neighbour = np.zeros((1, len(grid.shape)))
            neighbour[0, 0] = spacing
            repulsion = _coulomb_strength(functional) / spacing + float(np.abs(_other_pairs(functional, neighbour))[0])
            highest = np.sort(energies)[count - 1] + 0.5 * repulsion
            return minima[energies <= highest + 1e-6 * np.ptp(potential)]
    strides = max(1, int(np.ceil((grid.size / 2500) ** (1 / len(grid.shape)))))
    keep = np.zeros(grid.shape, dtype=bool)
    keep[tuple(slice(None, None, strides) for _ in grid.shape)] = True
    return points[keep.ravel()]


def _crystals(hamiltonian, candidates, external, pairs, generator) -> list[Bool[np.ndarray, " candidates"]]:
    """The best occupation that each crystal lattice allows, of those between the primitive lattice and the cell."""
    primitive = primitive_lattice(hamiltonian)
    if primitive is None:
        return []
    cell = periodic_cell(hamiltonian).matrix
    index = np.round(cell @ np.linalg.inv(primitive.matrix)).astype(int)
    cells, count = abs(round(np.linalg.det(index))), hamiltonian.n_electrons
    found = []
    for size in range(1, min(cells, _LARGEST_CRYSTAL_CELL) + 1):
        if cells % size or count * size % cells:
            continue
        for basis in _sublattices(size, len(index)):
            inside = index @ np.linalg.inv(basis)
            if np.abs(inside - np.round(inside)).max() > 1e-9:
                continue
            places = np.round(candidates @ np.linalg.inv(basis @ primitive.matrix), 6) % 1.0
            _, orbit, members = np.unique(np.round(places, 6), axis=0, return_inverse=True, return_counts=True)
            occupied = count * size // cells
            # Candidates on a grid need not be as periodic as the lattice.
            if np.any(members != cells // size) or occupied > len(members):
                continue
            together = np.eye(len(members))[orbit.ravel()]
            coupling = together.T @ pairs @ together
            field = together.T @ external + np.diag(coupling) / 2
            np.fill_diagonal(coupling, 0.0)
            found.append(_occupy(field, coupling, occupied, generator)[orbit.ravel()])
    return found


def _sublattices(size: int, dim: int):
    """All sublattices of this index of the integer lattice, once each, as upper triangular matrices."""
    for diagonal in itertools.product(range(1, size + 1), repeat=dim):
        if math.prod(diagonal) != size:
            continue
        above = [(i, j) for i in range(dim) for j in range(i + 1, dim)]
        for values in itertools.product(*(range(diagonal[j]) for _, j in above)):
            basis = np.diag(diagonal)
            for place, value in zip(above, values, strict=True):
                basis[place] = value
            yield basis


def _values(functional: Functional, points: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, " n"]:
    integers, amplitudes = functional.potential_waves()
    vectors = integers @ functional.grid.waves.lattice.reciprocal
    return np.real(np.exp(1j * points @ vectors.T) @ amplitudes)


def _refine(functional: Functional, points: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "minima dim"]:
    # Equivalent minima must have equal energies, which grid points beside them do not.
    integers, amplitudes = functional.potential_waves()
    vectors = integers @ functional.grid.waves.lattice.reciprocal
    limit = np.linalg.norm(functional.grid.waves.lattice.reduced[0]) / max(functional.grid.shape)
    values = np.zeros((len(points), points.shape[1]))
    for _ in range(8):
        waves = np.exp(1j * points @ vectors.T) * amplitudes
        slope = (1j * waves @ vectors).real
        curvature = -np.einsum("ng,ga,gb->nab", waves, vectors, vectors).real
        values, axes = np.linalg.eigh(curvature)
        step = np.einsum("nab,nb,ncb,nc->na", axes, 1 / np.maximum(np.abs(values), 1e-12), axes, slope)
        length = np.linalg.norm(step, axis=1, keepdims=True)
        points = points - step * np.minimum(1, limit / np.maximum(length, 1e-300))
    # On a skewed grid a saddle may lie below its neighbours, and two points may share a minimum.
    points = points[values.min(axis=1) > 0]
    matrix = functional.grid.waves.lattice.matrix
    fractions = points @ np.linalg.inv(matrix)
    _, first = np.unique(np.round(fractions, 6) % 1.0, axis=0, return_index=True)
    return points[np.sort(first)]


def _pair_energies(functional: Functional, points: Float[np.ndarray, "n dim"], count: int) -> Float[np.ndarray, "n n"]:
    lattice = functional.grid.waves.lattice
    width = 0.15 * (lattice.volume / count) ** (1 / lattice.dim)
    wavenumber = 4.5 / width
    half = lattice.reciprocal_vectors(wavenumber)
    length = np.linalg.norm(half, axis=1)
    kernel = 2 * np.pi / length if lattice.dim == 2 else 4 * np.pi / length**2
    # Without any coupling the sites would be arbitrary.
    strength = _coulomb_strength(functional) if functional.interactions else 1.0
    weights = strength * kernel * np.exp(-((length * width) ** 2) / 2) / lattice.volume
    phases = points @ half.T
    cosine, sine = np.cos(phases), np.sin(phases)
    energies = (cosine * weights) @ cosine.T + (sine * weights) @ sine.T
    vectors, amplitudes = _other_waves(functional)
    waves = np.exp(1j * points @ vectors.T)
    energies += np.real((waves * amplitudes) @ waves.conj().T)
    np.fill_diagonal(energies, 0.0)
    return energies


def _coulomb_strength(functional: Functional) -> float:
    return sum((i.coulomb for i in functional.interactions.values()), 0.0)


def _other_waves(functional: Functional) -> tuple[Float[np.ndarray, "waves dim"], Float[np.ndarray, " waves"]]:
    """Wavevectors and amplitudes of the interactions that are not Coulomb's."""
    grid = functional.grid
    kernel = sum((i.kernel for i in functional.interactions.values() if not i.coulomb), np.zeros(grid.shape))
    present = np.abs(kernel) > 1e-6 * np.abs(kernel).max(initial=1e-300)
    return grid.wave_numbers[present] @ grid.waves.lattice.reciprocal, kernel[present]


def _other_pairs(functional: Functional, separations: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, " n"]:
    vectors, amplitudes = _other_waves(functional)
    return np.cos(separations @ vectors.T) @ amplitudes


def _occupy(
    external: Float[np.ndarray, " n"],
    pairs: Float[np.ndarray, "n n"],
    count: int,
    generator: np.random.Generator,
) -> Bool[np.ndarray, " n"]:
    """The occupation of `count` sites with the lowest energy found."""
    n = len(external)
    if count in (0, n):
        return np.full(n, count == n)
    best, best_energy = np.zeros(n, dtype=bool), np.inf
    for _ in range(3):
        occupied = np.zeros(n, dtype=bool)
        occupied[generator.permutation(n)[:count]] = True
        field = external + pairs @ occupied
        filled, empty = list(np.flatnonzero(occupied)), list(np.flatnonzero(~occupied))
        scale = float(np.std(field)) + 1e-12
        temperatures = np.geomspace(scale, 1e-2 * scale, 400 * min(n, 250))
        draws = generator.random((len(temperatures), 3))
        for temperature, (u, v, w) in zip(temperatures, draws, strict=True):
            a, b = int(u * len(filled)), int(v * len(empty))
            i, j = filled[a], empty[b]
            change = field[j] - field[i] - pairs[i, j]
            if change <= 0 or w < np.exp(-change / temperature):
                filled[a], empty[b] = j, i
                field += pairs[j] - pairs[i]
        for _ in itertools.count():
            changes = field[empty][None, :] - field[filled][:, None] - pairs[np.ix_(filled, empty)]
            a, b = np.unravel_index(changes.argmin(), changes.shape)
            if changes[a, b] > -1e-12:
                break
            i, j = filled[a], empty[b]
            filled[a], empty[b] = j, i
            field += pairs[j] - pairs[i]
        energy = float(np.sum(external[filled] + field[filled]) / 2)
        if energy < best_energy - 1e-12:
            best, best_energy = np.zeros(n, dtype=bool), energy
            best[filled] = True
    return best
