"""Exact diagonalisation of few electrons in a basis of Bloch orbitals, one momentum sector at a time."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import numpy as np
import scipy.fft
import scipy.sparse.linalg
from jaxtyping import Float, Int, PyTree

from ..hamiltonian import Hamiltonian
from ..lattice import MomentumGroup
from ..mean_field import (
    Functional,
    bloch_spectrum,
    hartree_fock_functional,
    levels_of,
    momentum_classes,
    momentum_steps,
    plane_waves,
    primitive_lattice,
)
from ..orbitals import to_exponentials
from ._davidson import davidson
from ._pair_integrals import PairIntegrals
from ._sector import Sector, SpinOrbitals, TwoBody, density_matrix

LARGEST_DENSE = 600

# Of Davidson's method: the start falls off by e over a sixtieth of the range of the diagonal, uneven so that it has no
# symmetry of the cell. The residual is held to 3e-6 of the energy at the default tolerance, where the energy is good to
# 1e-9 with a gap of 1e-2 of it. Levels so close that it takes more applications than these are left to Lanczos' method.
_FALL = 64.0
_UNEVEN = 0.5
_RESIDUAL = 0.1
_MOST = 60


class ExactState(eqx.Module):
    r"""The lowest state of a Hamiltonian within a basis of one-body orbitals. Energies in Ha*, totals.

    **Fields:**

    - `energies`: `kinetic` and one entry per potential under the Hamiltonian's name, for comparison with local
      energies and with [`HartreeFock`][qernel.mean_field.HartreeFock] term by term.
    - `momentum`: total momentum of the state in units of the supercell's reciprocal vectors, a representative of its
      class; its time reverse has the same energy.
    - `momenta`, `levels`: the lowest levels of every sector, one of each pair ±k.
    - `density`: electrons per Bohr^dim on a uniform grid of the cell, point (i, j, ..) at Σ_d (i_d / n_d) A_d;
      `spin_density`, up minus down.
    - `wave_vectors`, `structure_factor`: integer q in units of the supercell's reciprocal vectors, and
      $S(q) = \langle|\rho_q|^2\rangle / N$ there.
    - `orbital_momenta`, `occupations`: momentum (integer) and one-body occupation of each basis orbital, both spins
      together; `natural_occupations`: eigenvalues of the one-body density matrix, descending, per spin.
    - `orbitals`, `dimension`: size of the one-body basis and of the state's sector.

    In a larger basis the energy is lower: **`energy` is an upper bound** of the exact one. See
    [`basis_limit`][qernel.exact.basis_limit] for an extrapolation, which is not.
    """

    energies: dict[str, float]
    momentum: Int[np.ndarray, " dim"]
    momenta: Int[np.ndarray, "sectors dim"]
    levels: Float[np.ndarray, "sectors levels"]
    density: Float[np.ndarray, "..."]
    spin_density: Float[np.ndarray, "..."]
    wave_vectors: Int[np.ndarray, "vectors dim"]
    structure_factor: Float[np.ndarray, " vectors"]
    orbital_momenta: Int[np.ndarray, "orbitals dim"]
    occupations: Float[np.ndarray, " orbitals"]
    natural_occupations: tuple[Float[np.ndarray, " orbitals"], Float[np.ndarray, " orbitals"]]
    orbitals: int
    dimension: int

    @property
    def energy(self) -> float:
        """The total energy, Ha*: a variational upper bound."""
        return sum(self.energies.values())


def exact_diagonalisation(
    hamiltonian: Hamiltonian,
    parameters: PyTree,
    *,
    bands: int | None = None,
    orbitals: int | None = None,
    momenta: Sequence[Sequence[int]] | None = None,
    levels: int = 1,
    cutoff: float | None = None,
    wave_vectors: Sequence[Sequence[int]] = (),
    tolerance: float = 1e-9,
    largest: int = 3_000_000,
) -> ExactState:
    r"""Full configuration interaction in the lowest one-body orbitals of a periodic Hamiltonian, at zero twist.

    $$ H = \sum_i \epsilon_i c_i^\dagger c_i + \tfrac12 \sum_{abcd} \langle ab|v|cd\rangle\,
       c_a^\dagger c_b^\dagger c_d c_c + N \xi / 2 , $$

    with Bloch orbitals of definite momentum, so that every total momentum is diagonalised on its own (Lanczos), and
    exact integrals of the interactions: of the Ewald Hamiltonian (neutralising background, self-image constant ξ/2) and
    of any other potential that is a smooth function of the separations. One of each pair of time-reversed sectors is
    done. The result is an upper bound of the exact energy. Host, float64.

    **Arguments:**

    - `bands`: the lowest `bands` orbitals of every crystal momentum of the primitive cell (where that cuts a degenerate
      level, as at zero depth, the basis has less symmetry than the cell: still a bound); or
    - `orbitals`: the lowest `orbitals` in energy (whole levels: rounded up to close the last one), for a Hamiltonian
      without a primitive cell.
    - `momenta`: total momenta to search, in units of the supercell's reciprocal vectors; all by default.
    - `levels`: levels of each sector.
    - `cutoff`: of the plane waves of the orbitals, inverse Bohr; see `default_cutoff`.
    - `wave_vectors`: integer vectors at which S(q) is measured.
    - `tolerance`: of the Lanczos energies, relative.
    - `largest`: most determinants of a sector.

    **Raises:** `ValueError` for open boundaries, a potential that is no sum over electrons and pairs, no or both of
    `bands` and `orbitals`, fewer orbitals than electrons, or a sector beyond `largest` (with its size).
    """
    if (bands is None) == (orbitals is None):
        raise ValueError("say either how many bands or how many orbitals the basis has")
    waves = plane_waves(hamiltonian, cutoff)
    functional = hartree_fock_functional(hamiltonian, parameters, waves)
    primitive = primitive_lattice(hamiltonian)
    group = MomentumGroup(momentum_steps(waves, primitive, functional.one_body_potential))
    energies, momenta_of, coefficients = _basis(functional, primitive, bands, orbitals)
    up, down = hamiltonian.electrons
    if len(energies) < max(up, down):
        raise ValueError(f"{max(up, down)} electrons of one spin need as many orbitals, the basis has {len(energies)}")
    label = _label(group, max(np.abs(momenta_of).max(initial=1) * (up + down), *functional.grid.shape))
    basis = SpinOrbitals(momenta_of, label)
    sectors = _sectors(group, basis, up + down)
    _check_size(basis, up, down, len(sectors), largest)
    phi = functional.grid.to_grid(coefficients)
    pairs = np.asarray(scipy.fft.fftn(phi.conj()[:, None] * phi[None], axes=tuple(range(2, phi.ndim + 1))))
    integrals = functools.partial(PairIntegrals, pairs / functional.grid.size, momenta_of, label)
    none = np.zeros(functional.grid.shape)
    interaction = integrals(none if functional.kernel is None else functional.kernel)
    found, (momentum, psi, two_body) = _search(
        basis, (up, down), _searched(group, sectors, momenta), interaction, energies, levels, tolerance
    )
    sector = two_body.sector
    gamma = density_matrix(sector, psi)

    def of_pairs(kernel: Float[np.ndarray, "..."]) -> float:
        """The expectation value of an interaction."""
        return float(np.vdot(psi, two_body.apply(two_body.matrices(integrals(kernel)), psi)).real)

    pairs_of = {
        name: of_pairs(interaction.kernel) + (up + down) * interaction.self_image
        for name, interaction in functional.interactions.items()
    }
    structure = [
        1 + of_pairs(kernel) / (up + down)
        for kernel in (_density_kernel(functional.grid.shape, q) for q in wave_vectors)
    ]
    up_density, down_density = (
        np.real(np.einsum("ab,a...,b...->...", g, phi.conj(), phi, optimize=True)) for g in gamma
    )
    return ExactState(
        energies=_terms(hamiltonian, functional, coefficients, gamma, up_density + down_density, pairs_of),
        momentum=momentum,
        momenta=np.array([momentum for momentum, _ in found]),
        levels=np.array([values for _, values in found]) + (up + down) * functional.self_image,
        density=(up_density + down_density) / waves.lattice.volume,
        spin_density=(up_density - down_density) / waves.lattice.volume,
        wave_vectors=np.array(wave_vectors, dtype=np.int64).reshape(-1, waves.lattice.dim),
        structure_factor=np.array(structure),
        orbital_momenta=momenta_of,
        occupations=np.real(np.diagonal(gamma[0]) + np.diagonal(gamma[1])),
        natural_occupations=(np.linalg.eigvalsh(gamma[0])[::-1], np.linalg.eigvalsh(gamma[1])[::-1]),
        orbitals=len(energies),
        dimension=sector.dimension,
    )


def basis_limit(orbitals: Sequence[int], energies: Sequence[float], dim: int = 2) -> tuple[float, float]:
    r"""Extrapolate upper bounds in growing bases of M orbitals to all orbitals, $E(M) = E_\infty + c\,M^{-(d+1)/d}$.

    The electron-electron cusp makes the error of a basis of wavevectors up to K fall as $K^{-(d+1)}$. A straight line
    through the last two; the error is half of the step from the last bound. **The result is no bound.**

    **Raises:** `ValueError` for fewer than two energies.
    """
    if len(orbitals) < 2 or len(orbitals) != len(energies):
        raise ValueError(f"need at least two energies, one for each basis, got {len(energies)} for {len(orbitals)}")
    x = np.asarray(orbitals[-2:], dtype=float) ** (-(dim + 1) / dim)
    slope = (energies[-1] - energies[-2]) / (x[1] - x[0])
    limit = energies[-1] - slope * x[1]
    return float(limit), float(abs(limit - energies[-1]) / 2)


def _basis(functional: Functional, primitive, bands: int | None, orbitals: int | None):
    """Energies, integer momenta and coefficients (basis, orbitals) of the one-body basis."""
    waves = functional.grid.waves
    labels = momentum_classes(waves, primitive, functional.one_body_potential)
    energies, momenta, column = bloch_spectrum(functional, labels, bands or orbitals or 0, False)
    chosen = np.arange(len(energies))
    if orbitals is not None:
        level = levels_of(energies)
        order = np.argsort(level, kind="stable")
        chosen = order[level[order] <= level[order[min(orbitals, len(order)) - 1]]]
    integers = np.round(momenta[chosen] @ waves.lattice.matrix.T / (2 * np.pi)).astype(np.int64)
    return energies[chosen], integers, np.array([column(int(i)) for i in chosen], dtype=np.complex128).T


def _search(
    basis: SpinOrbitals,
    electrons: tuple[int, int],
    momenta,
    pairs: PairIntegrals,
    energies,
    levels: int,
    tolerance,
):
    """The lowest levels of each momentum, and the lowest state of all with the operators of its sector."""
    lowest, found = None, []
    for momentum in momenta:
        sector = Sector(basis, *electrons, int(basis.label(momentum)))
        if sector.dimension:
            two_body = TwoBody(sector)
            matrices = two_body.matrices(pairs)
            values, psi = _diagonalise(two_body, matrices, sector.occupied @ np.tile(energies, 2), levels, tolerance)
            found.append((momentum, np.pad(values, (0, levels - len(values)), constant_values=np.nan)))
            if lowest is None or values[0] < lowest[0]:
                lowest = (values[0], momentum, psi, two_body)
    if lowest is None:
        raise ValueError("no determinant of the basis has a momentum that was asked for")
    return found, lowest[1:]


def _label(group: MomentumGroup, bound: int):
    """The class of a total momentum as one integer."""

    def label(n):
        digits = group.canonical(n) + bound
        number = np.zeros(digits.shape[:-1], dtype=np.int64)
        for digit in np.moveaxis(digits, -1, 0):
            number = number * (2 * bound + 1) + digit
        return number

    return label


def _sectors(group: MomentumGroup, basis: SpinOrbitals, electrons: int) -> Int[np.ndarray, "sectors dim"]:
    """Every class that a total momentum can have."""
    classes = np.zeros((1, basis.momenta.shape[1]), dtype=np.int64)
    for _ in range(electrons):
        classes = np.unique(
            group.canonical(classes[:, None] + basis.momenta[None]).reshape(-1, classes.shape[1]), axis=0
        )
    return classes


def _searched(group: MomentumGroup, sectors, momenta):
    """The sectors that are asked for, one of each pair ±k."""
    asked = sectors if momenta is None else group.canonical(np.array(momenta).reshape(-1, sectors.shape[1]))
    seen, out = set(), []
    for momentum in asked:
        if tuple(momentum) not in seen:
            seen |= {tuple(momentum), tuple(group.canonical(-momentum))}
            out.append(momentum)
    return out


def _check_size(basis: SpinOrbitals, up: int, down: int, sectors: int, largest: int) -> None:
    states = math.comb(basis.count, up) * math.comb(basis.count, down) / sectors
    if states > largest or (2 * basis.count) ** (up + down) >= 2**63:
        raise ValueError(
            f"{basis.count} orbitals and {up + down} electrons make about {states:.3g} determinants a momentum sector, "
            f"more than largest={largest}: take fewer bands"
        )


def _density_kernel(shape: tuple[int, ...], q: Sequence[int]) -> Float[np.ndarray, "..."]:
    """The kernel whose pair sum is Σ_{i≠j} cos q·(r_i - r_j)."""
    kernel = np.zeros(shape)
    if len(q) != len(shape) or any(2 * abs(n) >= size for n, size in zip(q, shape, strict=True)):
        raise ValueError(f"wave vector {tuple(q)} is not one of the {len(shape)}D grid of {shape}")
    kernel[tuple(q)] += 1
    kernel[tuple(-n for n in q)] += 1
    return kernel


def _diagonalise(two_body: TwoBody, matrices, diagonal, levels: int, tolerance: float):
    """Lowest eigenvalues and the lowest eigenvector."""
    size = two_body.sector.dimension

    def apply(psi):
        psi = psi.ravel()
        return diagonal * psi + two_body.apply(matrices, psi)

    if size <= max(LARGEST_DENSE, 3 * levels):
        dense = np.array([apply(column) for column in np.eye(size, dtype=np.complex128)]).T
        values, vectors = np.linalg.eigh((dense + dense.conj().T) / 2)
        return values[:levels], vectors[:, 0]
    if levels == 1:
        whole = diagonal + two_body.diagonal(matrices)
        above = (whole - whole.min()) / np.ptp(whole)
        # The lowest determinants, with less of all others: no symmetry keeps the ground state out of it.
        start = np.exp(-_FALL * above) * (1 + _UNEVEN * np.cos(np.arange(size)))
        # The error of the energy is of the second order in the residual.
        limit = np.sqrt(tolerance) * _RESIDUAL * float(np.abs(whole.min()))
        found = davidson(apply, whole, start.astype(np.complex128), tolerance=limit, most=_MOST)
        if found is not None:
            return np.array([found[0]]), found[1]
    start = np.exp(-(diagonal - diagonal.min())) + 0.01 * np.cos(np.arange(size))
    # The stubs of scipy.sparse.linalg know neither keyword.
    operator: Any = scipy.sparse.linalg.LinearOperator
    lanczos: Any = scipy.sparse.linalg.eigsh
    values, vectors = lanczos(
        operator((size, size), matvec=apply, dtype=np.complex128),
        k=levels,
        which="SA",
        tol=tolerance,
        v0=start.astype(np.complex128),
        ncv=max(20, 3 * levels),
    )
    order = np.argsort(values)
    return values[order], vectors[:, order[0]]


def _terms(
    hamiltonian: Hamiltonian, functional: Functional, coefficients, gamma, density, pairs: dict[str, float]
) -> dict[str, float]:
    """Expectation values by name, in the order of the Hamiltonian."""
    exponentials = to_exponentials(coefficients)
    squares = functional.prefactor / 2 * functional.grid.waves.squared_wavenumbers[:, None]
    kinetic = exponentials.conj().T @ (squares * exponentials)
    out = {"kinetic": float(np.real(np.sum((gamma[0] + gamma[1]) * kinetic)))}
    for name in hamiltonian.potentials:
        own = functional.potentials.get(name)
        out[name] = pairs.get(name, 0.0) + (0.0 if own is None else float(np.mean(own * density)))
    return out
