"""Two-body integrals between orbitals of definite momentum."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Complex, Float, Int


class PairIntegrals:
    r"""$\langle ab|v|cd\rangle = \sum_q v(q)\,\rho_{ac}(q)\,\rho_{db}(q)^*$, kept only where momentum is conserved.

    Called with four index arrays (a, c, b, d), which must conserve the total momentum. Pairs (a, c) and (d, b) of
    another momentum transfer, and wavevectors q of another class, have no common integral: neither computed nor
    stored, which divides the work by the square of the number of momenta.

    **Arguments:** `pairs`, Fourier coefficients on the grid of $\phi_a^*\phi_c$; `momenta` of the orbitals and the
    `label` of a momentum's class; `kernel`, v(q) on the grid.
    """

    def __init__(
        self,
        pairs: Complex[np.ndarray, "m m ..."],
        momenta: Int[np.ndarray, "m dim"],
        label: Callable[[Int[np.ndarray, "... dim"]], Int[np.ndarray, "..."]],
        kernel: Float[np.ndarray, "..."],
    ):
        m = len(pairs)
        rho, strength = pairs.reshape(m * m, -1), kernel.ravel()
        frequencies = [np.round(np.fft.fftfreq(n, 1 / n)).astype(np.int64) for n in kernel.shape]
        waves = label(np.stack(np.meshgrid(*frequencies, indexing="ij"), axis=-1)).ravel()
        # \int phi_a* phi_c e^{-iqr} is there only for q = k_c - k_a, up to the group.
        transfer = label(momenta[None] - momenta[:, None]).ravel()
        self._row = np.zeros(m * m, dtype=np.int64)
        self._column = np.zeros(m * m, dtype=np.int64)
        values, offset = [], 0
        for kind in np.unique(transfer):
            members = np.flatnonzero(transfer == kind)
            used = np.flatnonzero((waves == kind) & (strength != 0))
            left = rho[np.ix_(members, used)]
            self._column[members] = np.arange(len(members))
            self._row[members] = offset + len(members) * np.arange(len(members))
            values.append(((left * strength[used]) @ left.conj().T).ravel())
            offset += len(members) ** 2
        self._values = np.concatenate(values)
        self._row, self._column = self._row.reshape(m, m), self._column.reshape(m, m)

    def __call__(self, a, c, b, d) -> Complex[np.ndarray, "..."]:
        """The integrals of index arrays that broadcast together."""
        return self._values[self._row[a, c] + self._column[d, b]]
