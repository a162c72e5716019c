"""What is computed how precisely: three policies, and the precision of the matrix products of each."""

import dataclasses
from typing import Any, Literal, get_args

import jax
import numpy as np

Policy = Literal["fast", "mixed", "double"]
Products = Literal["highest", "high", "default", "tf32x3"]


@dataclasses.dataclass(frozen=True)
class Precision:
    """What a policy means.

    - `network`: dtype of parameters, features, orbitals and their derivatives, and of the walkers.
    - `products`: precision of the network's matrix products, see
      [`product_precision`][qernel.precision.product_precision].
    - `determinants`: dtype of the inverse matrices, of their products with the derivatives and of the sums over
      electrons in the kinetic energy.

    Under every policy, plane-wave phases and distances are products of full precision, and means, Gram matrix and solve
    are of the widest dtype enabled: float64 in training.
    """

    network: str
    products: Products
    determinants: str

    def wide(self, array: Any) -> Any:
        """An array of the network at the precision of the determinants (or of the widest dtype enabled)."""
        wider = np.promote_types(array.dtype, np.dtype(self.determinants))
        return array.astype(jax.dtypes.canonicalize_dtype(wider))


_POLICIES = {
    "fast": Precision("float32", "tf32x3", "float32"),
    "mixed": Precision("float32", "highest", "float64"),
    "double": Precision("float64", "highest", "float64"),
}


def precision(policy: str) -> Precision:
    r"""What one of the policies means.

    | | network | its products on a GPU | determinants, kinetic energy | means, Gram matrix, solve |
    |---|---|---|---|---|
    | `fast` | float32 | three TF32 products | float32 | float64 |
    | `mixed` | float32 | float32 | float64 | float64 |
    | `double` | float64 | float64 | float64 | float64 |

    **Raises:** `ValueError` for another name.
    """
    if policy not in _POLICIES:
        raise ValueError(f"precision must be one of {', '.join(get_args(Policy))}, got {policy!r}")
    return _POLICIES[policy]


def product_precision(name: str) -> Any:
    """What `jax.numpy.matmul` takes for the name of a precision of products.

    `highest`, `high` and `default` are JAX's own; on an NVIDIA GPU true float32, one TF32 product, and the backend's
    choice. `tf32x3` is three TF32 products whose sum has about the accuracy of float32 at a multiple of its rate, where
    the backend has them, and `highest` elsewhere.
    """
    if name != "tf32x3":
        return name
    if jax.default_backend() in ("gpu", "cuda"):
        return jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    return "highest"
