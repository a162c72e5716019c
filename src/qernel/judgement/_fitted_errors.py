"""Errors as a weighted fit takes them."""

import numpy as np
from jaxtyping import Float


def fitted_errors(
    errors: Float[np.ndarray, "quantities rows"], values: Float[np.ndarray, "quantities rows"]
) -> Float[np.ndarray, "quantities rows"]:
    """Errors of the values of several quantities, none much smaller than the others of its quantity.

    Monte Carlo errors are themselves uncertain, and those of exact values are zero: none may dominate a fit, nor be
    less than the values' rounding.
    """
    typical, size = np.median(errors, axis=1, keepdims=True), np.max(np.abs(values), axis=1, keepdims=True)
    # Values that are all zero show no rounding of their own.
    rounding = 1e-13 * np.where(size > 0, size, np.max(size))
    # The last term is for nothing but zeros; its inverse can still be squared.
    return np.maximum(errors, np.maximum(0.2 * typical, rounding) + 1e-100)
