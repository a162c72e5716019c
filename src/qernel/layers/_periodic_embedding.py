from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from ._check import check_width
from ._embedding import AbstractEmbedding
from ._pair_bias import PairBias
from ._start import constant


class PeriodicEmbedding(AbstractEmbedding):
    r"""Plane-wave features of each position, $[\cos(G_1\cdot r), \ldots, \cos(G_n\cdot r), \sin(G_1\cdot r),
    \ldots, \sin(G_n\cdot r)]$.

    Periodic under every translation $T$ with $G_j \cdot T \in 2\pi\mathbb Z$, and smooth. The `reciprocal_vectors` are
    rows, in the inverse of the length unit of `r`; they are constants, not parameters. Give one of each pair
    $\pm G$: the other adds nothing.

    **Shapes:** `(..., dim) -> (..., 2 n)`; `features` is `2 n`.

    **Raises:** `ValueError` if there is no vector, the vectors are not a finite `(n, dim)` array, or the
    positions have another dimension.
    """

    reciprocal_vectors: tuple[tuple[float, ...], ...] = eqx.field(static=True)

    def __init__(self, reciprocal_vectors: ArrayLike):
        vectors = np.asarray(reciprocal_vectors, np.float64)
        if vectors.ndim != 2 or 0 in vectors.shape or not np.isfinite(vectors).all():
            raise ValueError(
                "PeriodicEmbedding: reciprocal_vectors must be a finite (n, dim) array with n >= 1, "
                f"got shape {vectors.shape}."
            )
        self.reciprocal_vectors = tuple(tuple(row) for row in vectors.tolist())

    @property
    def dim(self) -> int:
        return len(self.reciprocal_vectors[0])

    @property
    def features(self) -> int:
        return 2 * len(self.reciprocal_vectors)

    def pair_bias(self, heads: int, dtype: DTypeLike) -> PairBias:
        return PairBias(constant(0.0, (heads, self.features), np.dtype(dtype)))

    def __call__(
        self, r: Float[Array, "*electrons dim"], parameters: Any = None
    ) -> Float[Array, "*electrons features"]:
        del parameters
        check_width("PeriodicEmbedding", "positions", r, self.dim)
        with jax.named_scope("qernel.layers.PeriodicEmbedding"):
            vectors = jnp.asarray(np.asarray(self.reciprocal_vectors).T, r.dtype)
            # a phase is wanted to its last digit: a TF32 product here would move every electron
            phase = jnp.matmul(r, vectors, precision="highest")
            return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)
