from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.propagation import Jet, elementwise

from ._linear import Linear


class MLP(eqx.Module):
    r"""A multilayer perceptron, $y = W_L\,\sigma(\cdots\sigma(x W_1 + b_1)\cdots) + b_L$.

    **Arguments:**

    - `sizes`: the widths from input to output; `(2, 32, 32, 1)` has two hidden layers of 32.
    - `activation`: σ, after every layer but the last. It must be twice differentiable for a wavefunction (tanh, silu,
      gelu; not relu: its kinks are missed by the local energy), and one function object for the whole program: a new
      lambda each time compiles anew.
    - `activate_last`: whether it follows the last layer, too.
    - `last_scale`: factor of the initial weights of the last layer; 0 makes a residual branch start as zero.
    - `key`, `dtype`, `precision`: see [`Linear`][qernel.layers.Linear].

    **Shapes:** `(..., sizes[0]) -> (..., sizes[-1])`.

    **Raises:** `ValueError` for fewer than two sizes, and where [`Linear`][qernel.layers.Linear] does.
    """

    layers: tuple[Linear, ...]
    activation: Callable = eqx.field(static=True)
    activate_last: bool = eqx.field(static=True)

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        key: PRNGKeyArray,
        activation: Callable = jnp.tanh,
        activate_last: bool = False,
        last_scale: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        precision: str = "highest",
    ):
        if len(sizes) < 2:
            raise ValueError(f"MLP: sizes must list at least an input and an output width, got {tuple(sizes)}.")
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        scales = [1.0] * (len(pairs) - 1) + [last_scale]
        self.layers = tuple(
            Linear(a, b, key=k, scale=s, dtype=dtype, precision=precision)
            for (a, b), s, k in zip(pairs, scales, jax.random.split(key, len(pairs)), strict=True)
        )
        self.activation = activation
        self.activate_last = activate_last

    @property
    def in_size(self) -> int:
        """Width of the input."""
        return self.layers[0].in_size

    @property
    def out_size(self) -> int:
        """Width of the output."""
        return self.layers[-1].out_size

    def __call__(self, x: Float[Array, "*batch in_size"]) -> Float[Array, "*batch out_size"]:
        with jax.named_scope("qernel.layers.MLP"):
            for layer in self.layers[:-1]:
                x = self.activation(layer(x))
            x = self.layers[-1](x)
            return self.activation(x) if self.activate_last else x

    def propagate(self, x: Jet) -> Jet:
        """Apply the layer to a [`Jet`][qernel.propagation.Jet], features with their first and second derivatives."""
        for layer in self.layers[:-1]:
            x = elementwise(self.activation, layer.propagate(x))
        x = self.layers[-1].propagate(x)
        return elementwise(self.activation, x) if self.activate_last else x
