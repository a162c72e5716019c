import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from ._check import check_width


class PeriodicEmbedding(eqx.Module):
    r"""Plane-wave features of each position, $[\cos(G_1\cdot r), \ldots, \cos(G_n\cdot r), \sin(G_1\cdot r),
    \ldots, \sin(G_n\cdot r)]$.

    Periodic under every translation $T$ with $G_j \cdot T \in 2\pi\mathbb Z$, and smooth.

    **Arguments:**

    - `reciprocal_vectors`: the vectors $G_j$ as rows, in the inverse of the length unit of the positions; constants,
      not parameters. Give one of each pair $\pm G$ ([`shells`][qernel.lattice.shells] does): the other adds nothing.

    **Shapes:** `(..., dim) -> (..., 2 n)`; `features` is `2 n`.

    **Raises:** `ValueError` if there is no vector, the vectors are not a finite `(n, dim)` array, or the
    positions have another dimension.

    **Example:**

    ```python
    import jax.numpy as jnp
    from qernel.lattice import shells, triangular
    from qernel.layers import PeriodicEmbedding

    embedding = PeriodicEmbedding(shells(triangular(1.0), 1))
    assert embedding(jnp.zeros((6, 2))).shape == (6, embedding.features) == (6, 6)
    ```
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
        """Number of coordinates of a position."""
        return len(self.reciprocal_vectors[0])

    @property
    def features(self) -> int:
        """Number of features of a position, two for each vector."""
        return 2 * len(self.reciprocal_vectors)

    def __call__(self, r: Float[Array, "*electrons dim"]) -> Float[Array, "*electrons features"]:
        check_width("PeriodicEmbedding", "positions", r, self.dim)
        with jax.named_scope("qernel.layers.PeriodicEmbedding"):
            vectors = jnp.asarray(np.asarray(self.reciprocal_vectors).T, r.dtype)
            # a phase is wanted to its last digit: a TF32 product here would move every electron
            phase = jnp.matmul(r, vectors, precision="highest")
            return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)
