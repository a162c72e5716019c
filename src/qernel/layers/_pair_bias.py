import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qernel.propagation import EveryCoordinate, Jet, PairJet

from ._check import check_width
from ._embedding import AbstractPairBias


class PairBias(AbstractPairBias):
    r"""Attention logits that know the distance: $b_{hij} = \sum_G A_{hG}\cos G\cdot r_{ij} + B_{hG}\sin G\cdot r_{ij}$.

    Smooth and periodic; one linear map a block.

    **Arguments:** `weights`, [A, B] side by side; zeros are a start without any bias.

    **Raises:** `ValueError` for other features than one cosine and one sine for each wave.
    """

    weights: Float[Array, "heads waves2"]

    def __check_init__(self):
        shape = self.weights.shape
        if len(shape) != 2 or 0 in shape or shape[1] % 2:
            raise ValueError(
                f"PairBias: weights must be (heads, 2 waves) with at least one of each, got an array of shape {shape}."
            )

    def __call__(self, waves: Float[Array, "electrons waves2"]) -> Float[Array, "heads electrons electrons"]:
        r"""Bias of every pair from the features $[\cos G\cdot r_i, \sin G\cdot r_i]$."""
        check_width("PairBias", "features", waves, self.weights.shape[1])
        with jax.named_scope("qernel.layers.PairBias"):
            return self._product(waves, waves)

    def propagate(self, waves: Jet) -> PairJet:
        r"""The bias with derivatives; it depends on $r_i - r_j$ alone, so that $\partial_j b = -\partial_i b$.

        Only of `waves` that are the features of the electrons' own positions.
        """
        n, dim, features = waves.jacobian.shape
        slope = self._product(waves.jacobian.reshape(n * dim, features), waves.value).reshape(-1, n, dim, n)
        # The Laplacian in one of the electrons is as large as that in the other; b_ii is constant.
        others = 1 - jnp.eye(n, dtype=slope.dtype)[None]
        curvature = 2 * others * self._product(waves.value, waves.laplacian)
        return PairJet(self(waves.value), slope, -slope, curvature, waves.own or EveryCoordinate())

    def _product(self, left: Float[Array, "left waves2"], right: Float[Array, "right waves2"]) -> Array:
        """cos(a-b) = cos a cos b + sin a sin b and sin(a-b) = sin a cos b - cos a sin b, as one product a head."""
        cos, sin = jnp.split(left[None], 2, axis=-1)
        even, odd = jnp.split(self.weights.astype(left.dtype)[:, None], 2, axis=-1)
        rotated = jnp.concatenate([even * cos + odd * sin, even * sin - odd * cos], axis=-1)
        return jnp.matmul(rotated, right.T, precision="highest")
