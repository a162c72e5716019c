"""Jets through the operations that layers are made of: the product and chain rules to second order."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qernel.precision import product_precision

from ._jet import Jet


def linear(
    x: Jet,
    weight: Float[Array, "features outputs"],
    bias: Float[Array, " outputs"] | None = None,
    *,
    precision: str = "highest",
) -> Jet:
    r"""Multiply by a matrix, $f W + b$: three products, of the value, the Jacobian and the Laplacian.

    **Arguments:** `weight` W and `bias` b, constants; `precision`, that of the products, a
    [`Products`][qernel.precision.Products].
    """
    weight = weight.astype(x.value.dtype)
    products = product_precision(precision)
    value, jacobian, laplacian = (
        jnp.matmul(part, weight, precision=products) for part in (x.value, x.jacobian, x.laplacian)
    )
    if bias is not None:
        value = value + bias.astype(value.dtype)[None]
    return Jet(value, jacobian, laplacian, x.own)


def scale_and_shift(x: Jet, scale: Float[Array, " features"], shift: Float[Array, " features"]) -> Jet:
    r"""Scale and shift each feature by constants, $s_a f_{ia} + t_a$."""
    scale, shift = (part.astype(x.value.dtype)[None] for part in (scale, shift))
    return Jet(x.value * scale + shift, x.jacobian * scale[None], x.laplacian * scale, x.own)


def constant_features(x: Jet, features: Float[Array, "electrons constants"]) -> Jet:
    """Append features that do not depend on the positions to those of `x`."""
    n, coordinates, _ = x.jacobian.shape
    zeros = jnp.zeros_like(features)
    return Jet(
        jnp.concatenate([x.value, features], axis=-1),
        jnp.concatenate([x.jacobian, jnp.zeros((n, coordinates, features.shape[1]), features.dtype)], axis=-1),
        jnp.concatenate([x.laplacian, zeros], axis=-1),
        x.own,
    )


def add(a: Jet, b: Jet) -> Jet:
    """Add two jets; the sum has `own` directions if both have."""
    if (a.own is None) != (b.own is None):
        a, b = a.dense(), b.dense()
    return Jet(a.value + b.value, a.jacobian + b.jacobian, a.laplacian + b.laplacian, a.own)


def multiply(a: Jet, b: Jet) -> Jet:
    r"""Multiply two jets, $\nabla^2(fg) = g\nabla^2 f + f\nabla^2 g + 2\nabla f\cdot\nabla g$.

    Features are multiplied one by one; a jet of one feature multiplies all of the other.
    """
    if (a.own is None) != (b.own is None):
        a, b = a.dense(), b.dense()
    return Jet(
        a.value * b.value,
        a.jacobian * b.value[:, None] + a.value[:, None] * b.jacobian,
        a.laplacian * b.value + a.value * b.laplacian + 2 * jnp.sum(a.jacobian * b.jacobian, axis=1),
        a.own,
    )


def elementwise(function: Callable[[Array], Array], x: Jet) -> Jet:
    r"""Apply a scalar function to every feature, with $\nabla^2 g(f) = g'\nabla^2 f + g''|\nabla f|^2$."""
    ones = jnp.ones_like(x.value)
    value = function(x.value)
    first, second = jax.jvp(lambda v: jax.jvp(function, (v,), (ones,))[1], (x.value,), (ones,))
    return Jet(
        value,
        first[:, None] * x.jacobian,
        first * x.laplacian + second * jnp.sum(x.jacobian**2, axis=1),
        x.own,
    )


def sum_features(x: Jet) -> Jet:
    """Sum over features, as one feature."""
    return x.map(lambda part: jnp.sum(part, axis=-1, keepdims=True))


def softmax(x: Jet) -> Jet:
    r"""Softmax over features, $p = \mathrm{softmax}(f)$: with $c_k = \partial_k f - \langle\partial_k f\rangle_p$,

    $$ \partial_k p = p\,c_k, \qquad
       \nabla^2 p = p\,\bigl(s - \langle s\rangle_p\bigr), \qquad s = \nabla^2 f + \textstyle\sum_k c_k^2 . $$
    """
    p = jax.nn.softmax(x.value, axis=-1)
    weights = p[:, None]
    centred = x.jacobian - jnp.sum(weights * x.jacobian, axis=-1, keepdims=True)
    square = x.laplacian + jnp.sum(centred**2, axis=1)
    return Jet(p, weights * centred, p * (square - jnp.sum(p * square, axis=-1, keepdims=True)), x.own)
