"""Momenta of a lattice: integer vectors modulo those that the Hamiltonian can supply."""

import numpy as np
from jaxtyping import Int


class MomentumGroup:
    """Integer vectors (in units of the supercell's reciprocal vectors) modulo a sublattice of `steps`.

    Of a potential with the period of a [`Supercell`][qernel.lattice.Supercell]'s primitive cells the steps are the
    columns of `index`, the primitive reciprocal vectors. `canonical` picks one representative of each class; where the
    steps span fewer directions than there are, the rest of the momentum is conserved exactly.
    """

    def __init__(self, steps: Int[np.ndarray, "steps dim"]):
        self.rows = _echelon(np.asarray(steps, dtype=np.int64))

    def canonical(self, n: Int[np.ndarray, "... dim"]) -> Int[np.ndarray, "... dim"]:
        """The representative of each class: the same whatever vectors span the sublattice."""
        n = np.array(n, dtype=np.int64)
        for row in self.rows:
            pivot = np.flatnonzero(row)[0]
            n -= (n[..., pivot] // row[pivot])[..., None] * row
        return n


def _echelon(rows: Int[np.ndarray, "rows dim"]) -> Int[np.ndarray, "rank dim"]:
    """A basis of the lattice that the rows span, in echelon form with positive pivots (Euclid's algorithm)."""
    rows = rows.copy()
    basis = []
    for column in range(rows.shape[1]):
        while True:
            live = np.flatnonzero(rows[:, column])
            if len(live) == 0:
                break
            pivot = live[np.argmin(np.abs(rows[live, column]))]
            others = live[live != pivot]
            if len(others) == 0:
                basis.append(rows[pivot] * np.sign(rows[pivot, column]))
                rows = np.delete(rows, pivot, axis=0)
                break
            rows[others] -= (rows[others, column] // rows[pivot, column])[:, None] * rows[pivot]
    return np.array(basis, dtype=np.int64).reshape(-1, rows.shape[1])
