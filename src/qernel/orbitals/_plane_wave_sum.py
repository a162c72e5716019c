import functools
import math

import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float

from ._cos_sin import cos_sin


def _waves(r: Float[Array, "electrons dim"], vectors) -> Float[Array, "electrons waves"]:
    turns = jnp.matmul(r, vectors.T / (2 * math.pi), precision=Precision.HIGHEST)
    return jnp.concatenate(cos_sin(turns), axis=1)


def qernel_plane_wave_sum(
    r: Float[Array, "electrons dim"],
    vectors: Float[Array, "half dim"],
    constant: Float[Array, " orbitals"],
    cosine: Float[Array, "half orbitals"],
    sine: Float[Array, "half orbitals"],
) -> Float[Array, "electrons orbitals"]:
    """What `plane_wave_sum` jits under a name of its own."""
    waves = _waves(r, vectors)
    return constant[None] + jnp.matmul(waves, jnp.concatenate([cosine, sine]), precision=Precision.HIGHEST)


# folx recognises a function by the name of its jit; nested in another jit this costs nothing.
_jitted = jax.jit(qernel_plane_wave_sum)


def plane_wave_sum(
    r: Float[Array, "electrons dim"],
    vectors: Float[Array, "half dim"],
    constant: Float[Array, " orbitals"],
    cosine: Float[Array, "half orbitals"],
    sine: Float[Array, "half orbitals"],
) -> Float[Array, "electrons orbitals"]:
    """c₀ + Σ_G c_G cos(G·r_i) + s_G sin(G·r_i), with its own rule in folx's forward Laplacian.

    An orbital of electron i depends on r_i alone. folx's general rule pushes all N·dim tangents through
    every product; this one needs the value, `dim` first and dim(dim + 1)/2 second derivatives, 6 products
    instead of 2N + 2 in two dimensions.
    """
    _register()
    return _jitted(r, vectors, constant, cosine, sine)


@functools.cache
def _register() -> None:
    import folx

    folx.register_function("qernel_plane_wave_sum", _forward_laplacian)


def _forward_laplacian(args, kwargs, sparsity_threshold):
    """The chain rule through φ(r_i), for any dependence of r on folx's inputs."""
    import folx
    from folx.api import FwdJacobian, FwdLaplArray

    del kwargs
    r, vectors, constant, cosine, sine = args
    if not isinstance(r, FwdLaplArray) or any(isinstance(x, FwdLaplArray) for x in args[1:]):
        return folx.forward_laplacian(qernel_plane_wave_sum, sparsity_threshold)(*args)
    dim, orbitals = vectors.shape[1], cosine.shape[1]
    second = [(a, b) for a in range(dim) for b in range(a, dim)]
    g = [vectors[:, a, None] for a in range(dim)]
    # The rows of cos(G·r) and sin(G·r) for φ, ∂_a φ and ∂_a ∂_b φ; independent of the walker.
    first_rows = [g[a] * sine for a in range(dim)], [-g[a] * cosine for a in range(dim)]
    second_rows = [-g[a] * g[b] * cosine for a, b in second], [-g[a] * g[b] * sine for a, b in second]
    table = jnp.concatenate(
        [
            jnp.concatenate([cosine, *first_rows[0], *second_rows[0]], axis=1),
            jnp.concatenate([sine, *first_rows[1], *second_rows[1]], axis=1),
        ]
    )
    waves = _waves(r.x, vectors)
    product = jnp.matmul(waves, table, precision=Precision.HIGHEST)
    parts = (
        jnp.split(product, product.shape[1] // orbitals, axis=1) if orbitals else [product] * (1 + dim + len(second))
    )
    value, slopes, curvatures = parts[0] + constant[None], parts[1 : dim + 1], parts[dim + 1 :]
    tangents = r.jacobian.dense_array
    jacobian, laplacian = jnp.zeros_like(tangents[:, :, :1] * value[None]), jnp.zeros_like(value)
    for a, slope in enumerate(slopes):
        jacobian = jacobian + tangents[:, :, a, None] * slope[None]
        laplacian = laplacian + r.laplacian[:, a, None] * slope
    for (a, b), curvature in zip(second, curvatures, strict=True):
        metric = jnp.sum(tangents[:, :, a] * tangents[:, :, b], axis=0)
        laplacian = laplacian + (1.0 if a == b else 2.0) * metric[:, None] * curvature
    return FwdLaplArray(value, FwdJacobian.from_dense(jacobian), laplacian)
