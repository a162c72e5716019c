"""From the Hamiltonian's parameters to the vector that conditions every layer."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.layers import MLP


class Conditioner(eqx.Module):
    r"""Standardises the Hamiltonian's parameters and embeds them: $c = \mathrm{MLP}((\lambda - \lambda_0)/\Delta)$.

    λ₀ and Δ are the centre and half-width of the family's range. Of a parameter that is positive throughout and spans a
    factor of two or more, a frequency or a density parameter, the logarithm is standardised: wavefunctions follow its
    relative change. A parameter that does not vary over the family carries no information and is left out; of one
    Hamiltonian without parameters nothing is left. Integers are taken as floating-point numbers. The standardised
    parameters themselves are appended to `c`, so that a layer can use them directly. It is evaluated once per
    Hamiltonian, not once per walker: it does not depend on the electrons.

    **Arguments:** `family_parameters`, the family's parameter pytree with a leading axis over Hamiltonians.

    **Raises:** `ValueError` for complex parameters.
    """

    mlp: MLP
    centre: tuple[float, ...] = eqx.field(static=True)
    half_width: tuple[float, ...] = eqx.field(static=True)
    varying: tuple[int, ...] = eqx.field(static=True)
    logarithmic: tuple[bool, ...] = eqx.field(static=True)
    dtype: np.dtype = eqx.field(static=True)

    def __init__(self, family_parameters: Any, size: int, *, key: PRNGKeyArray, dtype: DTypeLike = jnp.float32):
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(family_parameters)]
        if any(not shape or shape[0] != shapes[0][0] or not shape[0] for shape in shapes):
            raise ValueError(
                f"the parameters of a family need one leading axis of at least one Hamiltonian, got the shapes {shapes}"
            )
        grid = np.zeros((1, 0))
        if shapes:
            grid = np.asarray(jax.vmap(_flatten)(family_parameters), np.float64)
        low, high = grid.min(axis=0), grid.max(axis=0)
        self.varying = tuple(np.flatnonzero(high > low).tolist())
        low, high = low[list(self.varying)], high[list(self.varying)]
        scales = (low > 0) & (high >= 2 * low)
        self.logarithmic = tuple(scales.tolist())
        low, high = (np.where(scales, np.log(np.where(scales, ends, 1.0)), ends) for ends in (low, high))
        self.centre = tuple(((low + high) / 2).tolist())
        self.half_width = tuple(((high - low) / 2).tolist())
        self.dtype = jnp.dtype(dtype)
        self.mlp = MLP((max(len(self.varying), 1), size, size), key=key, dtype=dtype)

    @property
    def size(self) -> int:
        """Length of the condition vector."""
        return self.mlp.out_size + max(len(self.varying), 1)

    def __call__(self, parameters: Any) -> Float[Array, " condition"]:
        """The condition vector of one Hamiltonian."""
        dtype = self.dtype
        if self.varying:
            # Subtract at the parameters' own precision, then cast.
            values = _flatten(parameters)[np.array(self.varying)]
            centre, half_width = (jnp.asarray(x, values.dtype) for x in (self.centre, self.half_width))
            scales = np.array(self.logarithmic)
            lowest = jnp.where(scales, centre - half_width, 0)
            ratio = jnp.where(scales, values, 1) * jnp.exp(-lowest)
            values = jnp.where(scales, lowest + jnp.where(ratio < 1, ratio - 1, jnp.log(jnp.maximum(ratio, 1))), values)
            standard = ((values - centre) / half_width).astype(dtype)
        else:
            standard = jnp.zeros((1,), dtype)
        return jnp.concatenate([self.mlp(standard), standard])


def _flatten(parameters: Any) -> Float[Array, " parameters"]:
    leaves = [jnp.ravel(leaf) for leaf in jax.tree.leaves(parameters)]
    if any(jnp.iscomplexobj(leaf) for leaf in leaves):
        raise ValueError("the parameters of a Hamiltonian must be real: give real and imaginary parts as two of them")
    floating = [leaf.dtype for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
    # Standardised integers are none: differences of a few units would all round to 0.
    dtype = jnp.result_type(*floating) if floating else jnp.dtype(float)
    return jnp.concatenate([leaf.astype(dtype) for leaf in leaves])
