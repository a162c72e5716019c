"""Jets through anything: what has no rule of its own goes through folx."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._jet import Jet


def generic(function: Callable[..., Array], *jets: Jet) -> Jet | Array:
    """Propagate jets through any function of features `(electrons, features)`, by folx's general forward Laplacian.

    **Arguments:** `function`, made of ordinary JAX operations; `jets`, one for each of its arguments.

    **Returns:** a jet, or the plain value if it does not depend on the jets.
    """
    # Imported here: most wavefunctions do without.
    import folx
    from folx.api import FwdJacobian, FwdLaplArray

    arguments = []
    for jet in (jet.dense() for jet in jets):
        jacobian = FwdJacobian.from_dense(jnp.moveaxis(jet.jacobian, 1, 0))
        arguments.append(FwdLaplArray(jet.value, jacobian, jet.laplacian))
    # folx itself relies on implicit promotion.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        result = folx.forward_laplacian(function, sparsity_threshold=0, disable_jit=True)(*arguments)
    if not isinstance(result, FwdLaplArray):
        return result
    return Jet(result.x, jnp.moveaxis(result.dense_jacobian, 0, 1), result.laplacian)


def propagate(module: Callable[..., Any], x: Jet, *arguments: Any) -> Any:
    """Apply `module(features, *arguments)` to a jet: by its own method `propagate` if it has one, else by
    [`generic`][qernel.propagation.generic].

    **Returns:** a jet, or the plain value if it does not depend on the jet.
    """
    if hasattr(module, "propagate"):
        return module.propagate(x, *arguments)
    return generic(lambda value: module(value, *arguments), x)
