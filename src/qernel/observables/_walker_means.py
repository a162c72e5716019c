"""Averages of a function of one configuration over recorded samples."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.compilation import compiled
from qernel.hamiltonian import Hamiltonian
from qernel.lattice import Lattice

from ._estimate import WalkerMeans


def walker_means(
    observe: Callable[..., Any],
    samples: Float[np.ndarray | Array, "..."],
    *,
    key: PRNGKeyArray | None = None,
) -> Any:
    """The mean of `observe(r)` along the chain of each walker: any observable of one's own.

    **Arguments:**

    - `observe`: takes one configuration `"electrons dim"`, at the dtype of the samples, and returns an array or a
      pytree of arrays. With a `key`, `observe(r, key)`: the keys are folded with the record and the walker. A
      `jax.tree_util.Partial` of a function of a module compiles once for all calls with the same shapes.
    - `samples`: positions of one Hamiltonian, `"walkers records electrons dim"`; a record that is not finite is
      left out.

    **Returns:** a [`WalkerMeans`][qernel.observables.WalkerMeans] for each array; sums are in float64.

    **Raises:** `ValueError` if the samples do not have four axes.
    """
    if samples.ndim != 4:
        raise ValueError(
            f"samples of one Hamiltonian have the shape (walkers, records, electrons, dim), got {samples.shape}"
        )
    # Only here: the caller's setting of the precision stays as it is.
    with jax.enable_x64(True):
        sums, counts = jax.tree.map(np.asarray, _sums(observe, jnp.asarray(samples), key))
    divide = lambda x: x / np.maximum(counts, 1).reshape(-1, *(1,) * (x.ndim - 1))
    return jax.tree.map(lambda x: WalkerMeans(divide(x), counts.astype(np.int64)), sums)


@compiled
def _sums(observe, samples, key):
    def measure(r, number):
        finite = jnp.all(jnp.isfinite(r), axis=(1, 2))
        r = jnp.where(jnp.broadcast_to(finite[:, None, None], r.shape), r, 0)
        if key is None:
            values = jax.vmap(observe)(r)
        else:
            of_record = jax.random.fold_in(key, number)
            keys = jax.vmap(lambda walker: jax.random.fold_in(of_record, walker))(jnp.arange(len(r)))
            values = jax.vmap(observe)(r, keys)

        def masked(x):
            wide = x.astype(jnp.complex128 if jnp.iscomplexobj(x) else jnp.float64)
            return jnp.where(jnp.broadcast_to(finite.reshape(-1, *(1,) * (x.ndim - 1)), x.shape), wide, 0)

        return jax.tree.map(masked, values), finite.astype(jnp.int32)

    records, numbers = jnp.moveaxis(samples, 1, 0), jnp.arange(samples.shape[1])
    zero = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(measure, records[0], numbers[0]))
    return jax.lax.scan(lambda sums, x: (jax.tree.map(jnp.add, sums, measure(*x)), None), zero, (records, numbers))[0]


def in_float64(
    samples: Float[np.ndarray | Array, "walkers records electrons dim"],
) -> Float[np.ndarray, "walkers records electrons dim"]:
    """Samples for what costs next to nothing in double precision."""
    return np.asarray(samples, np.float64)


def periodic_cell(hamiltonian: Hamiltonian) -> Lattice:
    """The cell of a periodic Hamiltonian.

    **Raises:** `ValueError` with open boundaries.
    """
    if hamiltonian.cell is None:
        raise ValueError("this observable belongs to a periodic cell, and the Hamiltonian has open boundaries")
    return hamiltonian.cell
