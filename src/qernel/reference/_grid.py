import dataclasses
import functools
import os

import numpy as np
import scipy.fft
from jaxtyping import Float, Int, Num

from ..orbitals import PlaneWaves, from_exponentials, to_exponentials


def _cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class Grid:
    """A uniform grid on the cell on which products of three orbitals are exact.

    An orbital holds |n_i| ≤ m in units of reciprocal vectors; with 4m + 1 points a side the pair densities
    are represented without aliasing, and so is the projection of (pair potential) x (orbital) on the basis:
    the energy is a true expectation value for every cutoff.
    """

    waves: PlaneWaves

    @functools.cached_property
    def shape(self) -> tuple[int, ...]:
        integers = self.waves.integers
        largest = np.abs(integers).max(axis=0) if len(integers) else np.zeros(self.waves.lattice.dim, int)
        return tuple(int(scipy.fft.next_fast_len(int(4 * m + 1), real=True) or 1) for m in largest)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    @functools.cached_property
    def points(self) -> Float[np.ndarray, "points dim"]:
        """Positions in Bohr, last direction fastest."""
        axes = [np.arange(n) / n for n in self.shape]
        fractions = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
        return fractions @ self.waves.lattice.matrix

    @functools.cached_property
    def _slots(self) -> Int[np.ndarray, " basis"]:
        signed = self.waves.signed_integers
        return np.asarray(np.ravel_multi_index(tuple((signed % np.array(self.shape)).T), self.shape))

    def to_grid(self, coefficients: Num[np.ndarray, "basis orbitals"]) -> Num[np.ndarray, "orbitals ..."]:
        """Values of the orbitals, shape (orbitals, *shape); real for real coefficients."""
        if not coefficients.shape[1]:
            return np.zeros((0, *self.shape), dtype=coefficients.dtype)
        box = np.zeros((coefficients.shape[1], self.size), dtype=np.complex128)
        box[:, self._slots] = to_exponentials(coefficients).T
        values = self.size * np.asarray(
            scipy.fft.ifftn(box.reshape(-1, *self.shape), axes=self._axes, workers=_cores())
        )
        return values if np.iscomplexobj(coefficients) else np.real(values)

    def from_grid(self, values: Num[np.ndarray, "orbitals ..."]) -> Num[np.ndarray, "basis orbitals"]:
        """Projections on the basis: the adjoint of `to_grid` under the cell average."""
        if not len(values):
            return np.zeros((self.waves.size, 0), dtype=values.dtype)
        spectrum = np.asarray(scipy.fft.fftn(values, axes=self._axes, workers=_cores()))
        box = spectrum.reshape(len(values), -1) / self.size
        coefficients = from_exponentials(np.ascontiguousarray(box[:, self._slots].T))
        return coefficients if np.iscomplexobj(values) else np.real(coefficients)

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.shape) + 1))

    @functools.cached_property
    def _full_kernel(self) -> Float[np.ndarray, "..."]:
        dim = len(self.shape)
        integers = [np.fft.fftfreq(n, 1 / n) for n in self.shape]
        mesh = np.stack(np.meshgrid(*integers, indexing="ij"), -1)
        lattice = self.waves.lattice
        length = np.linalg.norm(mesh @ lattice.reciprocal, axis=-1)
        length.flat[0] = 1.0
        if dim == 2:
            kernel = 2 * np.pi / length
        elif dim == 3:
            kernel = 4 * np.pi / length**2
        else:
            raise ValueError(f"plane-wave Hartree-Fock knows the Coulomb kernel in 2D and 3D, not {dim}D")
        # The uniform background and the self-image constant hold all that q = 0 contributes.
        kernel.flat[0] = 0.0
        return kernel / lattice.volume

    def convolve(self, pairs: Num[np.ndarray, "batch ..."]) -> Num[np.ndarray, "batch ..."]:
        """∫ v(r - r') ρ(r') d^dr', per unit charge squared, of densities normalised by the cell average."""
        if np.iscomplexobj(pairs):
            spectrum = scipy.fft.fftn(pairs, axes=self._axes, workers=_cores())
            spectrum *= self._full_kernel
            return np.asarray(scipy.fft.ifftn(spectrum, axes=self._axes, overwrite_x=True, workers=_cores()))
        spectrum = scipy.fft.rfftn(pairs, axes=self._axes, workers=_cores())
        spectrum *= self._full_kernel[..., : self.shape[-1] // 2 + 1]
        return np.asarray(scipy.fft.irfftn(spectrum, s=self.shape, axes=self._axes, overwrite_x=True, workers=_cores()))
