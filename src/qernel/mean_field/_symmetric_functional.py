"""Hartree-Fock of orbitals that the symmetries of a crystal carry into one another, at the price of few of them."""

import dataclasses

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float, Int, Num

from ..orbitals import from_exponentials, real_from_exponentials, to_exponentials
from ._functional import Functional
from ._grid import Grid
from ._space_group import SpaceGroup, WaveAction, find_images


@dataclasses.dataclass(frozen=True)
class _Representative:
    """One orbital, and what the symmetries make of it.

    - `index`: of the orbital; `orbit`: all its images, `movers` a symmetry for each.
    - `stabiliser`: the symmetries that keep it.
    - `partners`: one of each set of orbitals that these carry into one another, `weights` how many it has.
    """

    index: int
    orbit: Int[np.ndarray, " images"]
    movers: Int[np.ndarray, " images"]
    stabiliser: Int[np.ndarray, " kept"]
    partners: Int[np.ndarray, " partners"]
    weights: Float[np.ndarray, " partners"]


class SymmetricFunctional:
    """A `Functional` for orbitals of which all are images of a few under the symmetries of a crystal.

    The exchange, the costly part, acts on those few, and for each of them on one of every set of orbitals that are
    equivalent as seen from it: Σ_j φ_j v*(φ_j φ_r) is a sum over the symmetries that keep φ_r. What it makes of
    the others follows by the symmetries, which are so kept to the last digit.

    **Raises:** `ValueError` if the orbitals of the start are not such images.
    """

    def __init__(self, functional: Functional, group: SpaceGroup, start: tuple[Num[np.ndarray, "basis _"], ...]):
        self.functional = functional
        self._action = WaveAction(group, functional.grid.waves)
        self._density_average = _density_average(group, functional.grid)
        self._representatives = tuple(self._find(c) for c in start)

    @property
    def grid(self):
        return self.functional.grid

    @property
    def kinetic(self) -> Float[np.ndarray, "basis 1"]:
        return self.functional.kinetic

    @property
    def potentials(self) -> dict[str, Float[np.ndarray, "..."]]:
        return self.functional.potentials

    @property
    def self_image(self) -> float:
        return self.functional.self_image

    def _find(self, coefficients: Num[np.ndarray, "basis orbitals"]) -> list[_Representative]:
        spectrum, left = to_exponentials(coefficients), np.ones(coefficients.shape[1], bool)
        everything, found = np.arange(len(self._action)), []
        while left.any():
            index = int(left.argmax())
            images = find_images(self._action, everything, spectrum, np.array([index]))[:, 0]
            orbit, movers = np.unique(images, return_index=True)
            stabiliser = np.flatnonzero(images == index)
            around = find_images(self._action, stabiliser, spectrum, np.arange(len(left)))
            # Equivalent orbitals have the same smallest image.
            partners, weights = np.unique(around.min(axis=0), return_counts=True)
            found.append(_Representative(index, orbit, movers, stabiliser, partners, weights.astype(float)))
            left[orbit] = False
        return found

    def _symmetric(self, density: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        target, source, weight = self._density_average
        spectrum, averaged = np.asarray(scipy.fft.fftn(density)).ravel(), np.zeros(density.size, np.complex128)
        np.add.at(averaged, target, weight * spectrum[source])
        return np.real(np.asarray(scipy.fft.ifftn(averaged.reshape(density.shape))))

    @property
    def copies(self) -> int:
        """The fewest orbitals that one independent orbital stands for."""
        return min(len(r.orbit) for spin in self._representatives for r in spin)

    def independent(
        self, coefficients: tuple[Num[np.ndarray, "basis _"], ...]
    ) -> tuple[Num[np.ndarray, "basis _"], ...]:
        """The orbitals that are no images of others."""
        indices = ([r.index for r in spin] for spin in self._representatives)
        return tuple(c[:, i] for c, i in zip(coefficients, indices, strict=True))

    def whole(self, few: tuple[Num[np.ndarray, "basis _"], ...]) -> tuple[Num[np.ndarray, "basis _"], ...]:
        """What the symmetries make of these, each averaged over those that keep it."""
        everything = []
        for columns, spin in zip(few, self._representatives, strict=True):
            out = np.zeros((len(columns), sum(len(r.orbit) for r in spin)), columns.dtype)
            for column, representative in zip(to_exponentials(columns).T, spin, strict=True):
                average = self._action(representative.stabiliser, column[:, None]).mean(axis=1, keepdims=True)
                moved = self._action(representative.movers, average)
                back = from_exponentials if np.iscomplexobj(columns) else real_from_exponentials
                out[:, representative.orbit] = back(moved)
            everything.append(out)
        return tuple(everything)

    def pulled_back(
        self, slopes: tuple[Num[np.ndarray, "basis _"], ...], back: tuple[Num[np.ndarray, "_ _"], ...]
    ) -> tuple[Num[np.ndarray, "basis _"], ...]:
        """Slopes in the independent columns of X, from those in the orbitals X B that are independent."""
        out = []
        for slope, b, spin in zip(self.whole(slopes), back, self._representatives, strict=True):
            copies = np.array([len(r.orbit) for r in spin])
            out.append(slope @ b[:, [r.index for r in spin]] * copies)
        return tuple(out)

    def __call__(
        self, coefficients: tuple[Num[np.ndarray, "basis _"], ...]
    ) -> tuple[dict[str, float], tuple[Num[np.ndarray, "basis _"], ...]]:
        """The energy terms, and the Fock operator applied to the independent orbitals."""
        functional, grid, few = self.functional, self.grid, self.independent(coefficients)
        phi = [grid.to_grid(c) for c in few]
        density = np.zeros(grid.shape)
        for own, spin in zip(phi, self._representatives, strict=True):
            for values, representative in zip(own, spin, strict=True):
                density += len(representative.orbit) * np.abs(values) ** 2
        energies, potential = functional.classical(coefficients, self._symmetric(density))
        forces = []
        for c, own, all_orbitals, spin in zip(few, phi, coefficients, self._representatives, strict=True):
            exchange = np.zeros_like(own)
            for i, (values, representative) in enumerate(zip(own, spin, strict=True)):
                partners = all_orbitals[:, representative.partners]
                exchange[i] = functional.exchange_on(values, partners, representative.weights)
                overlap = np.mean(np.real(values.conj() * exchange[i]))
                energies["exchange"] -= 0.5 * len(representative.orbit) * float(overlap)
            forces.append(functional.kinetic * c + grid.from_grid(potential * own - exchange))
        # Of equivalent partners one was taken: the average over the symmetries makes up for it.
        return energies, self.independent(self.whole(tuple(forces)))


def _density_average(
    group: SpaceGroup, grid: Grid
) -> tuple[Int[np.ndarray, " waves"], Int[np.ndarray, " waves"], Complex[np.ndarray, " waves"]]:
    """Target, source and weight of the average of a density's Fourier components over the group."""
    axes = [np.round(np.fft.fftfreq(n, 1 / n)).astype(np.int64) for n in grid.shape]
    integers = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    length = np.linalg.norm(integers @ grid.waves.lattice.reciprocal, axis=1)
    integers = integers[length <= 2 * grid.waves.cutoff * (1 + 1e-9)]
    # Translations leave the reciprocal vectors of the crystal alone.
    for g in np.flatnonzero(np.all(group.rotations == group.rotations[0], axis=(1, 2))):
        integers = integers[np.abs(group.phases(int(g), integers) - 1) < 1e-6]
    _, kinds = np.unique(group.rotations, axis=0, return_index=True)
    moved = [integers @ group.rotations[g] for g in kinds]
    weight = [group.phases(int(g), to) / len(kinds) for g, to in zip(kinds, moved, strict=True)]
    return grid.places(np.concatenate(moved)), np.tile(grid.places(integers), len(kinds)), np.concatenate(weight)
