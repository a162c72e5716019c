"""Hartree-Fock of orbitals that translations carry into one another, at the price of one crystal cell."""

import dataclasses
import functools

import numpy as np
from jaxtyping import Complex, Float, Int, Num

from ..hamiltonian import Hamiltonian
from ..orbitals import PlaneWaves, from_exponentials, to_exponentials
from ._functional import Functional
from ._problem import periodic_cell, primitive_lattice


def crystal_translations(
    hamiltonian: Hamiltonian, sites: Float[np.ndarray, "electrons dim"], *, tolerance: float = 1e-6
) -> Float[np.ndarray, "translations dim"]:
    """The translations of the potential's lattice that carry the sites of each spin into themselves, 0 among them.

    `sites` in effective Bohr radii, spin up first; `tolerance` relative to the cell.
    """
    cell, primitive = periodic_cell(hamiltonian), primitive_lattice(hamiltonian)
    if primitive is None:
        return np.zeros((1, cell.dim))
    inverse = np.linalg.inv(cell.matrix)
    # A translation carries the first site to some site.
    trials = sites - sites[0]
    whole = trials @ np.linalg.inv(primitive.matrix)
    trials = trials[np.abs(whole - np.round(whole)).max(axis=1) < 1e-4]
    up = hamiltonian.electrons[0]

    def kept(spin, shift):
        difference = (spin[:, None] + shift - spin[None]) @ inverse
        return len(spin) == 0 or np.all(np.abs(difference - np.round(difference)).max(axis=2).min(axis=1) < tolerance)

    return np.array([t for t in trials if kept(sites[:up], t) and kept(sites[up:], t)])


def _phases(
    waves: PlaneWaves, translations: Float[np.ndarray, "translations dim"]
) -> Complex[np.ndarray, "translations basis"]:
    """What each translation makes of the coefficient of e^{iG·r}."""
    return np.exp(-1j * translations @ (waves.signed_integers @ waves.lattice.reciprocal).T)


@dataclasses.dataclass(frozen=True)
class TranslatedFunctional:
    """A [`Functional`] for orbitals of which all are translations of a few.

    The exchange, the costly part, acts on those few, and so do all projections; what it makes of the others follows by
    translation, so that the symmetry is kept to the last digit.

    `images[spin][t, r]` is the orbital that translation t makes of the representative r, `images[spin][0]` the
    representatives themselves.
    """

    functional: Functional
    translations: Float[np.ndarray, "translations dim"]
    images: tuple[Int[np.ndarray, "translations _"], ...]

    @property
    def grid(self):
        return self.functional.grid

    @property
    def prefactor(self) -> float:
        return self.functional.prefactor

    @property
    def potentials(self) -> dict[str, Float[np.ndarray, "..."]]:
        return self.functional.potentials

    @property
    def self_image(self) -> float:
        return self.functional.self_image

    @functools.cached_property
    def _phases(self):
        return _phases(self.grid.waves, self.translations)

    def __call__(
        self, coefficients: tuple[Num[np.ndarray, "basis _"], ...]
    ) -> tuple[dict[str, float], tuple[Num[np.ndarray, "basis _"], ...]]:
        """The energy terms, and the Fock operator applied to all orbitals."""
        few = tuple(image[0] for image in self.images)
        energies, forces = self.functional(coefficients, few)
        whole = []
        for c, image, force in zip(coefficients, self.images, forces, strict=True):
            out = np.zeros_like(c)
            # All translations at once: basis functions, translations, representatives.
            spectra = self._phases.T[:, :, None] * to_exponentials(force)[:, None]
            moved = from_exponentials(spectra.reshape(len(spectra), -1))
            out[:, image.reshape(-1)] = moved if np.iscomplexobj(c) else np.real(moved)
            whole.append(out)
        return energies, tuple(whole)


def find_images(
    waves: PlaneWaves,
    coefficients: Num[np.ndarray, "basis orbitals"],
    translations: Float[np.ndarray, "translations dim"],
) -> Int[np.ndarray, "translations representatives"]:
    """Which orbital each translation makes of each representative.

    **Raises:** `ValueError` if a translation of an orbital is none of the orbitals.
    """
    spectrum, phases = to_exponentials(coefficients), _phases(waves, translations).T
    images, left = np.zeros((len(translations), 0), np.int64), np.ones(coefficients.shape[1], bool)
    while left.any():
        representative = left.argmax()
        overlap = np.real(spectrum.conj().T @ (phases * spectrum[:, [representative]]))
        if np.any(np.abs(overlap.max(axis=0) - 1) > 1e-6):
            raise ValueError("the orbitals of the start are not carried into one another by the translations")
        images = np.column_stack([images, overlap.argmax(axis=0)])
        left[images[:, -1]] = False
    return images
