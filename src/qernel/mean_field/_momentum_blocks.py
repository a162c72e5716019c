"""Translation-symmetric Hartree-Fock in the plane waves of each crystal momentum: small matrices, no grid."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from ._bloch import one_body_matrix
from ._functional import Functional

# Electrons of each orbital, (momenta, bands): a filling has 0 and 1 of the lowest bands, an average any number between.
Occupation = Float[np.ndarray, "momenta bands"]
Orbitals = Complex[np.ndarray, "momenta waves waves"]


class Relaxed(NamedTuple):
    """Self-consistent orbitals of each spin, ascending in energy, and their total energy in Ha*."""

    orbitals: tuple[Orbitals, ...]
    energy: float


@dataclasses.dataclass(frozen=True)
class MomentumBlocks:
    r"""The Hartree-Fock energy of determinants whose orbitals have definite momenta, in blocks of these momenta.

    With $P_k$ the density matrix of the orbitals of momentum k, between plane waves k + G,

    $$ F_k = h_k + v(G - G')\,\rho_{G-G'} - \sum_{k',D} v(D)\, S_D P_{k'} S_D^\dagger , \qquad
       \rho_D = \sum_{k,G} P_k[G + D, G] , $$

    where $S_D$ adds D to a wave. The matrices are as small as the number of plane waves of one momentum, a few tens,
    and the exchange is one matrix product: 24 electrons are self-consistent in 0.08 s, and on the grid, with the same
    energy, in 2 s.

    **Fields:**

    - `one_body`: h_k; waves that a momentum has fewer than others are there with an energy out of reach, `valid` marks
      those that count.
    - `pairs`: v between waves, (momenta waves, momenta waves), in Ha*.
    - `difference`: the number of G - G' among all differences, whose v is `kernel`.
    - `self_image`: ξ/2 of each electron.
    """

    one_body: Complex[np.ndarray, "momenta waves waves"]
    valid: Bool[np.ndarray, "momenta waves"]
    pairs: Float[np.ndarray, "all all"]
    difference: Int[np.ndarray, "momenta waves waves"]
    kernel: Float[np.ndarray, " differences"]
    self_image: float

    @staticmethod
    def of(functional: Functional, momenta: Sequence[Int[np.ndarray, " _"]]) -> "MomentumBlocks":
        """Those of the plane waves of each momentum, by their positions in the order 0, G₁, -G₁, ..."""
        grid, signed = functional.grid, functional.grid.waves.signed_integers
        count, most = len(momenta), max(map(len, momenta))
        valid = np.arange(most) < np.array([len(waves) for waves in momenta])[:, None]
        integers = np.zeros((count, most, signed.shape[1]), np.int64)
        one_body = np.zeros((count, most, most), np.complex128)
        for k, waves in enumerate(momenta):
            integers[k, : len(waves)] = signed[waves]
            one_body[k, : len(waves), : len(waves)] = one_body_matrix(functional, waves)
        # Above every state that counts, by more than any Fock matrix can change.
        out_of_reach = 1e3 * (1 + np.abs(one_body).max())
        one_body[:, np.arange(most), np.arange(most)] += np.where(valid, 0, out_of_reach)
        apart = (integers[:, :, None] - integers[:, None]).reshape(-1, signed.shape[1])
        both = (valid[:, :, None] & valid[:, None]).ravel()
        kinds, which = np.unique(apart[both], axis=0, return_inverse=True)
        # What is no pair of waves goes to a place of its own, where nothing is read from.
        difference = np.full(len(both), len(kinds))
        difference[both] = which.ravel()
        kernel = np.zeros(grid.size) if functional.kernel is None else functional.kernel.ravel()
        flat = integers.reshape(-1, signed.shape[1])
        # Row by row: all differences of all waves at once are many times as large as v of them.
        pairs = np.stack([kernel[grid.places(n - flat)] for n in flat])
        return MomentumBlocks(
            one_body,
            valid,
            pairs,
            difference.reshape(count, most, most),
            np.append(kernel[grid.places(kinds)], 0.0),
            functional.self_image,
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of momenta, and of waves of each."""
        return self.valid.shape  # pyright: ignore[reportReturnType]

    def bands(self) -> Orbitals:
        """Eigenvectors of the one-body Hamiltonian, ascending in energy."""
        return np.linalg.eigh(self.one_body)[1]

    def _spread(self, matrices: Complex[np.ndarray, "momenta waves waves"]) -> Complex[np.ndarray, "all differences"]:
        """P_k[G, G'] at G and the number of G - G'."""
        count, most = self.shape
        spread = np.zeros((count * most, len(self.kernel)), np.complex128)
        rows = np.arange(count * most).reshape(count, most, 1)
        spread[rows, self.difference] = matrices
        spread[:, -1] = 0
        return spread

    def _gathered(self, spread: Complex[np.ndarray, "all differences"]) -> Complex[np.ndarray, "momenta waves waves"]:
        count, most = self.shape
        rows = np.arange(count * most).reshape(count, most, 1)
        return spread[rows, self.difference]

    def _exchange(self, spread: Complex[np.ndarray, "all differences"]) -> Complex[np.ndarray, "momenta waves waves"]:
        # Real and imaginary parts, beside each other in memory, in one product of real matrices.
        return self._gathered((self.pairs @ spread.view(np.float64)).view(np.complex128))

    @staticmethod
    def _density_matrix(orbitals: Orbitals, occupation: Occupation) -> Complex[np.ndarray, "momenta waves waves"]:
        filled = orbitals[:, :, : occupation.shape[1]]
        return np.einsum("kgb,kb,khb->kgh", filled, occupation, filled.conj(), optimize=True)

    def fock(
        self, matrices: Sequence[Complex[np.ndarray, "momenta waves waves"]]
    ) -> tuple[list[Complex[np.ndarray, "momenta waves waves"]], float]:
        """F_k of each spin, and the total energy, from the density matrices of each spin."""
        spread = [self._spread(p) for p in matrices]
        density = sum(s.sum(axis=0) for s in spread)
        hartree = self._gathered(np.broadcast_to(self.kernel * density, spread[0].shape))
        found, energy = [], 0.0
        for p, s in zip(matrices, spread, strict=True):
            exchange = self._exchange(s)
            found.append(self.one_body + hartree - exchange)
            weights = np.einsum("kgh,khg->", p, self.one_body + 0.5 * (hartree - exchange), optimize=True)
            energy += float(np.real(weights)) + self.self_image * float(np.real(np.einsum("kgg->", p)))
        return found, energy

    def energy(self, orbitals: Sequence[Orbitals], occupations: Sequence[Occupation]) -> float:
        """The total energy of these orbitals."""
        return self.fock([self._density_matrix(c, n) for c, n in zip(orbitals, occupations, strict=True)])[1]

    def relax(
        self,
        occupations: Sequence[Occupation],
        orbitals: Sequence[Orbitals],
        *,
        tolerance: float = 1e-6,
        max_iterations: int = 60,
    ) -> Relaxed:
        """Self-consistent orbitals with these occupations, by Pulay's method from the given ones.

        **Arguments:** `tolerance`, of the largest element of the commutator of F and P, in Ha*: the energy is then good
        to its square over a band gap.
        """
        now, tried, errors = list(orbitals), [], []
        best = Relaxed(tuple(now), np.inf)
        for _ in range(max_iterations):
            matrices = [self._density_matrix(c, n) for c, n in zip(now, occupations, strict=True)]
            focks, energy = self.fock(matrices)
            commutators = [f @ p - p @ f for f, p in zip(focks, matrices, strict=True)]
            if energy < best.energy:
                best = Relaxed(tuple(now), energy)
            if max(np.abs(c).max() for c in commutators) < tolerance:
                break
            # Eight are as good as all, and the equations for the weights stay well-conditioned.
            tried, errors = [*tried, focks][-8:], [*errors, np.concatenate([c.ravel() for c in commutators])][-8:]
            weights = _pulay(errors)
            mixed = (sum(w * f[spin] for w, f in zip(weights, tried, strict=True)) for spin in range(len(focks)))
            now = [np.linalg.eigh(f)[1] for f in mixed]
        return best

    def exchange(self, orbitals: Sequence[Orbitals], occupations: Sequence[Occupation]) -> float:
        """The exchange energy, with that of each electron's own images, of which it is a part."""
        total = 0.0
        for c, n in zip(orbitals, occupations, strict=True):
            p = self._density_matrix(c, n)
            of_pairs = np.einsum("kgh,khg->", p, self._exchange(self._spread(p)), optimize=True)
            total += self.self_image * float(n.sum()) - 0.5 * float(np.real(of_pairs))
        return total

    def quadratic_form(
        self,
        orbitals: Sequence[Orbitals],
        always: Sequence[Occupation],
        places: Sequence[tuple[int, int, int]],
    ) -> tuple[Float[np.ndarray, " places"], Float[np.ndarray, "places places"]]:
        """What an electron in each of some orbitals adds to the energy of those that are always there, and to that of
        one another.

        **Arguments:** `places`: spin, momentum and band of each orbital.
        """
        focks, _ = self.fock([self._density_matrix(c, n) for c, n in zip(orbitals, always, strict=True)])
        most = self.shape[1]
        columns = [orbitals[spin][k, :, band] for spin, k, band in places]
        spread = [self._spread_one(k, c) for (_, k, _), c in zip(places, columns, strict=True)]
        single = [
            np.real(np.vdot(c, focks[spin][k] @ c)) + self.self_image
            for (spin, k, _), c in zip(places, columns, strict=True)
        ]
        densities = np.array([s.sum(axis=0) for s in spread])
        pairs = np.real(densities.conj() @ (self.kernel * densities).T)
        for j, (spin, k, _) in enumerate(places):
            column = self.pairs[:, k * most : (k + 1) * most] @ spread[j].view(np.float64)
            potential = column.view(np.complex128).reshape(*self.shape, -1)
            for i, (other, m, _) in enumerate(places):
                if other == spin:
                    pairs[i, j] -= np.real(np.vdot(spread[i], potential[m]))
        # No electron acts upon itself: its direct and exchange terms cancel to rounding.
        np.fill_diagonal(pairs, 0.0)
        return np.array(single), pairs

    def _spread_one(self, k: int, orbital: Complex[np.ndarray, " waves"]) -> Complex[np.ndarray, "waves differences"]:
        spread = np.zeros((len(orbital), len(self.kernel)), np.complex128)
        spread[np.arange(len(orbital))[:, None], self.difference[k]] = orbital[:, None] * orbital.conj()
        spread[:, -1] = 0
        return spread


def _pulay(errors: list[Complex[np.ndarray, " _"]]) -> Float[np.ndarray, " _"]:
    """Weights of sum 1 with the smallest combination of the errors."""
    count = len(errors)
    system = np.zeros((count + 1, count + 1))
    system[:count, :count] = [[np.real(np.vdot(a, b)) for b in errors] for a in errors]
    scale = system[:count, :count].max(initial=1e-300)
    system[:count, :count] /= scale
    system[count, :count] = system[:count, count] = 1
    return np.linalg.lstsq(system, np.append(np.zeros(count), 1.0), rcond=1e-12)[0][:count]
