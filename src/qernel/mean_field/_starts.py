from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Num, PyTree

from ..hamiltonian import Hamiltonian
from ..orbitals import PlaneWaves, from_exponentials
from ._crystal import crystal_sites
from ._descent import orthonormalise
from ._orbital_set import OrbitalSet
from ._problem import plane_waves


def gaussian_orbitals(
    waves: PlaneWaves, sites: Float[np.ndarray, "orbitals dim"], width: float
) -> Float[np.ndarray, "basis orbitals"]:
    """Periodic Gaussians exp(-(r - R_n)²/2 width²), orthonormalised symmetrically."""
    vectors = waves.signed_integers @ waves.lattice.reciprocal
    spectrum = np.exp(-0.5 * width**2 * np.sum(vectors**2, axis=1))[:, None] * np.exp(-1j * vectors @ sites.T)
    return orthonormalise(np.real(from_exponentials(spectrum)))


def crystal_start(
    hamiltonian: Hamiltonian,
    parameters: PyTree,
    *,
    cutoff: float | None = None,
    sites: Float[np.ndarray, "electrons dim"] | Sequence[Sequence[float]] | None = None,
    width: float | None = None,
    seed: int = 0,
) -> OrbitalSet:
    """One Gaussian orbital at each site of a crystal: a start for `hartree_fock`.

    **Arguments:**

    - `cutoff`: of the plane waves, inverse Bohr; see `default_cutoff`.
    - `sites`: positions (electrons, dim) in Bohr, spin up first; by default `crystal_sites`.
    - `width`: of the Gaussian, Bohr; by default 0.2 (Ω/N)^{1/dim}.
    - `seed`: of the search for the sites.

    Raises `ValueError` if there is not one site for each electron.
    """
    waves = plane_waves(hamiltonian, cutoff)
    if sites is None:
        found = crystal_sites(hamiltonian, parameters, cutoff=cutoff, seed=seed)
    else:
        found = np.asarray(sites, dtype=np.float64)
    if found.shape != (hamiltonian.n_electrons, hamiltonian.dim):
        raise ValueError(
            f"a crystal needs one site for each of {hamiltonian.n_electrons} electrons in {hamiltonian.dim} "
            f"dimensions, got shape {found.shape}"
        )
    spacing = float((waves.lattice.volume / hamiltonian.n_electrons) ** (1 / hamiltonian.dim))
    up, scale = hamiltonian.electrons[0], 0.2 * spacing if width is None else float(width)
    return OrbitalSet(waves, (gaussian_orbitals(waves, found[:up], scale), gaussian_orbitals(waves, found[up:], scale)))


def random_start(hamiltonian: Hamiltonian, *, seed: int, cutoff: float | None = None) -> OrbitalSet:
    """Random real orbitals of long wavelengths: a start for `hartree_fock` that has no symmetry."""
    waves = plane_waves(hamiltonian, cutoff)
    generator = np.random.default_rng(seed)
    density = hamiltonian.n_electrons / waves.lattice.volume
    damping = (1 + waves.squared_wavenumbers / (2 * np.pi * density ** (1 / hamiltonian.dim)) ** 2)[:, None] ** -2
    up, down = (orthonormalise(damping * generator.normal(size=(waves.size, n))) for n in hamiltonian.electrons)
    return OrbitalSet(waves, (up, down))


def perturbed(orbitals: OrbitalSet, *, seed: int, amplitude: float = 0.05) -> OrbitalSet:
    """The same orbitals with a random admixture of long wavelengths, which breaks every symmetry.

    `amplitude` is the norm of the admixture relative to the orbitals.
    """
    generator = np.random.default_rng(seed)
    squared = orbitals.waves.squared_wavenumbers[:, None]
    density = max(sum(orbitals.electrons), 1) / orbitals.waves.lattice.volume
    damping = (1 + squared / (2 * np.pi * density ** (1 / orbitals.waves.lattice.dim)) ** 2) ** -2

    def mix(c: Num[np.ndarray, "basis n"]) -> Num[np.ndarray, "basis n"]:
        noise = orthonormalise(damping * generator.normal(size=c.shape))
        return orthonormalise(c + amplitude * noise)

    up, down = orbitals.coefficients
    return OrbitalSet(orbitals.waves, (mix(up), mix(down)))
