from collections.abc import Sequence

import equinox as eqx
import numpy as np
import scipy.fft
from jaxtyping import Float, Int, Num, PyTree

from ..hamiltonian import Hamiltonian
from ..orbitals import to_exponentials
from ._bloch import momentum_classes
from ._descent import descend, orthonormalise
from ._functional import Functional
from ._grid import Grid
from ._orbital_set import OrbitalSet
from ._problem import hartree_fock_functional, primitive_lattice
from ._space_group import SpaceGroup, kept_by_potential
from ._symmetric_functional import SymmetricFunctional


class HartreeFock(eqx.Module):
    """A stationary point of the Hartree-Fock energy. Energies in Ha*, totals, the self-image energy included.

    **Fields:**

    - `orbitals`: the canonical orbitals of each spin (they diagonalise the Fock operator).
    - `orbital_energies`: their eigenvalues, per spin, ascending.
    - `energies`: `kinetic`, one entry per potential under the Hamiltonian's name (an interaction
      is its full expectation value), for comparison with local energies term by term.
    - `interaction_terms`: `hartree`, `exchange` and `madelung`, whose sum is that of the interactions.
    - `density`: electrons per Bohr^dim on a uniform grid of the cell; point (i, j, ..) sits at Σ_d (i_d /
      n_d) A_d.
    - `converged`, `iterations`: of the descent.
    """

    orbitals: OrbitalSet
    orbital_energies: tuple[Float[np.ndarray, " up"], Float[np.ndarray, " down"]]
    energies: dict[str, float]
    interaction_terms: dict[str, float]
    density: Float[np.ndarray, "..."]
    converged: bool
    iterations: int

    @property
    def energy(self) -> float:
        """The total energy, Ha*: a variational upper bound."""
        return sum(self.energies.values())

    def structure_factor(
        self, wave_vectors: Sequence[Sequence[int]] | Int[np.ndarray, "vectors dim"]
    ) -> Float[np.ndarray, " vectors"]:
        r"""$S(q) = \langle|\rho_q|^2\rangle/N$ of the determinant at integer wave vectors, in units of the supercell's,

        $$ S(q) = 1 + \frac1N\Bigl(\bigl|\sum_a\langle a|e^{iq\cdot r}|a\rangle\bigr|^2
           - \sum_\sigma\sum_{ab\in\sigma}\bigl|\langle a|e^{iq\cdot r}|b\rangle\bigr|^2\Bigr) . $$

        Raises `ValueError` for a vector beyond the grid of products of two orbitals.
        """
        grid = Grid(self.orbitals.waves)
        vectors = np.array(wave_vectors, dtype=np.int64).reshape(-1, len(grid.shape))
        if np.any(2 * np.abs(vectors) >= np.array(grid.shape)):
            raise ValueError(f"a wave vector is not one of the grid of {grid.shape}")
        index = tuple(vectors.T)
        density, exchange = np.zeros(len(vectors), np.complex128), np.zeros(len(vectors))
        for coefficients in self.orbitals.coefficients:
            phi = grid.to_grid(coefficients)
            for a, orbital in enumerate(phi):
                axes = tuple(range(1, phi.ndim))
                spectrum = np.asarray(scipy.fft.fftn(np.conj(orbital) * phi, axes=axes))[(slice(None), *index)]
                density += spectrum[a] / grid.size
                exchange += np.sum(np.abs(spectrum / grid.size) ** 2, axis=0)
        return 1 + (np.abs(density) ** 2 - exchange) / sum(self.orbitals.electrons)


def hartree_fock(
    hamiltonian: Hamiltonian,
    parameters: PyTree,
    start: OrbitalSet,
    *,
    keep_momentum: bool = False,
    symmetries: SpaceGroup | None = None,
    tolerance: float = 1e-6,
    max_iterations: int = 2000,
) -> HartreeFock:
    """Unrestricted Hartree-Fock in plane waves, at zero twist: the minimum whose basin holds `start`.

    The energy goes down from `start` to the nearest minimum by a quasi-Newton descent, so the answer is the
    branch of the start: `bloch_orbitals(...).orbitals` for the liquid, `crystal_start(...)` for the crystal,
    `random_start(..., seed=...)` to search, `result.orbitals` of a neighbouring Hamiltonian for
    continuation. Compare several: none is proven global. A start with a symmetry keeps it;
    `perturbed(start, seed=...)` breaks it. Runs on the host in float64.

    **Arguments:**

    - `start`: orbitals; their numbers must match `hamiltonian.electrons`.
    - `keep_momentum`: keep the crystal momentum of every orbital, as well as the momenta that are occupied:
      the translation-symmetric solution. Needs a start of definite momenta, `bloch_orbitals(...,
      real=False).orbitals`.
    - `symmetries`: those that carry the orbitals of the start into one another, `crystal_symmetries(...)`: they
      are kept, and the exchange is worked out for orbitals that are no images of others.
    - `tolerance`: largest component of the gradient (1 - P) F C, Ha*; the energy is then good to its square.

    Raises `ValueError` for open boundaries, for a start with other numbers of electrons, of mixed
    momenta where they are to be kept, or without the symmetries, for a potential without them, or for one that is no
    sum over electrons and pairs.
    """
    if start.electrons != tuple(hamiltonian.electrons):
        raise ValueError(f"the start has {start.electrons} orbitals, the Hamiltonian {hamiltonian.electrons} electrons")
    functional = hartree_fock_functional(hamiltonian, parameters, start.waves)
    begin = tuple(orthonormalise(c) for c in start.coefficients)
    labels = None
    if keep_momentum:
        classes = momentum_classes(start.waves, primitive_lattice(hamiltonian), functional.one_body_potential)
        begin = tuple(c.astype(np.complex128) for c in begin)
        labels = tuple(_momenta(c, classes) for c in begin)
    descending: Functional | SymmetricFunctional = functional
    if symmetries is not None and len(symmetries) > 1:
        if not np.all(kept_by_potential(functional, symmetries)):
            raise ValueError("the potential does not have all of the symmetries")
        descending = SymmetricFunctional(functional, symmetries, begin)
    allowed = None if labels is None else tuple(classes[:, None] == label for label in labels)
    found = descend(descending, begin, allowed=allowed, tolerance=tolerance, max_iterations=max_iterations)
    energies = dict(found.energies)
    canonical, levels = [], []
    for i, (c, f) in enumerate(zip(found.orbitals, found.forces, strict=True)):
        label = np.zeros(c.shape[1], dtype=np.int64) if labels is None else labels[i]
        values, vectors = _eigh_by_label(c.conj().T @ f, label)
        canonical.append(c @ vectors)
        levels.append(values)
    terms = {name: energies.pop(name) for name in ("hartree", "exchange", "madelung")}
    for name in functional.interactions:
        # Of several, each by itself.
        own = terms if len(functional.interactions) == 1 else functional.only(name)(found.orbitals)[0]
        energies[name] = energies.get(name, 0.0) + sum(own[term] for term in terms)
    density = functional.density(tuple(canonical)) / start.waves.lattice.volume
    return HartreeFock(
        orbitals=OrbitalSet(start.waves, (canonical[0], canonical[1])),
        orbital_energies=(levels[0], levels[1]),
        energies=energies,
        interaction_terms=terms,
        density=density,
        converged=found.converged,
        iterations=found.iterations,
    )


def _momenta(
    coefficients: Num[np.ndarray, "basis orbitals"], classes: Int[np.ndarray, " basis"]
) -> Int[np.ndarray, " orbitals"]:
    weights = np.zeros((classes.max() + 1, coefficients.shape[1]))
    np.add.at(weights, classes, np.abs(to_exponentials(coefficients)) ** 2)
    if np.any(weights.max(axis=0) < 1 - 1e-6):
        raise ValueError(
            "keep_momentum needs a start whose orbitals have definite momenta, such as "
            "bloch_orbitals(..., real=False).orbitals"
        )
    return weights.argmax(axis=0)


def _eigh_by_label(
    matrix: Num[np.ndarray, "n n"], labels: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " n"], Num[np.ndarray, "n n"]]:
    """Eigenvectors that do not mix states of different labels, by ascending eigenvalue."""
    values, vectors = np.zeros(len(labels)), np.zeros_like(matrix)
    for label in np.unique(labels):
        block = np.flatnonzero(labels == label)
        values[block], vectors[np.ix_(block, block)] = np.linalg.eigh(matrix[np.ix_(block, block)])
    order = np.argsort(values, kind="stable")
    return values[order], vectors[:, order]
