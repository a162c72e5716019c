import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int, Num

from ..lattice import Lattice
from ._cos_sin import cos_sin
from ._plane_wave_sum import plane_wave_sum


@functools.lru_cache(maxsize=64)
def _half_space(vectors: tuple[tuple[float, ...], ...], cutoff: float) -> Int[np.ndarray, "half dim"]:
    lattice = Lattice(vectors)
    turns = lattice.reciprocal_vectors(cutoff * (1 + 1e-9)) @ lattice.matrix.T / (2 * np.pi)
    integers = np.round(turns).astype(np.int64).reshape(-1, lattice.dim)
    leading = np.zeros(len(integers), dtype=np.int64)
    for column in integers.T:
        leading = np.where(leading == 0, column, leading)
    integers = integers[leading > 0]
    integers.setflags(write=False)
    return integers


class PlaneWaves(eqx.Module):
    """The real plane waves of a periodic cell up to a cutoff.

    χ₀(r) = 1, χ_{2j-1}(r) = √2 cos(G_j·r), χ_{2j}(r) = √2 sin(G_j·r),

    with G_j the reciprocal vectors of the cell, 0 < |G_j| ≤ `cutoff` (inverse Bohr), one of each pair ±G,
    sorted by length. They are orthonormal under the average over the cell, (1/Ω) ∫ χ_a χ_b d^dr = δ_ab,
    and of order one, which is what a network likes to see. The vectors follow from the two fields, so the
    module holds no arrays.
    """

    lattice: Lattice
    cutoff: float = eqx.field(static=True, converter=float)

    def __check_init__(self):
        if not self.cutoff >= 0:
            raise ValueError(f"the plane-wave cutoff must not be negative, got {self.cutoff}")

    @property
    def integers(self) -> Int[np.ndarray, "half dim"]:
        """G_j in units of the cell's reciprocal vectors."""
        return _half_space(self.lattice.vectors, self.cutoff)

    @property
    def signed_integers(self) -> Int[np.ndarray, "basis dim"]:
        """0, G₁, -G₁, G₂, ..., the order of `to_exponentials`, in units of the reciprocal vectors."""
        half = self.integers
        signed = np.zeros((self.size, half.shape[1]), dtype=np.int64)
        signed[1::2], signed[2::2] = half, -half
        return signed

    @property
    def vectors(self) -> Float[np.ndarray, "half dim"]:
        """G_j, in inverse Bohr."""
        return self.integers @ self.lattice.reciprocal

    @property
    def size(self) -> int:
        """The number of basis functions."""
        return 2 * len(self.integers) + 1

    @property
    def squared_wavenumbers(self) -> Float[np.ndarray, " basis"]:
        """G² of every basis function."""
        return np.concatenate([[0.0], np.repeat(np.sum(self.vectors**2, axis=1), 2)])

    def __call__(self, r: Float[Array, "electrons dim"]) -> Float[Array, "electrons basis"]:
        """χ_a(r_i)."""
        with jax.named_scope("qernel.orbitals.PlaneWaves"):
            vectors = jnp.asarray(self.vectors / (2 * math.pi), r.dtype)
            turns = jnp.matmul(r, vectors.T, precision=jax.lax.Precision.HIGHEST)
            pairs = math.sqrt(2) * jnp.stack(cos_sin(turns), axis=-1)
            return jnp.concatenate([jnp.ones_like(r[:, :1]), pairs.reshape(r.shape[0], -1)], axis=1)

    def expand(
        self, r: Float[Array, "electrons dim"], coefficients: Num[Array, "basis orbitals"]
    ) -> Num[Array, "electrons orbitals"]:
        """Σ_a χ_a(r_i) C_an at the precision of `r`, without forming χ."""
        with jax.named_scope("qernel.orbitals.PlaneWaves.expand"):
            if jnp.iscomplexobj(coefficients):
                # Real and imaginary part side by side: r is real, a complex product would double the work.
                parts = jnp.concatenate([jnp.real(coefficients), jnp.imag(coefficients)], axis=1)
                real, imaginary = jnp.split(self.expand(r, parts), 2, axis=1)
                return jax.lax.complex(real, imaginary)
            c = coefficients.astype(r.dtype)
            pairs = math.sqrt(2) * c[1:]
            return plane_wave_sum(r, jnp.asarray(self.vectors, r.dtype), c[0], pairs[::2], pairs[1::2])


def to_exponentials(
    coefficients: Num[np.ndarray, "basis orbitals"],
) -> Complex[np.ndarray, "basis orbitals"]:
    """Coefficients of e^{iG·r}, ordered 0, G₁, -G₁, G₂, ..., from those of the real plane waves."""
    c = np.asarray(coefficients, dtype=np.complex128)
    a, b = c[1::2] / math.sqrt(2), c[2::2] / math.sqrt(2)
    out = np.empty_like(c)
    out[0], out[1::2], out[2::2] = c[0], a - 1j * b, a + 1j * b
    return out


def from_exponentials(
    coefficients: Complex[np.ndarray, "basis orbitals"],
) -> Complex[np.ndarray, "basis orbitals"]:
    """The inverse of `to_exponentials`."""
    plus, minus = coefficients[1::2] / math.sqrt(2), coefficients[2::2] / math.sqrt(2)
    out = np.empty_like(coefficients)
    out[0], out[1::2], out[2::2] = coefficients[0], plus + minus, 1j * (plus - minus)
    return out


def real_from_exponentials(
    coefficients: Complex[np.ndarray, "basis orbitals"],
) -> Float[np.ndarray, "basis orbitals"]:
    """The inverse of `to_exponentials` for real functions, from the coefficients of 0 and +G alone."""
    out = np.empty(coefficients.shape)
    out[0], plus = np.real(coefficients[0]), coefficients[1::2]
    out[1::2], out[2::2] = math.sqrt(2) * np.real(plus), -math.sqrt(2) * np.imag(plus)
    return out
