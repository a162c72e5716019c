"""Blocks of a wavefunction in a periodic cell."""

from typing import Any

from qernel.lattice import Lattice, PeriodicDistance, shells


def periodic_blocks(cell: Lattice, features: Any) -> dict[str, Any]:
    """Embedding, pair factor and distance of a [`qernel`][qernel.ansatz.qernel] in a cell, as its keyword arguments.

    **Arguments:** `features`: an object with `feature_shells` and `pair_shells`, as in the section [ansatz].
    """
    return {
        "embedding": shells(cell, features.feature_shells),
        "pair": shells(cell, features.pair_shells) if features.pair_shells else None,
        "squared_distance": PeriodicDistance(cell),
    }
