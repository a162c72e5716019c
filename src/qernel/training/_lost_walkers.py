"""Walkers from which no walk goes on, put where others of the same member are."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def redraw(
    positions: Float[Array, "hamiltonians walkers electrons dim"],
    lost: Bool[Array, "hamiltonians walkers"],
    usable: Bool[Array, "hamiltonians walkers"],
    step: Int[Array, ""],
) -> tuple[Float[Array, "hamiltonians walkers electrons dim"], Int[Array, " hamiltonians"]]:
    """Put each `lost` walker where a `usable` one of the same Hamiltonian is.

    A walker whose position, or density there, is not finite never moves again: any comparison with NaN rejects. The two
    in one place part within a few moves, since random numbers belong to walkers. With one usable walker for every lost
    one, and at each `step` others, no walker is the source of all.

    **Returns:** positions, and how many were put elsewhere: none where no walker is usable.
    """

    def of_hamiltonian(positions, lost, usable):
        # The k-th usable walker is the first at which so many have been counted: no sort to be compiled.
        counted = jnp.cumsum(usable, dtype=jnp.int32)
        total = counted[-1]
        wanted = (jnp.cumsum(lost, dtype=jnp.int32) - 1 + step.astype(jnp.int32)) % jnp.maximum(total, 1)
        source = jnp.minimum(jnp.searchsorted(counted, wanted + 1), len(lost) - 1)
        moved = lost & (total > 0)
        return jnp.where(moved[:, None, None], positions[source], positions), jnp.sum(moved, dtype=jnp.int32)

    # Rarely any: devices that share the walkers need not gather their positions in every step.
    return jax.lax.cond(
        jnp.any(lost),
        jax.vmap(of_hamiltonian),
        lambda positions, lost, usable: (positions, jnp.zeros(len(positions), jnp.int32)),
        positions,
        lost,
        usable,
    )
