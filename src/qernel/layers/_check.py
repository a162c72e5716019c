from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array

from qernel.precision import Products

_PRECISIONS = get_args(Products)


def check_sizes(owner: str, **sizes: int) -> None:
    """Refuse sizes that are not positive integers.

    **Raises:** `ValueError` that names `owner` and the size.
    """
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(f"{owner}: {name} must be a positive integer, got {size!r}.")


def check_dtype(owner: str, dtype: DTypeLike) -> np.dtype:
    """Resolve a real floating dtype.

    **Raises:** `ValueError` for any other one, and for one in whose place JAX would silently give float32.
    """
    asked = jnp.dtype(dtype)
    if not jnp.issubdtype(asked, jnp.floating):
        raise ValueError(f"{owner}: dtype must be a real floating type such as float32, got {asked}.")
    if jax.dtypes.canonicalize_dtype(asked) != asked:
        raise ValueError(
            f"{owner}: dtype {asked} needs 64-bit mode: call jax.config.update('jax_enable_x64', True) "
            "at the start of the program, or ask for float32."
        )
    return asked


def check_precision(owner: str, precision: str) -> str:
    """Pass on the name of a matrix-product precision.

    **Raises:** `ValueError` if there is none of this name.
    """
    if precision not in _PRECISIONS:
        raise ValueError(f"{owner}: precision must be one of {', '.join(_PRECISIONS)}, got {precision!r}.")
    return precision


def check_width(owner: str, what: str, array: Array, size: int) -> None:
    """Refuse an array whose last axis is not `size` long; shapes are known while tracing, so a run pays nothing.

    **Raises:** `ValueError` that names `owner` and `what` the array is.
    """
    if array.ndim == 0 or array.shape[-1] != size:
        raise ValueError(f"{owner}: built for {what} of size {size}, got an array of shape {array.shape}.")


def along_last(vector: Array, like: Array) -> Array:
    """Give a vector the rank and dtype of `like`, so that no rank or dtype promotion is left."""
    return vector.astype(like.dtype).reshape((1,) * (like.ndim - 1) + (-1,))
