import dataclasses

import numpy as np
from jaxtyping import Float, Int, Num

from ._grid import Grid


@dataclasses.dataclass(frozen=True)
class Functional:
    """The Hartree-Fock energy of a Slater determinant per spin, and its gradient.

    E = Σ_i ⟨i| p/2 G² + V |i⟩ + ½ Σ_q v(q)/Ω |ρ_q|² - ½ Σ_σ Σ_ij Σ_q v(q)/Ω |ρ^{ij}_q|² + N ξ/2,

    sums over q ≠ 0 (neutralising background), ξ the self-image constant: exactly the expectation value of the
    Ewald Hamiltonian. `prefactor` is the inverse mass, `strength` the prefactor of 1/r, `self_image` = ξ/2
    times the strength; `potentials` are the one-body potentials on the grid. Energies in Ha*, totals.
    """

    grid: Grid
    prefactor: float
    potentials: dict[str, Float[np.ndarray, "..."]]
    strength: float
    self_image: float

    @property
    def one_body_potential(self) -> Float[np.ndarray, "..."]:
        """The sum of the one-body potentials on the grid."""
        return sum(self.potentials.values(), np.zeros(self.grid.shape))

    def orbitals(self, coefficients: tuple[Num[np.ndarray, "basis _"], ...]) -> list[np.ndarray]:
        return [self.grid.to_grid(c) for c in coefficients]

    def density(self, orbitals: list[np.ndarray]) -> Float[np.ndarray, "..."]:
        """Density relative to one electron a cell: its cell average is the number of electrons."""
        total = np.zeros(self.grid.shape)
        for phi in orbitals:
            total += np.real(np.einsum("n...,n...->...", phi, phi.conj()))
        return total

    def _exchange(self, phi: np.ndarray) -> np.ndarray:
        # K φ_j = Σ_i φ_i v*(φ_i† φ_j); one convolution a pair, that of (j, i) being the conjugate.
        out = np.zeros_like(phi)
        for i in range(len(phi)):
            pair_potential = self.strength * self.grid.convolve(phi[i].conj() * phi[i:])
            out[i:] += phi[i] * pair_potential
            if i + 1 < len(phi):
                out[i] += np.einsum("n...,n...->...", phi[i + 1 :], pair_potential[1:].conj())
        return out

    def _exchange_on(self, phi: np.ndarray, few: np.ndarray) -> np.ndarray:
        out = np.zeros_like(few)
        for i in range(len(few)):
            pair_potential = self.strength * self.grid.convolve(phi.conj() * few[i])
            out[i] = np.einsum("n...,n...->...", phi, pair_potential)
        return out

    def __call__(
        self,
        coefficients: tuple[Num[np.ndarray, "basis _"], ...],
        representatives: tuple[Int[np.ndarray, " _"], ...] | None = None,
    ) -> tuple[dict[str, float], tuple[Num[np.ndarray, "basis _"], ...]]:
        """The energy terms of orthonormal orbitals, and the Fock operator applied to them, F C.

        `representatives` of each spin, of which all its orbitals are translations, each as often: F is then applied to
        them alone.
        """
        grid = self.grid
        orbitals = self.orbitals(coefficients)
        density = self.density(orbitals)
        kinetic = 0.5 * self.prefactor * grid.waves.squared_wavenumbers[:, None]
        electrons = sum(c.shape[1] for c in coefficients)
        hartree = self.strength * grid.convolve(density[None])[0]
        potential = hartree + self.one_body_potential
        energies = {"kinetic": float(sum(np.sum(kinetic * np.abs(c) ** 2) for c in coefficients))}
        for name, values in self.potentials.items():
            energies[name] = float(np.mean(values * density))
        energies["hartree"] = 0.5 * float(np.mean(hartree * density))
        energies["exchange"] = 0.0
        energies["madelung"] = electrons * self.self_image
        forces = []
        for spin, (c, phi) in enumerate(zip(coefficients, orbitals, strict=True)):
            copies = 1
            if representatives is None:
                exchange = self._exchange(phi)
            else:
                few = representatives[spin]
                copies = len(phi) // max(len(few), 1)
                exchange = self._exchange_on(phi, phi[few])
                c, phi = c[:, few], phi[few]
            energies["exchange"] -= 0.5 * copies * float(np.mean(np.sum(np.real(phi.conj() * exchange), axis=0)))
            forces.append(kinetic * c + grid.from_grid(potential * phi - exchange))
        return energies, tuple(forces)
