"""Weights of the Hamiltonians in one step for all of them."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def balanced_weights(
    targets: Float[Array, "hamiltonians walkers parts"], valid: Bool[Array, "hamiltonians walkers"]
) -> Float[Array, " hamiltonians"]:
    r"""Weights $a_h \propto 1/\sigma_h$ of mean one; σ is the spread of the centred `targets`, zero where not valid."""
    count = jnp.maximum(jnp.sum(valid, axis=1), 1).astype(targets.dtype)
    spread = jnp.sqrt(jnp.sum(targets**2, axis=(1, 2)) / count)
    # A nearly exact eigenstate must not take over: no weight above that of a tenth of the mean spread.
    # Where no Hamiltonian has any spread: a number so small that it never matters, and whose inverse squared is finite.
    floor = jnp.maximum(0.1 * jnp.mean(spread), jnp.finfo(targets.dtype).tiny ** 0.25)
    weight = 1 / jnp.maximum(spread, floor)
    return weight / jnp.mean(weight)


def centred(
    values: Float[Array, "hamiltonians walkers parts"], valid: Bool[Array, "hamiltonians walkers"]
) -> Float[Array, "hamiltonians walkers parts"]:
    """Subtract each Hamiltonian's mean over the valid walkers; zero at the others."""
    keep = valid[..., None]
    count = jnp.maximum(jnp.sum(keep, axis=1, keepdims=True), 1).astype(values.dtype)
    mean = jnp.sum(jnp.where(keep, values, 0), axis=1, keepdims=True) / count
    return jnp.where(keep, values - mean, 0)
