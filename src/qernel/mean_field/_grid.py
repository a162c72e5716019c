import dataclasses
import functools
import math
import os

import numpy as np
import scipy.fft
from jaxtyping import Float, Int, Num

from ..orbitals import PlaneWaves, from_exponentials, real_from_exponentials, to_exponentials


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

    def blocks(self, count: int) -> list[slice]:
        """So many orbitals at a time that their values stay in the cache: three times as fast as all at once."""
        step = max(1, 4 * _cores(), 100_000 // self.size)
        return [slice(i, i + step) for i in range(0, count, step)]

    @functools.cached_property
    def points(self) -> Float[np.ndarray, "points dim"]:
        """Positions in Bohr, last direction fastest."""
        axes = [np.arange(n) / n for n in self.shape]
        fractions = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
        return fractions @ self.waves.lattice.matrix

    def places(self, integers: Int[np.ndarray, "waves dim"]) -> Int[np.ndarray, " waves"]:
        """Where a transform on the grid has these waves, in units of the reciprocal vectors."""
        return self._places(integers, self.shape)

    @functools.cached_property
    def _half(self) -> tuple[Int[np.ndarray, " half"], Int[np.ndarray, " half"]]:
        """Of the waves that a real transform keeps: their numbers, and their places."""
        signed = self.waves.signed_integers
        kept = np.flatnonzero(signed[:, -1] >= 0)
        return kept, self._places(signed[kept], self._half_shape)

    @property
    def _half_shape(self) -> tuple[int, ...]:
        return (*self.shape[:-1], self.shape[-1] // 2 + 1)

    @staticmethod
    def _places(integers: Int[np.ndarray, "waves dim"], shape: tuple[int, ...]) -> Int[np.ndarray, " waves"]:
        return np.asarray(np.ravel_multi_index(tuple(np.where(integers < 0, integers + shape, integers).T), shape))

    def to_grid(self, coefficients: Num[np.ndarray, "basis orbitals"]) -> Num[np.ndarray, "orbitals ..."]:
        """Values of the orbitals, shape (orbitals, *shape); real for real coefficients."""
        count = coefficients.shape[1]
        if not count:
            return np.zeros((0, *self.shape), dtype=coefficients.dtype)
        spectrum = to_exponentials(coefficients).T
        if np.iscomplexobj(coefficients):
            box = np.zeros((count, self.size), np.complex128)
            box[:, self.places(self.waves.signed_integers)] = spectrum
            values = scipy.fft.ifftn(box.reshape(-1, *self.shape), axes=self._axes, workers=_cores())
        else:
            kept, places = self._half
            box = np.zeros((count, math.prod(self._half_shape)), np.complex128)
            box[:, places] = spectrum[:, kept]
            box = box.reshape(-1, *self._half_shape)
            values = scipy.fft.irfftn(box, s=self.shape, axes=self._axes, workers=_cores())
        return self.size * np.asarray(values)

    def from_grid(self, values: Num[np.ndarray, "orbitals ..."]) -> Num[np.ndarray, "basis orbitals"]:
        """Projections on the basis: the adjoint of `to_grid` under the cell average."""
        if not len(values):
            return np.zeros((self.waves.size, 0), dtype=values.dtype)
        if np.iscomplexobj(values):
            spectrum = np.asarray(scipy.fft.fftn(values, axes=self._axes, workers=_cores()))
            return from_exponentials(
                spectrum.reshape(len(values), -1)[:, self.places(self.waves.signed_integers)].T / self.size
            )
        spectrum = np.asarray(scipy.fft.rfftn(values, axes=self._axes, workers=_cores())).reshape(len(values), -1)
        kept, places = self._half
        coefficients = np.empty((self.waves.size, len(values)), np.complex128)
        # -G sits beside G, and has the conjugate.
        coefficients[np.where(kept % 2 == 1, kept + 1, np.maximum(kept - 1, 0))] = spectrum[:, places].conj().T
        coefficients[kept] = spectrum[:, places].T
        return real_from_exponentials(coefficients / self.size)

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.shape) + 1))

    @functools.cached_property
    def wave_numbers(self) -> Int[np.ndarray, "... dim"]:
        """The waves of a transform on the grid, in units of the reciprocal vectors."""
        integers = [np.round(np.fft.fftfreq(n, 1 / n)).astype(np.int64) for n in self.shape]
        return np.stack(np.meshgrid(*integers, indexing="ij"), -1)

    def convolve(
        self, pairs: Num[np.ndarray, "batch ..."], kernel: Float[np.ndarray, "..."]
    ) -> Num[np.ndarray, "batch ..."]:
        """∫ v(r - r') ρ(r') d^dr' of densities normalised by the cell average; `kernel` is v_q/Ω."""
        real = not np.iscomplexobj(pairs)
        kernel = kernel[..., : self._half_shape[-1]] if real else kernel
        out = np.empty_like(pairs)
        for part in self.blocks(len(pairs)):
            forward = scipy.fft.rfftn if real else scipy.fft.fftn
            spectrum = forward(pairs[part], axes=self._axes, workers=_cores())
            spectrum *= kernel
            back = scipy.fft.irfftn if real else scipy.fft.ifftn
            out[part] = back(spectrum, s=self.shape, axes=self._axes, overwrite_x=True, workers=_cores())
        return out
