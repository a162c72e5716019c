import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.precision import product_precision
from qernel.propagation import EveryCoordinate, Jet, PairJet, linear

from ._attention_jet import attend, attend_own
from ._check import check_dtype, check_precision, check_sizes, check_width
from ._start import normal


class GroupedQueryAttention(eqx.Module):
    r"""Self-attention between electrons in which groups of query heads share keys and values.

    Query head $h$ of $H$ uses the key/value head $k(h) = \lfloor h K / H \rfloor$ of $K$:

    $$y_i = \sum_h \sum_j \operatorname{softmax}_j\!\Big(\frac{q_{ih}\cdot k_{jk(h)}}{\sqrt D} + b_{hij}\Big)
    \, v_{jk(h)} W^{\rm out}_h , \qquad q = x W^q,\; k = x W^k,\; v = x W^v .$$

    `key_value_heads == query_heads` is multi-head attention, `key_value_heads == 1` multi-query attention.
    Without a bias the layer commutes with permutations of the electrons; with a bias, if the bias is permuted
    along. `pair_bias` $b$ is any smooth function of pairs (of distances, say): it is added to the logits.

    **Arguments:**

    - `features`: width of the input and of the output.
    - `query_heads`, `key_value_heads`: H and K.
    - `head_size`: D, the width of one head.
    - `scale`: factor of the initial output weights; 0 makes a residual branch start as zero.
    - `key`, `dtype`, `precision`: see [`Linear`][qernel.layers.Linear].

    **Shapes:** `x (electrons, features)`, `pair_bias (query_heads, electrons, electrons)` or None ->
    `(electrons, features)`.

    **Raises:** `ValueError` if a size is not a positive integer, `key_value_heads` does not divide
    `query_heads`, or the inputs have other shapes.

    **Source:** grouped-query attention arXiv:2305.13245, multi-query attention arXiv:1911.02150, for
    wavefunctions arXiv:2604.26018.

    **Example:**

    ```python
    import jax
    from qernel.layers import GroupedQueryAttention

    key, key_x = jax.random.split(jax.random.key(0))
    layer = GroupedQueryAttention(16, query_heads=4, key_value_heads=2, head_size=8, key=key)
    x = jax.random.normal(key_x, (6, 16), "float32")
    assert layer(x).shape == (6, 16)
    ```
    """

    weight_in: Float[Array, "features projected"]
    weight_out: Float[Array, "heads_width features"]
    features: int = eqx.field(static=True)
    query_heads: int = eqx.field(static=True)
    key_value_heads: int = eqx.field(static=True)
    head_size: int = eqx.field(static=True)
    precision: str = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        query_heads: int,
        key_value_heads: int,
        head_size: int,
        *,
        key: PRNGKeyArray,
        scale: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        precision: str = "highest",
    ):
        owner = "GroupedQueryAttention"
        check_sizes(
            owner,
            features=features,
            query_heads=query_heads,
            key_value_heads=key_value_heads,
            head_size=head_size,
        )
        if query_heads % key_value_heads:
            raise ValueError(
                f"{owner}: key_value_heads must divide query_heads, got {key_value_heads} key/value heads "
                f"for {query_heads} query heads."
            )
        dtype = check_dtype(owner, dtype)
        key_in, key_out = jax.random.split(key)
        width = query_heads * head_size
        projected = (query_heads + 2 * key_value_heads) * head_size
        self.weight_in = normal(key_in, (features, projected), 1 / math.sqrt(features), dtype)
        self.weight_out = normal(key_out, (width, features), scale / math.sqrt(width), dtype)
        self.features = features
        self.query_heads = query_heads
        self.key_value_heads = key_value_heads
        self.head_size = head_size
        self.precision = check_precision(owner, precision)

    def __call__(
        self,
        x: Float[Array, "electrons features"],
        pair_bias: Float[Array, "heads electrons electrons"] | None = None,
    ) -> Float[Array, "electrons features"]:
        owner = "GroupedQueryAttention"
        check_width(owner, "features", x, self.features)
        n, kv, size = x.shape[0], self.key_value_heads, self.head_size
        group = self.query_heads // kv
        if pair_bias is not None and pair_bias.shape != (self.query_heads, n, n):
            raise ValueError(
                f"{owner}: pair_bias must have shape (query_heads, electrons, electrons) = "
                f"{(self.query_heads, n, n)}, got {pair_bias.shape}."
            )
        with jax.named_scope("qernel.layers.GroupedQueryAttention"):
            products = product_precision(self.precision)
            # one product for queries, keys and values: fewer, larger products in a forward Laplacian
            projected = jnp.matmul(x, self.weight_in.astype(x.dtype), precision=products)
            queries, keys, values = jnp.split(
                projected, [self.query_heads * size, (self.query_heads + kv) * size], axis=-1
            )
            queries = queries.reshape(n, kv, group, size)
            keys = keys.reshape(n, kv, size) / math.sqrt(size)
            values = values.reshape(n, kv, size)
            # the order of axes in which the Jacobians of a forward Laplacian need no transposition: measured
            # on a CPU, it saves 10 to 45 % of the whole layer
            order = "kgij" if group == 1 else "kigj"
            logits = jnp.einsum(f"ikgd,jkd->{order}", queries, keys, precision=products)
            if pair_bias is not None:
                bias = pair_bias.astype(x.dtype).reshape(kv, group, n, n)
                logits = logits + (bias if group == 1 else bias.swapaxes(1, 2))
            # softmax, divided by its sum only after the sum over values, which has fewer elements
            top = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
            weights = jnp.exp(logits - top)
            mixed = jnp.einsum(f"{order},jkd->{order[:3]}d", weights, values, precision=products)
            mixed = mixed / jnp.sum(weights, axis=-1, keepdims=True)
            weight_out = self.weight_out.astype(x.dtype).reshape(kv, group, size, self.features)
            return jnp.einsum(f"{order[:3]}d,kgdf->if", mixed, weight_out, precision=products)

    def propagate(self, x: Jet, pair_bias: PairJet | None = None) -> Jet:
        """Apply the layer to a [`Jet`][qernel.propagation.Jet], features with their first and second derivatives."""
        check_width("GroupedQueryAttention", "features", x.value, self.features)
        n, kv, size = x.value.shape[0], self.key_value_heads, self.head_size
        projected = linear(x, self.weight_in, precision=self.precision)
        own = isinstance(projected.own, EveryCoordinate)
        if not own:
            projected = projected.dense()

        def heads(start, count):
            """Take some of the projections, as (key/value heads, the electrons of each query head, ..., size)."""

            def split(part):
                part = part[..., start * size : (start + count) * size]
                part = part.reshape(*part.shape[:-1], kv, count // kv, size)
                part = jnp.moveaxis(part, (-3, -2), (0, 1))
                return part.reshape(kv, n * count // kv, *part.shape[3:])

            return split(projected.value), split(projected.jacobian), split(projected.laplacian)

        # keys are divided and not logits, which are more: electrons squared
        queries, keys = heads(0, self.query_heads), heads(self.query_heads, kv)
        keys = jax.tree.map(lambda part: part / math.sqrt(size), keys)
        method = attend_own if own else attend
        mixed = method(queries, keys, heads(self.query_heads + kv, kv), pair_bias, self.precision)

        def together(part):
            part = part.reshape(kv, -1, n, *part.shape[2:])
            part = jnp.moveaxis(part, (0, 1), (-3, -2))
            return part.reshape(*part.shape[:-3], -1)

        value, jacobian, laplacian = map(together, mixed)
        return linear(Jet(value, jacobian, laplacian), self.weight_out, precision=self.precision)
