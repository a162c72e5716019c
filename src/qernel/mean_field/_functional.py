import dataclasses
import functools

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float, Int, Num

from ._grid import Grid
from ._interaction import Interaction


@dataclasses.dataclass(frozen=True)
class Functional:
    """The Hartree-Fock energy of a Slater determinant per spin, and its gradient.

    E = Σ_i ⟨i| p/2 G² + V |i⟩ + ½ Σ_q v(q)/Ω |ρ_q|² - ½ Σ_σ Σ_ij Σ_q v(q)/Ω |ρ^{ij}_q|² + N ξ/2,

    v the sum of all interactions. Of the Coulomb interaction v(0) = 0 (neutralising background) and ξ is the
    self-image constant: exactly the expectation value of the Ewald Hamiltonian. `prefactor` is the inverse mass;
    `potentials` are the one-body potentials on the grid, by the names of the Hamiltonian, and so are `interactions`:
    a potential may have a part in both. Energies in Ha*, totals.
    """

    grid: Grid
    prefactor: float
    potentials: dict[str, Float[np.ndarray, "..."]]
    interactions: dict[str, Interaction]

    @functools.cached_property
    def kernel(self) -> Float[np.ndarray, "..."] | None:
        """v(q)/Ω of all interactions together on the grid; None without one."""
        kernels = [i.kernel for i in self.interactions.values()]
        return sum(kernels[1:], kernels[0]) if kernels else None

    @property
    def self_image(self) -> float:
        """ξ/2 of all interactions together, of each electron."""
        return sum((i.self_image for i in self.interactions.values()), 0.0)

    def convolve(self, pairs: Num[np.ndarray, "batch ..."]) -> Num[np.ndarray, "batch ..."]:
        """∫ v(r - r') ρ(r') d^dr' on the grid."""
        return np.zeros_like(pairs) if self.kernel is None else self.grid.convolve(pairs, self.kernel)

    def only(self, name: str) -> "Functional":
        """That of one interaction alone, without one-body potentials."""
        return dataclasses.replace(self, potentials={}, interactions={name: self.interactions[name]})

    @property
    def one_body_potential(self) -> Float[np.ndarray, "..."]:
        """The sum of the one-body potentials on the grid."""
        return sum(self.potentials.values(), np.zeros(self.grid.shape))

    def potential_waves(self) -> tuple[Int[np.ndarray, "waves dim"], Complex[np.ndarray, " waves"]]:
        """The wavevectors of the one-body potential, in units of the cell's reciprocal, and their amplitudes."""
        spectrum = np.asarray(scipy.fft.fftn(self.one_body_potential)) / self.grid.size
        present = np.argwhere(np.abs(spectrum) > 1e-6 * np.abs(spectrum).max(initial=1e-300))
        shape = np.array(spectrum.shape)
        return np.where(present > shape // 2, present - shape, present), spectrum[tuple(present.T)]

    def density(self, coefficients: tuple[Num[np.ndarray, "basis _"], ...]) -> Float[np.ndarray, "..."]:
        """Density relative to one electron a cell: its cell average is the number of electrons."""
        total = np.zeros(self.grid.shape)
        for c in coefficients:
            for part in self.grid.blocks(c.shape[1]):
                total += np.sum(np.abs(self.grid.to_grid(c[:, part])) ** 2, axis=0)
        return total

    def _exchange(self, phi: np.ndarray) -> np.ndarray:
        # K φ_j = Σ_i φ_i v*(φ_i† φ_j); one convolution a pair, that of (j, i) being the conjugate.
        out = np.zeros_like(phi)
        for i in range(len(phi)):
            pair_potential = self.convolve(phi[i].conj() * phi[i:])
            out[i:] += phi[i] * pair_potential
            if i + 1 < len(phi):
                out[i] += np.einsum("n...,n...->...", phi[i + 1 :], pair_potential[1:].conj())
        return out

    def exchange_on(
        self,
        phi: Num[np.ndarray, "..."],
        partners: Num[np.ndarray, "basis partners"],
        weights: Float[np.ndarray, " partners"],
    ) -> Num[np.ndarray, "..."]:
        """Σ_j w_j φ_j v*(φ_j† φ) on the grid, of coefficients φ_j."""
        out = np.zeros_like(phi)
        for part in self.grid.blocks(len(weights)):
            values = self.grid.to_grid(partners[:, part])
            pair_potential = self.convolve(values.conj() * phi)
            out += np.einsum("n,n...,n...->...", weights[part], values, pair_potential)
        return out

    @property
    def copies(self) -> int:
        """The fewest orbitals that one independent orbital stands for."""
        return 1

    def independent(
        self, coefficients: tuple[Num[np.ndarray, "basis _"], ...]
    ) -> tuple[Num[np.ndarray, "basis _"], ...]:
        """The orbitals that are no images of others: all of them."""
        return coefficients

    def whole(self, few: tuple[Num[np.ndarray, "basis _"], ...]) -> tuple[Num[np.ndarray, "basis _"], ...]:
        """The inverse of `independent`."""
        return few

    def pulled_back(
        self, slopes: tuple[Num[np.ndarray, "basis _"], ...], back: tuple[Num[np.ndarray, "_ _"], ...]
    ) -> tuple[Num[np.ndarray, "basis _"], ...]:
        """Slopes in the independent columns of X, from those in the independent columns of X B."""
        return tuple(slope @ b for slope, b in zip(slopes, back, strict=True))

    @functools.cached_property
    def kinetic(self) -> Float[np.ndarray, "basis 1"]:
        """p/2 G² of every basis function."""
        return 0.5 * self.prefactor * self.grid.waves.squared_wavenumbers[:, None]

    def classical(
        self, coefficients: tuple[Num[np.ndarray, "basis _"], ...], density: Float[np.ndarray, "..."]
    ) -> tuple[dict[str, float], Float[np.ndarray, "..."]]:
        """The energy terms without exchange (which is 0 there), and the potential that all orbitals feel."""
        electrons = sum(c.shape[1] for c in coefficients)
        hartree = self.convolve(density[None])[0]
        energies = {"kinetic": float(sum(np.sum(self.kinetic * np.abs(c) ** 2) for c in coefficients))}
        for name, values in self.potentials.items():
            energies[name] = float(np.mean(values * density))
        energies["hartree"] = 0.5 * float(np.mean(hartree * density))
        energies["exchange"] = 0.0
        energies["madelung"] = electrons * self.self_image
        return energies, hartree + self.one_body_potential

    def __call__(
        self, coefficients: tuple[Num[np.ndarray, "basis _"], ...]
    ) -> tuple[dict[str, float], tuple[Num[np.ndarray, "basis _"], ...]]:
        """The energy terms of orthonormal orbitals, and the Fock operator applied to them, F C."""
        energies, potential = self.classical(coefficients, self.density(coefficients))
        forces = []
        for c in coefficients:
            phi = self.grid.to_grid(c)
            exchange = self._exchange(phi)
            energies["exchange"] -= 0.5 * float(np.mean(np.sum(np.real(phi.conj() * exchange), axis=0)))
            forces.append(self.kinetic * c + self.grid.from_grid(potential * phi - exchange))
        return energies, tuple(forces)
