"""Numbers, one or one for each axis of space, that may follow the Hamiltonian's parameters."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

ParameterFunction = Callable[[PyTree], Float[Array, ""]]
AxisFunction = Callable[[PyTree], Float[Array, "..."]]

# What a user may give for all axes of space or for each, and what a module keeps of it.
AxisNumbers = float | int | AxisFunction | Sequence[float | int | ParameterFunction] | np.ndarray
CheckedAxes = float | AxisFunction | tuple[float | ParameterFunction, ...]


def as_scalar(value: float | ParameterFunction, parameters: PyTree, dtype: jnp.dtype) -> Float[Array, ""]:
    """A number, or a number computed from the Hamiltonian's parameters, as an array of the given dtype.

    **Raises:** `ValueError` if it is not one real number.
    """
    number = one_real_number(value(parameters) if callable(value) else value, "a prefactor of the Hamiltonian")
    return number.astype(dtype)


def one_real_number(value: Any, name: str) -> Array:
    """The value as an array without axes.

    **Raises:** `ValueError` if it is complex (the imaginary part would be lost) or has axes (it would be broadcast).
    """
    number = jnp.asarray(value)
    if jnp.iscomplexobj(number):
        raise ValueError(f"{name} must be real, got a complex number: a Hamiltonian is Hermitian")
    if number.shape:
        raise ValueError(
            f"{name} must be one number, got the shape {number.shape}: pass the parameters of one Hamiltonian, "
            "and functions of them that return a number"
        )
    return number


def checked_axes(what: str, values: AxisNumbers) -> CheckedAxes:
    """Numbers of the axes of space as a module keeps them: hashable.

    **Arguments:** `what`, their name in the message; `values`, one positive number or function of the parameters for
    all axes, or a sequence with one for each. A single function may also return an array with a number for each axis.

    **Raises:** `ValueError` for a given number that is not positive, or an empty sequence.
    """
    if callable(values):
        return values
    numbers = np.atleast_1d(np.asarray(values, dtype=object)).tolist()
    if not numbers:
        raise ValueError(f"the {what} needs a number for each axis, got none")
    for number in numbers:
        if not callable(number) and not (np.isfinite(number) and number > 0):
            raise ValueError(f"the {what} must be positive, got {number:g}")
    checked = tuple(number if callable(number) else float(number) for number in numbers)
    return checked[0] if np.ndim(values) == 0 else checked  # type: ignore[arg-type]


def along_axes(
    what: str, values: CheckedAxes, parameters: PyTree, dim: int, dtype: jnp.dtype
) -> Float[Array, " {dim}"]:
    """One number for each of `dim` axes, at the given dtype.

    **Arguments:** `what`, their name in the message; `values`, what `checked_axes` returns.

    **Raises:** `ValueError` if there are numbers for another number of axes, or complex ones.
    """
    if isinstance(values, tuple):
        numbers = [value(parameters) if callable(value) else value for value in values]
        found = jnp.stack([one_real_number(number, f"the {what}").astype(dtype) for number in numbers])
    else:
        found = jnp.asarray(values(parameters) if callable(values) else values)
        if jnp.iscomplexobj(found):
            raise ValueError(f"the {what} must be real, got a complex number")
        found = found.astype(dtype)
    if found.ndim > 1 or (found.ndim == 1 and found.shape[0] != dim):
        raise ValueError(f"the {what} must be one number or {dim}, one for each axis, got the shape {found.shape}")
    return jnp.broadcast_to(found, (dim,))
