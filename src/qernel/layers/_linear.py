import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.precision import product_precision
from qernel.propagation import Jet, linear

from ._check import along_last, check_dtype, check_precision, check_sizes, check_width
from ._start import constant, normal


class Linear(eqx.Module):
    r"""An affine map of the last axis, $y = x W + b$.

    Like every layer here, it computes at the dtype of its input, whatever the dtype of its parameters.

    **Arguments:**

    - `in_size`, `out_size`: the weight $W$ has shape `(in_size, out_size)`.
    - `bias`: whether there is a $b$.
    - `scale`: $W$ starts from a normal distribution of standard deviation `scale / sqrt(in_size)` (LeCun), $b$ from
      zero; `scale=0` starts from the zero map.
    - `key`: seeds the initial weights.
    - `dtype`: of the parameters.
    - `precision`: of the matrix products, a [`Products`][qernel.precision.Products]; `"highest"` is true float32 on a
      GPU, not TF32.

    **Shapes:** `(..., in_size) -> (..., out_size)`.

    **Raises:** `ValueError` for a size that is not a positive integer, a negative `scale`, a dtype that is
    not real floating or not enabled, and an input of another width.
    """

    weight: Float[Array, "in_size out_size"]
    bias: Float[Array, " out_size"] | None
    in_size: int = eqx.field(static=True)
    out_size: int = eqx.field(static=True)
    precision: str = eqx.field(static=True)

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        key: PRNGKeyArray,
        bias: bool = True,
        scale: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        precision: str = "highest",
    ):
        check_sizes("Linear", in_size=in_size, out_size=out_size)
        dtype = check_dtype("Linear", dtype)
        if not scale >= 0:
            raise ValueError(f"Linear: scale must not be negative, got {scale}.")
        deviation = scale / math.sqrt(in_size)
        self.weight = normal(key, (in_size, out_size), deviation, dtype)
        self.bias = constant(0.0, (out_size,), dtype) if bias else None
        self.in_size = in_size
        self.out_size = out_size
        self.precision = check_precision("Linear", precision)

    def __call__(self, x: Float[Array, "*batch in_size"]) -> Float[Array, "*batch out_size"]:
        check_width("Linear", "an input", x, self.in_size)
        with jax.named_scope("qernel.layers.Linear"):
            y = jnp.matmul(x, self.weight.astype(x.dtype), precision=product_precision(self.precision))
            return y if self.bias is None else y + along_last(self.bias, y)

    def propagate(self, x: Jet) -> Jet:
        """Apply the layer to a [`Jet`][qernel.propagation.Jet], features with their first and second derivatives."""
        check_width("Linear", "an input", x.value, self.in_size)
        return linear(x, self.weight, self.bias, precision=self.precision)
