"""Functions of one walker at all walkers, so many at once as memory or a cache holds."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, PyTree


def sharing_devices(positions: Array) -> int:
    """How many devices share the walkers of a Hamiltonian, the second axis; for chunks of so many on each of them."""
    sharding = positions.sharding
    if not isinstance(sharding, NamedSharding) or len(sharding.spec) < 2 or sharding.spec[1] is None:
        return 1
    return math.prod(sharding.mesh.shape[axis] for axis in np.atleast_1d(sharding.spec[1]))


def map_walkers(
    function: Callable[..., Any], parameters: PyTree, walkers: tuple[PyTree, ...], count: int, chunk: int | None
) -> Any:
    """`function(parameters of one Hamiltonian, *one walker's)` of all walkers of all Hamiltonians.

    The leaves of `walkers` have the leading axes (Hamiltonian, `count` walkers). At most `chunk` walkers of each
    Hamiltonian are done at once, in equal chunks; where `count` is no multiple, some walkers are done twice to fill
    the last one. Neighbours go to different chunks: devices that share the walkers, neighbours to each, then have
    their part of every chunk, if `chunk` is a multiple of their number, and none waits for another.
    """

    def of_one_hamiltonian(parameters, walkers):
        if chunk is None or chunk >= count:
            return jax.vmap(lambda one: function(parameters, *one))(walkers)
        chunks = -(-count // chunk)
        size = -(-count // chunks)

        def split(leaf):
            filled = jnp.concatenate([leaf, leaf[: chunks * size - count]])
            return jnp.swapaxes(filled.reshape(size, chunks, *leaf.shape[1:]), 0, 1)

        def joined(leaf):
            return jnp.swapaxes(leaf, 0, 1).reshape(chunks * size, *leaf.shape[2:])[:count]

        of_chunk = jax.vmap(lambda one: function(parameters, *one))
        return jax.tree.map(joined, jax.lax.map(of_chunk, jax.tree.map(split, walkers)))

    if jax.tree.leaves(walkers)[0].shape[0] > 1:
        return jax.vmap(of_one_hamiltonian)(parameters, walkers)
    # Without the axis of length one: XLA's CPU backend sums products of arrays with such an axis at a twentieth of its
    # speed.
    only = of_one_hamiltonian(*jax.tree.map(lambda leaf: leaf[0], (parameters, walkers)))
    return jax.tree.map(lambda leaf: leaf[None], only)
