import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.precision import product_precision
from qernel.propagation import Jet, scale_and_shift

from ._check import along_last, check_dtype, check_precision, check_sizes, check_width
from ._start import constant


class FiLM(eqx.Module):
    r"""Feature-wise linear modulation: each feature is scaled and shifted as the condition says,

    $$y = x \odot (1 + \gamma(c)) + \beta(c), \qquad (\gamma, \beta)(c) = c\,W + b .$$

    $W$ and $b$ start at zero, so a new layer is the identity for every condition. The scale and the shift
    depend on the condition alone: with the condition outside the `vmap` over walkers they are computed once
    per Hamiltonian, and cost nothing in a Laplacian.

    **Arguments:**

    - `condition_size`: width of the condition $c$.
    - `features`: width of the input and of the output.
    - `key`, `dtype`, `precision`: see [`Linear`][qernel.layers.Linear].

    **Shapes:** `x (..., features)`, `condition (condition_size,)` -> `(..., features)`.

    **Raises:** `ValueError` for sizes that are not positive integers or inputs of another width.

    **Source:** arXiv:1709.07871; for wavefunctions arXiv:2604.26018.
    """

    weight: Float[Array, "condition_size doubled_features"]
    bias: Float[Array, " doubled_features"]
    condition_size: int = eqx.field(static=True)
    features: int = eqx.field(static=True)
    precision: str = eqx.field(static=True)

    def __init__(
        self,
        condition_size: int,
        features: int,
        *,
        key: PRNGKeyArray | None = None,
        dtype: DTypeLike = jnp.float32,
        precision: str = "highest",
    ):
        del key  # the start is the identity, nothing is drawn; accepted so that all layers are built alike
        check_sizes("FiLM", condition_size=condition_size, features=features)
        dtype = check_dtype("FiLM", dtype)
        self.weight = constant(0.0, (condition_size, 2 * features), dtype)
        self.bias = constant(0.0, (2 * features,), dtype)
        self.condition_size = condition_size
        self.features = features
        self.precision = check_precision("FiLM", precision)

    def modulation(
        self, condition: Float[Array, " condition"]
    ) -> tuple[Float[Array, " features"], Float[Array, " features"]]:
        r"""Scale $1 + \gamma(c)$ and shift $\beta(c)$ of each feature."""
        check_width("FiLM", "a condition", condition, self.condition_size)
        weight = self.weight.astype(condition.dtype)
        both = jnp.matmul(condition, weight, precision=product_precision(self.precision))
        both = both + self.bias.astype(condition.dtype)
        return 1 + both[: self.features], both[self.features :]

    def __call__(
        self, x: Float[Array, "*electrons features"], condition: Float[Array, " condition"]
    ) -> Float[Array, "*electrons features"]:
        check_width("FiLM", "features", x, self.features)
        with jax.named_scope("qernel.layers.FiLM"):
            scale, shift = self.modulation(condition)
            return x * along_last(scale, x) + along_last(shift, x)

    def propagate(self, x: Jet, condition: Float[Array, " condition"]) -> Jet:
        """Apply the layer to a [`Jet`][qernel.propagation.Jet], features with their first and second derivatives."""
        check_width("FiLM", "features", x.value, self.features)
        return scale_and_shift(x, *self.modulation(condition))
