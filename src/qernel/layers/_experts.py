import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.precision import product_precision
from qernel.propagation import Jet, add, elementwise, linear, multiply, propagate

from ._check import along_last, check_dtype, check_precision, check_sizes, check_width
from ._gate import AbstractGate, Softmax, SparseGate
from ._router import AbstractRouter, ElectronRouter
from ._start import constant, normal


class MixtureOfExperts(eqx.Module):
    r"""A gated sum of small perceptrons, acting on each electron alone,

    $$y_i = \sum_{e=1}^{E} g_{ie}\, \big(\sigma(x_i W^{(1)}_e + b^{(1)}_e)\, W^{(2)}_e + b^{(2)}_e\big),
    \qquad g_i = \text{gate}(\text{router}(x_i, c)) .$$

    The experts are evaluated as one product of width `experts * hidden`, a multiplication by the gates, and
    one product back: the cost is about that of a perceptron of that width, and a smooth gate stays smooth.
    A router that does not see the electrons gives gates that scale the output weights, once per Hamiltonian, and
    with a sparse gate ([`Spline`][qernel.layers.Spline]) only the weights of the experts in use are collected, on
    the forward pass, the Jacobian and the Laplacian: the cost does not depend on how many others there are.
    Otherwise experts that are switched off are multiplied by zero.

    **Arguments:**

    - `features`: width of the input and of the output.
    - `hidden`: width of one expert.
    - `experts`: their number $E$.
    - `router`: an [`AbstractRouter`][qernel.layers.AbstractRouter], by default
      [`ElectronRouter`][qernel.layers.ElectronRouter].
    - `gate`: an [`AbstractGate`][qernel.layers.AbstractGate], by default [`Softmax`][qernel.layers.Softmax].
    - `activation`: σ, twice differentiable; one function object for the whole program.
    - `scale`: factor of the initial output weights, which make the output for equal gates as large as that of one
      expert; 0 makes a residual branch start as zero.
    - `key`, `dtype`, `precision`: see [`Linear`][qernel.layers.Linear].

    **Shapes:** `x (electrons, features)`, `condition (condition_size,)` or None -> `(electrons, features)`.

    **Raises:** `ValueError` if a size is not a positive integer, the router is for another number of experts,
    or the router needs a condition and none is given.

    **Source:** arXiv:2604.26018 (for wavefunctions), arXiv:2101.03961, arXiv:2412.14711.

    **Example:**

    ```python
    import jax
    from qernel.layers import ConditionRouter, MixtureOfExperts, Spline

    key_mixture, key_router, key_x = jax.random.split(jax.random.key(0), 3)
    router = ConditionRouter(4, experts=8, key=key_router)
    layer = MixtureOfExperts(16, 32, 8, router=router, gate=Spline(k=3), key=key_mixture)
    x = jax.random.normal(key_x, (6, 16), "float32")
    assert layer(x, x[0, :4]).shape == (6, 16)
    ```
    """

    router: AbstractRouter
    gate: AbstractGate
    weight_in: Float[Array, "features width"]
    bias_in: Float[Array, " width"]
    weight_out: Float[Array, "width features"]
    bias_out: Float[Array, "experts features"]
    activation: Callable = eqx.field(static=True)
    features: int = eqx.field(static=True)
    hidden: int = eqx.field(static=True)
    experts: int = eqx.field(static=True)
    precision: str = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        hidden: int,
        experts: int,
        *,
        key: PRNGKeyArray,
        router: AbstractRouter | None = None,
        gate: AbstractGate | None = None,
        activation: Callable = jnp.tanh,
        scale: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        precision: str = "highest",
    ):
        owner = "MixtureOfExperts"
        check_sizes(owner, features=features, hidden=hidden, experts=experts)
        dtype = check_dtype(owner, dtype)
        key_in, key_out, key_router = jax.random.split(key, 3)
        if router is None:
            router = ElectronRouter(features, experts, key=key_router, dtype=dtype, precision=precision)
        if router.experts != experts:
            raise ValueError(f"{owner}: the router scores {router.experts} experts, the mixture has {experts}.")
        width = experts * hidden
        # equal gates average E independent outputs, which divides their variance by E
        deviation_out = scale * math.sqrt(experts / hidden)
        self.router = router
        self.gate = Softmax() if gate is None else gate
        self.weight_in = normal(key_in, (features, width), 1 / math.sqrt(features), dtype)
        self.bias_in = constant(0.0, (width,), dtype)
        self.weight_out = normal(key_out, (width, features), deviation_out, dtype)
        self.bias_out = constant(0.0, (experts, features), dtype)
        self.activation = activation
        self.features = features
        self.hidden = hidden
        self.experts = experts
        self.precision = check_precision(owner, precision)

    def gates(
        self, x: Float[Array, "electrons features"], condition: Float[Array, " condition"] | None = None
    ) -> Float[Array, "electrons experts"]:
        """Weight of each expert for each electron, whose mean is how much each expert is used."""
        gates = self._gates(x, condition).astype(x.dtype)
        return jnp.broadcast_to(gates, (x.shape[0], self.experts))

    def __call__(
        self, x: Float[Array, "electrons features"], condition: Float[Array, " condition"] | None = None
    ) -> Float[Array, "electrons features"]:
        check_width("MixtureOfExperts", "features", x, self.features)
        with jax.named_scope("qernel.layers.MixtureOfExperts"):
            gates = self._gates(x, condition).astype(x.dtype)
            gates, weight_in, bias_in, weight_out, bias_out = self._in_use(gates)
            weight_in, weight_out, bias_out = (w.astype(x.dtype) for w in (weight_in, weight_out, bias_out))
            hidden = jnp.matmul(x, weight_in, precision=product_precision(self.precision)) + along_last(bias_in, x)
            hidden = self.activation(hidden)
            shift = jnp.matmul(gates, bias_out, precision=product_precision(self.precision))
            if gates.ndim == 1:
                weight_out = weight_out * jnp.repeat(gates, self.hidden)[:, None]
                shift = shift[None, :]
            else:
                hidden = hidden * jnp.repeat(gates, self.hidden, axis=-1)
            return jnp.matmul(hidden, weight_out, precision=product_precision(self.precision)) + shift

    def propagate(self, x: Jet, condition: Float[Array, " condition"] | None = None) -> Jet:
        """Apply the layer to a [`Jet`][qernel.propagation.Jet], features with their first and second derivatives."""
        check_width("MixtureOfExperts", "features", x.value, self.features)
        logits = propagate(self.router, x, condition)
        if not isinstance(logits, Jet):
            gates = self.gate(logits).astype(x.value.dtype)
            gates, weight_in, bias_in, weight_out, bias_out = self._in_use(gates)
            hidden = elementwise(self.activation, linear(x, weight_in, bias_in, precision=self.precision))
            weight_out = weight_out.astype(x.value.dtype) * jnp.repeat(gates, self.hidden)[:, None]
            shift = jnp.matmul(gates, bias_out.astype(gates.dtype), precision=product_precision(self.precision))
            return linear(hidden, weight_out, shift, precision=self.precision)
        hidden = elementwise(self.activation, linear(x, self.weight_in, self.bias_in, precision=self.precision))
        gates = propagate(self.gate, logits)
        repeated = gates.map(lambda part: jnp.repeat(part, self.hidden, axis=-1))
        mixed = linear(multiply(hidden, repeated), self.weight_out, precision=self.precision)
        return add(mixed, linear(gates, self.bias_out, precision=self.precision))

    def _in_use(self, gates):
        """Select the gates and weights of the experts in use, if these are the same for all electrons."""
        whole = gates, self.weight_in, self.bias_in, self.weight_out, self.bias_out
        if gates.ndim > 1 or not isinstance(self.gate, SparseGate) or self.gate.in_use >= self.experts:
            return whole
        gates, index = jax.lax.top_k(gates, self.gate.in_use)

        def of_experts(weights, axis):
            split = weights.reshape(*weights.shape[:axis], self.experts, -1, *weights.shape[axis + 1 :])
            # every index is in range: the default mode would test each and fill with NaN
            taken = jnp.take(split, index, axis=axis, mode="clip")
            return taken.reshape(*weights.shape[:axis], -1, *weights.shape[axis + 1 :])

        return gates, *(of_experts(w, axis) for w, axis in zip(whole[1:], (1, 0, 0, 0), strict=True))

    def _gates(
        self, x: Float[Array, "electrons features"], condition: Float[Array, " condition"] | None
    ) -> Float[Array, "*electrons experts"]:
        return self.gate(self.router(x, condition))
