import warnings
from collections.abc import Sequence

import numpy as np

from ..lattice import Lattice
from ._expanded import ExpandedOrbitals, checked_twist
from ._plane_waves import PlaneWaves, from_exponentials


def plane_wave_orbitals(lattice: Lattice, orbitals: int, twist: Sequence[float] | None = None) -> ExpandedOrbitals:
    """The `orbitals` plane waves of lowest kinetic energy in a periodic cell.

    Without a twist the real ones 1, √2 cos G·r, √2 sin G·r; with one e^{i(G + θ)·r}. Where the last shell is
    only partly filled a `UserWarning` names the degeneracy.

    **Arguments:**

    - `lattice`: of the supercell.
    - `orbitals`: their number.
    - `twist`: angles in radians, one for each cell vector.

    Raises `ValueError` if the number is not positive.
    """
    if orbitals < 1:
        raise ValueError(f"the number of plane waves must be positive, got {orbitals}")
    angles = checked_twist(twist, lattice.dim)
    offset = np.array(angles) @ lattice.reciprocal / (2 * np.pi)
    # The sphere that holds enough vectors for any twist, grown until the next shell is in it too.
    cutoff = float(np.linalg.norm(Lattice(lattice.reciprocal).reduced[-1]))
    while True:
        waves = PlaneWaves(lattice, cutoff)
        lengths = np.linalg.norm(waves.signed_integers @ lattice.reciprocal + offset, axis=1)
        order = np.lexsort((np.arange(waves.size), np.round(lengths / cutoff, 9)))
        complete = lengths[order] < cutoff - float(np.linalg.norm(offset))
        if waves.size > orbitals and np.all(complete[: orbitals + 1]):
            break
        cutoff *= 1.5
    levels = np.round(lengths[order] / cutoff, 9)
    if levels[orbitals] == levels[orbitals - 1]:
        shell = np.flatnonzero(levels == levels[orbitals])
        warnings.warn(
            f"open shell: {orbitals} electrons of one spin fill {orbitals - shell[0]} of {len(shell)} "
            f"degenerate plane waves; {shell[0]} or {shell[-1] + 1} electrons would close the shell. "
            "The first members are taken.",
            stacklevel=2,
        )
    chosen = order[:orbitals]
    needed = PlaneWaves(lattice, float(lengths[chosen].max() + np.linalg.norm(offset)) * (1 + 1e-9))
    table = np.eye(waves.size)[:, chosen]
    if any(angles):
        table = from_exponentials(table.astype(np.complex128))
    return ExpandedOrbitals(needed, table[: needed.size], twist)
