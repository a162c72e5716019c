"""Functions of one walker at all walkers, so many at once as memory or a cache holds."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree


def map_walkers(
    function: Callable[..., Any], parameters: PyTree, walkers: tuple[PyTree, ...], count: int, chunk: int | None
) -> Any:
    """`function(parameters of one Hamiltonian, *one walker's)` of all walkers of all Hamiltonians.

    The leaves of `walkers` have the leading axes (Hamiltonian, `count` walkers). At most `chunk` walkers of each
    Hamiltonian are done at once; in equal chunks where `count` allows it, since a ragged last one would be compiled
    on its own.
    """

    def of_one_hamiltonian(parameters, walkers):
        if chunk is None or chunk >= count:
            return jax.vmap(lambda one: function(parameters, *one))(walkers)
        even = count // -(-count // chunk) if count % -(-count // chunk) == 0 else chunk
        return jax.lax.map(lambda one: function(parameters, *one), walkers, batch_size=even)

    if jax.tree.leaves(walkers)[0].shape[0] > 1:
        return jax.vmap(of_one_hamiltonian)(parameters, walkers)
    # Without the axis of length one: XLA's CPU backend sums products of arrays with such an axis at a twentieth of its
    # speed.
    only = of_one_hamiltonian(*jax.tree.map(lambda leaf: leaf[0], (parameters, walkers)))
    return jax.tree.map(lambda leaf: leaf[None], only)
