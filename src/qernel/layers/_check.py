from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array

from qernel.precision import Products

_PRECISIONS = get_args(Products)


def check_sizes(owner: str, **sizes: int) -> None:
    """Raises ValueError, naming `owner` and the size, unless every size is a positive integer."""
    for name, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1:
            raise ValueError(f"{owner}: {name} must be a positive integer, got {size!r}.")


def check_dtype(owner: str, dtype: DTypeLike) -> np.dtype:
    """The real floating dtype asked for; ValueError if JAX would silently give another one."""
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
    """The name of a matrix-product precision; ValueError if there is none."""
    if precision not in _PRECISIONS:
        raise ValueError(f"{owner}: precision must be one of {', '.join(_PRECISIONS)}, got {precision!r}.")
    return precision


def check_width(owner: str, what: str, array: Array, size: int) -> None:
    """Raises ValueError if the last axis of `array` is not `size` long (shapes are known while tracing)."""
    if array.ndim == 0 or array.shape[-1] != size:
        raise ValueError(f"{owner}: built for {what} of size {size}, got an array of shape {array.shape}.")


def along_last(vector: Array, like: Array) -> Array:
    """A vector as an array of the rank and dtype of `like`, so that no rank or dtype promotion is left."""
    return vector.astype(like.dtype).reshape((1,) * (like.ndim - 1) + (-1,))
