"""Sets of orbitals of which some are real and some complex, as one array."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Inexact


def stacked(values: Sequence[Inexact[Array, "..."]], axis: int = 0) -> Inexact[Array, "..."]:
    """The arrays along a new axis, all complex if one of them is."""
    kinds = [value.dtype for value in values if jnp.iscomplexobj(value)]
    return jnp.stack([value.astype(kinds[0]) if kinds else value for value in values], axis=axis)
