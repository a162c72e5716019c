from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from qernel.parameters import AxisNumbers, CheckedAxes, along_axes, checked_axes

from ._check import check_sizes, check_width
from ._embedding import AbstractEmbedding
from ._open_pair_bias import OpenPairBias
from ._rational_waves import rational_waves
from ._start import constant


class OpenEmbedding(AbstractEmbedding):
    r"""Features of each position without a cell, along each axis a

    $$ \bigl[x_a,\ \cos n\theta_a,\ \sin n\theta_a\bigr], \qquad
       x_a = \frac{r_a}{\ell_a(\lambda)}, \quad \theta_a = \arctan x_a, \quad n = 1, \ldots, m : $$

    the coordinate in units of a length, and rational functions of it which tell positions within a few lengths apart
    and are smooth and bounded everywhere. So a network sees an electron far outside as one that is far outside, not
    as anything new, and its features grow no faster than the distance.

    **Arguments:**

    - `dim`: number of dimensions.
    - `length`: ℓ, the size of the system along each axis (of a trap, $1/\sqrt{\omega_a}$): a number, a function of the
      Hamiltonian's parameters that returns one or an array with one for each axis, or a sequence of these. With a
      length that follows the parameters the network sees all members of a family at the same size.
    - `harmonics`: m.

    **Shapes:** `(..., dim) -> (..., features)`, `features` is `dim (1 + 2 m)`, all $x_a$ first.

    **Raises:** `ValueError` for sizes that are not positive integers, a length that is not positive, positions or
    lengths of another dimension.

    **Source:** rational functions on the whole line: J. P. Boyd, J. Comput. Phys. 69, 112 (1987).
    """

    size: int = eqx.field(static=True)
    length: CheckedAxes = eqx.field(static=True)
    harmonics: int = eqx.field(static=True)

    def __init__(self, dim: int, length: AxisNumbers, *, harmonics: int = 2):
        check_sizes("OpenEmbedding", dim=dim, harmonics=harmonics)
        self.size = dim
        self.length = checked_axes("length of the features", length)
        self.harmonics = harmonics

    @property
    def dim(self) -> int:
        return self.size

    @property
    def features(self) -> int:
        return self.dim * (1 + 2 * self.harmonics)

    def pair_bias(self, heads: int, dtype: DTypeLike) -> OpenPairBias:
        weights = constant(0.0, (heads, 2 * self.dim * self.harmonics), np.dtype(dtype))
        return OpenPairBias(weights, self.dim, self.harmonics)

    def __call__(
        self, r: Float[Array, "*electrons dim"], parameters: Any = None
    ) -> Float[Array, "*electrons features"]:
        check_width("OpenEmbedding", "positions", r, self.dim)
        with jax.named_scope("qernel.layers.OpenEmbedding"):
            length = along_axes("length of the features", self.length, parameters, self.dim, r.dtype)
            x = r / length.reshape((1,) * (r.ndim - 1) + (-1,))
            waves = [wave.reshape(*r.shape[:-1], -1) for wave in rational_waves(x, self.harmonics)]
            return jnp.concatenate([x, *waves], axis=-1)
