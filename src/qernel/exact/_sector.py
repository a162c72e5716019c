"""Slater determinants of one total momentum, and one- and two-body operators on them."""

import dataclasses
from collections.abc import Callable

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Complex, Float, Int

from ._pair_integrals import PairIntegrals


@dataclasses.dataclass(frozen=True)
class SpinOrbitals:
    """Orbitals of both spins: `momenta` n (integer vectors) of the M spatial ones; spin-orbital sM + i is orbital i
    with spin s. `label` maps total momenta to classes (integers)."""

    momenta: Int[np.ndarray, "orbitals dim"]
    label: Callable[[Int[np.ndarray, "... dim"]], Int[np.ndarray, "..."]]

    @property
    def count(self) -> int:
        return len(self.momenta)

    def total(self, states: Int[np.ndarray, "states electrons"]) -> Int[np.ndarray, "states dim"]:
        """Total momentum of determinants given as rows of spin-orbitals."""
        return self.momenta[states % self.count].sum(axis=1)

    def determinants(self, up: int, down: int) -> Int[np.ndarray, "states electrons"]:
        """All determinants, as ascending rows of spin-orbitals."""
        ups, downs = (_combinations(self.count, n) for n in (up, down))
        rows = np.concatenate([np.repeat(ups, len(downs), axis=0), np.tile(downs + self.count, (len(ups), 1))], axis=1)
        return rows

    def key(self, states: Int[np.ndarray, "states electrons"]) -> Int[np.ndarray, " states"]:
        """A number for each ascending row, ordered as the rows."""
        key = np.zeros(len(states), dtype=np.int64)
        for column in states.T:
            key = key * (2 * self.count) + column
        return key


def _combinations(n: int, k: int) -> Int[np.ndarray, "subsets k"]:
    rows = np.zeros((1, 0), dtype=np.int16)
    for _ in range(k):
        last = rows[:, -1] if rows.shape[1] else np.full(len(rows), -1, dtype=np.int16)
        more = n - 1 - last.astype(np.int64)
        parent = np.repeat(np.arange(len(rows)), more)
        first = np.cumsum(more) - more
        new = last[parent] + 1 + (np.arange(len(parent)) - first[parent])
        rows = np.concatenate([rows[parent], new[:, None].astype(np.int16)], axis=1)
    return rows


class Sector:
    """The determinants of `up` and `down` electrons with one total momentum.

    A two-body operator acts by taking out every pair of electrons (a, b), multiplying the pairs of each total
    momentum by the matrix of the operator, and putting them back: every determinant is reached through its
    N(N - 1)/2 pairs, and the matrices are dense and small.
    """

    def __init__(self, orbitals: SpinOrbitals, up: int, down: int, label: int):
        self.orbitals, self.electrons = orbitals, (up, down)
        states = orbitals.determinants(up, down)
        self.states = states[orbitals.label(orbitals.total(states)) == label]
        self.keys = orbitals.key(self.states)
        self.label = label

    @property
    def dimension(self) -> int:
        """Number of determinants."""
        return len(self.states)

    @property
    def occupied(self) -> Bool[np.ndarray, "states spin_orbitals"]:
        """Which spin-orbitals each determinant fills."""
        table = np.zeros((self.dimension, 2 * self.orbitals.count), dtype=bool)
        table[np.arange(self.dimension)[:, None], self.states] = True
        return table

    def removals(self, electrons: int):
        """For each set of `electrons` spin-orbitals taken out: positions of (set, rest) and signs, by classes.

        **Returns:** list of blocks (sets, number of rests, offset), the array of positions (states, ways) into the
        concatenation of all blocks' (sets, rests) and the signs.
        """
        ways = int(np.prod([(sum(self.electrons) - i) / (i + 1) for i in range(electrons)]) + 0.5)
        positions = np.full((self.dimension, ways), -1, dtype=np.int64)
        signs = np.zeros((self.dimension, ways), dtype=np.int8)
        filled = np.zeros(self.dimension, dtype=np.int64)
        blocks, offset = [], 0
        orbitals = self.orbitals
        for down in range(electrons + 1):
            up = electrons - down
            if up > self.electrons[0] or down > self.electrons[1]:
                continue
            sets = orbitals.determinants(up, down)
            set_label = orbitals.label(orbitals.total(sets))
            rests = orbitals.determinants(self.electrons[0] - up, self.electrons[1] - down)
            rest_total = orbitals.total(rests)
            for label in np.unique(set_label):
                chosen = sets[set_label == label]
                matching = rests[orbitals.label(rest_total + orbitals.total(chosen[:1])) == self.label]
                for j, taken in enumerate(chosen):
                    free = np.flatnonzero(~np.isin(matching, taken).any(axis=1))
                    rest = matching[free]
                    whole = np.sort(np.concatenate([np.broadcast_to(taken, (len(rest), electrons)), rest], axis=1))
                    state = np.searchsorted(self.keys, orbitals.key(whole))
                    # c†_a c†_b |rest>: each created electron passes those of the rest before it.
                    parity = sum((rest < a).sum(axis=1) for a in taken) & 1 if len(taken) else 0
                    positions[state, filled[state]] = offset + j * len(matching) + free
                    signs[state, filled[state]] = 1 - 2 * parity
                    filled[state] += 1
                if len(matching):
                    blocks.append((chosen, len(matching), offset))
                    offset += len(chosen) * len(matching)
        assert np.all(filled == ways)
        return blocks, positions, signs, offset


class TwoBody:
    """Two-body operators on a sector: `apply(matrices(v), psi)`."""

    def __init__(self, sector: Sector):
        self.sector = sector
        self.blocks, positions, signs, size = sector.removals(2)
        starts = np.arange(sector.dimension + 1) * positions.shape[1]
        states = scipy.sparse.csr_array(
            (signs.ravel().astype(np.float64), positions.ravel(), starts), (sector.dimension, size)
        )
        # By (pairs, rests), the longer of its two sides: it is gone through in order both when pairs are taken out and
        # when they are put back, and only the state, which a cache holds, is read and written here and there.
        self._taken_out = states.T.tocsr()

    def matrices(self, v: PairIntegrals) -> list[Complex[np.ndarray, "pairs pairs"]]:
        """Antisymmetrised ⟨ab|v|cd⟩ of each block."""
        count, out = self.sector.orbitals.count, []
        for pairs, _, _ in self.blocks:
            (a, b), spins = (pairs % count).T, pairs[0] // count
            left, right = (a[:, None], b[:, None]), (a[None], b[None])
            matrix = v(left[0], right[0], left[1], right[1])
            if spins[0] == spins[1]:
                matrix = matrix - v(left[0], right[1], left[1], right[0])
            out.append(matrix)
        return out

    def apply(self, matrices, psi: Complex[np.ndarray, " states"]) -> Complex[np.ndarray, " states"]:
        """The operator on a state."""
        # The signs are real: two columns of real numbers take half of the multiplications.
        y = (self._taken_out @ _as_columns(psi)).ravel().view(np.complex128)
        for (pairs, rests, offset), matrix in zip(self.blocks, matrices, strict=True):
            part = slice(offset, offset + len(pairs) * rests)
            y[part] = (matrix @ y[part].reshape(len(pairs), rests)).ravel()
        return (self._taken_out.T @ _as_columns(y)).ravel().view(np.complex128)

    def diagonal(self, matrices) -> Float[np.ndarray, " states"]:
        """Expectation values of the operator in the determinants."""
        of_pairs = [
            np.repeat(np.real(np.diagonal(matrix)), rests)
            for (_, rests, _), matrix in zip(self.blocks, matrices, strict=True)
        ]
        return abs(self._taken_out).T @ np.concatenate([np.zeros(0), *of_pairs])


def _as_columns(values: Complex[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
    """Real and imaginary parts side by side."""
    return np.ascontiguousarray(values, dtype=np.complex128).view(np.float64).reshape(-1, 2)


def density_matrix(
    sector: Sector, psi: Complex[np.ndarray, " states"]
) -> tuple[Complex[np.ndarray, "m m"], Complex[np.ndarray, "m m"]]:
    """One-body density matrices ⟨c†_a c_b⟩ of spin up and down."""
    blocks, positions, signs, size = sector.removals(1)
    y = np.zeros(size, dtype=np.complex128)
    y[positions] = signs * psi[:, None]
    count = sector.orbitals.count
    out = np.zeros((2, count, count), dtype=np.complex128)
    for taken, rests, offset in blocks:
        part = y[offset : offset + len(taken) * rests].reshape(len(taken), rests)
        index, spin = taken[:, 0] % count, taken[0, 0] // count
        out[spin][np.ix_(index, index)] = part.conj() @ part.T
    return out[0], out[1]
