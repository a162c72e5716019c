import warnings
from collections.abc import Sequence

import numpy as np

Levels = tuple[tuple[int, ...], ...]


def harmonic_levels(frequencies: Sequence[float] | np.ndarray, orbitals: int) -> Levels:
    r"""The `orbitals` lowest levels of one particle in a harmonic trap, as quantum numbers $(n_x, n_y, \ldots)$.

    Sorted by energy $\sum_a \omega_a (n_a + \tfrac12)$; of equal ones those with more quanta along the first axis come
    first. Where the last shell is only partly filled a `UserWarning` names the degeneracy.

    **Arguments:** `frequencies`, $\omega_a > 0$ of each axis; `orbitals`, how many levels.

    **Raises:** `ValueError` if a frequency or the number is not positive.
    """
    axes = np.asarray(frequencies, np.float64)
    if axes.ndim != 1 or axes.size == 0 or not np.all(np.isfinite(axes) & (axes > 0)):
        raise ValueError(f"levels of a trap need a positive frequency for each axis, got {frequencies}")
    if orbitals < 1:
        raise ValueError(f"the number of orbitals must be positive, got {orbitals}")
    # Below a level lie all those with fewer quanta, Π (n + 1) of them: no more can be filled, and one further is seen.
    candidates = levels_below(orbitals + 1, axes.size)
    energy = lambda level: round(float(np.dot(axes, level) / axes.min()), 9)
    ordered = sorted(candidates, key=lambda level: (energy(level), tuple(-n for n in level)))
    last = energy(ordered[orbitals - 1])
    if energy(ordered[orbitals]) == last:
        below = sum(energy(level) < last for level in ordered)
        # Members of a large shell may have more quanta than the candidates.
        reach = [np.arange(int(last * axes.min() / frequency + 1e-6) + 1) for frequency in axes]
        totals = sum(np.meshgrid(*[n * frequency for n, frequency in zip(reach, axes, strict=True)], sparse=True))
        shell = int(np.sum(np.round(totals / axes.min(), 9) == last))
        warnings.warn(
            f"open shell: {orbitals} fermions of one spin fill {orbitals - below} of {shell} degenerate levels of the "
            f"trap; {below} or {below + shell} would close the shell. The first members are taken.",
            stacklevel=2,
        )
    return tuple(ordered[:orbitals])


def levels_below(most: int, dim: int) -> list[tuple[int, ...]]:
    r"""All quantum numbers $(n_1, \ldots, n_d)$ with $\prod_a (n_a + 1) \le \texttt{most}$, in lexicographic order.

    Below such a level lie as many levels as the product says. Their number grows like that of divisors,
    $\texttt{most}\,\ln^{d-1}\texttt{most}$, where that of a cube would have no end.
    """
    if dim == 0:
        return [()]
    return [(n, *rest) for n in range(most) for rest in levels_below(most // (n + 1), dim - 1)]
