import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from qernel.propagation import Jet, scale_and_shift

from ._check import along_last, check_dtype, check_sizes, check_width
from ._start import constant


class RMSNorm(eqx.Module):
    r"""Root-mean-square normalisation of the last axis,

    $$y_f = g_f\, x_f \Big/ \sqrt{\tfrac1F \sum_{f'} x_{f'}^2 + \epsilon} ,$$

    with a trainable gain $g$ that starts at one.

    **Arguments:**

    - `features`: F, the width of the input and of the output.
    - `epsilon`: ε, which keeps the layer smooth at $x = 0$. The default is small against
      the square of features of order one, and large against its rounding in float32.
    - `dtype`: of the parameters.

    **Shapes:** `(..., features) -> (..., features)`.

    **Raises:** `ValueError` if `features` or `epsilon` is not positive, or the input has another width.

    **Source:** arXiv:1910.07467.
    """

    gain: Float[Array, " features"]
    features: int = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)

    def __init__(self, features: int, *, epsilon: float = 1e-6, dtype: DTypeLike = jnp.float32):
        _check_norm("RMSNorm", features, epsilon)
        self.gain = constant(1.0, (features,), check_dtype("RMSNorm", dtype))
        self.features = features
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
        check_width("RMSNorm", "features", x, self.features)
        with jax.named_scope("qernel.layers.RMSNorm"):
            return _unit(x, self.epsilon) * along_last(self.gain, x)

    def propagate(self, x: Jet) -> Jet:
        """Apply the layer to a [`Jet`][qernel.propagation.Jet], features with their first and second derivatives."""
        check_width("RMSNorm", "features", x.value, self.features)
        return scale_and_shift(_unit_jet(x, self.epsilon), self.gain, jnp.zeros_like(self.gain))


class LayerNorm(eqx.Module):
    r"""Layer normalisation of the last axis,

    $$y_f = g_f\, \frac{x_f - \bar x}{\sqrt{\tfrac1F \sum_{f'} (x_{f'} - \bar x)^2 + \epsilon}} + b_f ,
    \qquad \bar x = \tfrac1F \sum_f x_f ,$$

    with trainable gain $g$ (starts at one) and bias $b$ (starts at zero). [`RMSNorm`][qernel.layers.RMSNorm] has fewer
    operations.

    **Arguments:**

    - `features`: F, the width of the input and of the output.
    - `epsilon`: ε, which keeps the layer smooth where all features are equal. The default is small against
      the square of features of order one, and large against its rounding in float32.
    - `dtype`: of the parameters.

    **Shapes:** `(..., features) -> (..., features)`.

    **Raises:** `ValueError` if `features` or `epsilon` is not positive, or the input has another width.

    **Source:** arXiv:1607.06450.
    """

    gain: Float[Array, " features"]
    bias: Float[Array, " features"]
    features: int = eqx.field(static=True)
    epsilon: float = eqx.field(static=True)

    def __init__(self, features: int, *, epsilon: float = 1e-6, dtype: DTypeLike = jnp.float32):
        _check_norm("LayerNorm", features, epsilon)
        self.gain = constant(1.0, (features,), check_dtype("LayerNorm", dtype))
        self.bias = constant(0.0, (features,), check_dtype("LayerNorm", dtype))
        self.features = features
        self.epsilon = epsilon

    def __call__(self, x: Float[Array, "*batch features"]) -> Float[Array, "*batch features"]:
        check_width("LayerNorm", "features", x, self.features)
        with jax.named_scope("qernel.layers.LayerNorm"):
            centred = x - jnp.mean(x, axis=-1, keepdims=True)
            return _unit(centred, self.epsilon) * along_last(self.gain, x) + along_last(self.bias, x)

    def propagate(self, x: Jet) -> Jet:
        """Apply the layer to a [`Jet`][qernel.propagation.Jet], features with their first and second derivatives."""
        check_width("LayerNorm", "features", x.value, self.features)
        centred = x.map(lambda part: part - jnp.mean(part, axis=-1, keepdims=True))
        return scale_and_shift(_unit_jet(centred, self.epsilon), self.gain, self.bias)


def _check_norm(owner: str, features: int, epsilon: float) -> None:
    check_sizes(owner, features=features)
    if not epsilon > 0:
        raise ValueError(f"{owner}: epsilon must be positive (it keeps the layer smooth at zero), got {epsilon}.")


def _unit(x: Float[Array, "*batch features"], epsilon: float) -> Float[Array, "*batch features"]:
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + epsilon)


def _unit_jet(x: Jet, epsilon: float) -> Jet:
    r"""Normalise each row of a jet: $u = s x$ with $s = (m + \epsilon)^{-1/2}$ and its mean square m."""
    size = x.value.shape[-1]
    row = lambda part: jnp.sum(part, axis=-1, keepdims=True) / size
    s = jax.lax.rsqrt(row(x.value**2) + epsilon)
    # (electrons, coordinates, 1)
    dot = lambda a, b: jnp.matmul(a, b[..., None], precision="highest") / size
    slope = -(s**3)[:, None] * dot(x.jacobian, x.value)
    curvature = -(s**3) * row(jnp.sum(x.jacobian**2, axis=1) + x.value * x.laplacian)
    curvature = curvature + 3 / s * jnp.sum(slope**2, axis=1)
    return Jet(
        s * x.value,
        s[:, None] * x.jacobian + slope * x.value[:, None],
        s * x.laplacian + curvature * x.value + 2 * jnp.sum(slope * x.jacobian, axis=1),
        x.own,
    )
