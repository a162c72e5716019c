"""Every layer: shape, dtype, jit = eager, permutations, forward Laplacian; then the equations one by one."""

import functools

import equinox as eqx
import folx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_layers import (
    CONDITION,
    ELECTRONS,
    FEATURES,
    KEY,
    Conditioned,
    condition,
    features,
    mixture,
    numbers,
    top_k,
)

from qernel import layers
from qernel.lattice import cubic, shells
from qernel.layers import (
    MLP,
    DensityWaves,
    ElectronRouter,
    FiLM,
    Frozen,
    GroupedQueryAttention,
    LayerNorm,
    Linear,
    MixtureOfExperts,
    OpenEmbedding,
    OpenPairBias,
    PairBias,
    PeriodicEmbedding,
    RMSNorm,
    Spline,
    SquaredReLU,
    TopK,
    trainable,
)
from qernel.propagation import EveryCoordinate, Jet, PairJet, own_jet, propagate


def film(dtype):
    layer = FiLM(CONDITION, FEATURES, dtype=dtype)
    weight = numbers(layer.weight.shape, dtype)
    return Conditioned(eqx.tree_at(lambda film: film.weight, layer, weight), condition(dtype))


class SumOverHeads(eqx.Module):
    """A pair bias as features of electrons, so that it can stand beside the layers: Σ_h b_hij over all electrons j."""

    bias: PairBias

    def __call__(self, x):
        return jnp.sum(self.bias(x), axis=(0, 2))[:, None]


def attention(key_value_heads, dtype):
    return GroupedQueryAttention(FEATURES, 4, key_value_heads, 3, key=KEY, dtype=dtype)


LAYERS = {
    "linear": lambda dtype: Linear(FEATURES, 6, key=KEY, dtype=dtype),
    "mlp-tanh": lambda dtype: MLP((FEATURES, 9, 7), key=KEY, dtype=dtype, activate_last=True),
    "mlp-silu": lambda dtype: MLP((FEATURES, 9, 7), key=KEY, activation=jax.nn.silu, dtype=dtype),
    "film": film,
    "rms-norm": lambda dtype: RMSNorm(FEATURES, dtype=dtype),
    "layer-norm": lambda dtype: LayerNorm(FEATURES, dtype=dtype),
    "attention-multi-head": lambda dtype: attention(4, dtype),
    "attention-grouped": lambda dtype: attention(2, dtype),
    "attention-multi-query": lambda dtype: attention(1, dtype),
    "periodic-embedding": lambda dtype: PeriodicEmbedding(np.random.default_rng(0).normal(size=(3, FEATURES))),
    "pair-bias": lambda dtype: SumOverHeads(PairBias(numbers((2, FEATURES), dtype))),
    "open-embedding": lambda dtype: OpenEmbedding(FEATURES, np.linspace(0.5, 2, FEATURES), harmonics=3),
    "frozen": lambda dtype: Frozen(MLP((FEATURES, 9, 7), key=KEY, dtype=dtype)),
}
for _mixture in (
    ("electron", "softmax"),
    ("electron", "relu2"),
    ("electron", "top2"),
    ("electron", "spline"),
    ("condition", "spline"),
    ("condition", "top2"),
    ("condition", "softmax"),
    ("joint", "relu2"),
):
    LAYERS["experts-" + "-".join(_mixture)] = lambda dtype, m=_mixture: mixture(*m, dtype)

every_layer = pytest.mark.parametrize("name", LAYERS)


@functools.cache
def build(name, dtype):
    return LAYERS[name](dtype)


# ------------------------------------------------------------------------------------- all layers


def test_the_table_holds_every_layer():
    def classes(tree):
        leaves = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, eqx.Module))
        found = set()
        for leaf in leaves:
            if isinstance(leaf, eqx.Module):
                found.add(type(leaf))
                for field in vars(leaf).values():
                    found |= classes(field)
        return found

    tested = set().union(*(classes(build(name, jnp.float32)) for name in LAYERS))
    public = {getattr(layers, name) for name in dir(layers) if not name.startswith("_")}
    modules = {c for c in public if isinstance(c, type) and issubclass(c, eqx.Module)}
    # These want positions, and have tests of their own.
    missing = {c.__name__ for c in modules - tested if not c.__name__.startswith("Abstract")}
    assert missing == {"DensityWaves", "OpenPairBias"}


@every_layer
def test_jit_vmap_and_permutations_agree_with_eager(name):
    layer, x = build(name, jnp.float64), features()
    order = np.array([3, 0, 4, 1, 2])
    eager, other = np.asarray(layer(x)), np.asarray(layer(2 * x))
    once, batched = jax.jit(lambda x, batch: (layer(x), jax.vmap(layer)(batch)))(x, np.stack([x[order], 2 * x]))
    np.testing.assert_allclose(once, eager, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(batched, [eager[order], other], rtol=1e-12, atol=1e-13)


@every_layer
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_dtype_is_kept(name, dtype):
    layer = build(name, dtype)
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves(layer) if eqx.is_array(leaf))
    assert jax.eval_shape(layer, jax.ShapeDtypeStruct((ELECTRONS, FEATURES), dtype)).dtype == dtype


@every_layer
def test_computes_at_the_dtype_of_the_input(name):
    narrow = build(name, jnp.float32)
    wide = jax.tree.map(lambda a: a.astype(jnp.float64) if eqx.is_array(a) else a, narrow)
    assert narrow(features()).dtype == jnp.float64
    # a ConditionRouter computes at the dtype of the condition, here float32
    tolerance = 1e-6 if name.startswith(("experts", "film")) else 1e-13
    np.testing.assert_allclose(narrow(features()), wide(features()), rtol=tolerance, atol=tolerance)


@every_layer
def test_forward_laplacian_equals_the_trace_of_the_hessian(name):
    layer, x = build(name, jnp.float64), features()[:3]
    weights = jnp.cos(jnp.arange(layer(x).size, dtype=x.dtype)).reshape(layer(x).shape)

    def scalar(flat):
        return jnp.sum(weights * jnp.sin(layer(flat.reshape(x.shape))))

    # level 0 compiles in half the time, and these numbers are exact at any level
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def both(flat):
        with jax.numpy_rank_promotion("allow"):  # folx itself promotes ranks
            forward = folx.forward_laplacian(scalar, sparsity_threshold=0, disable_jit=True)(flat)
        gradient, product = jax.linearize(jax.grad(scalar), flat)
        hessian = jax.vmap(product)(jnp.eye(flat.size, dtype=flat.dtype))
        return forward.laplacian, jnp.trace(hessian), forward.dense_jacobian, gradient

    for flat in (x.reshape(-1), jnp.zeros(x.size)):  # zero: where norms and maxima have their kinks
        laplacian, trace, jacobian, gradient = both(flat)
        np.testing.assert_allclose(laplacian, trace, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(jacobian, gradient, rtol=1e-10, atol=1e-10)


@every_layer
@pytest.mark.parametrize("own", [True, False], ids=["own", "dense"])
def test_propagation_equals_the_derivatives(name, own):
    """Value, Jacobian and Laplacian of every layer after features that are functions of the positions."""
    layer, r = build(name, jnp.float64), numbers((3, 2))
    module, arguments = (layer.layer, (layer.condition,)) if isinstance(layer, Conditioned) else (layer, ())
    left, right = numbers((2, FEATURES)), numbers((FEATURES,))

    def before(r):
        mixed = r if own else r + jnp.sin(r) * jnp.cos(r[0, 0] * r[2, 1])
        return jnp.tanh(mixed @ left + right[None])

    def jet_of(r):
        if own:
            return own_jet(before, r)
        first = jnp.moveaxis(jax.jacfwd(before)(r).reshape(3, FEATURES, 6), 2, 1)
        second = jax.jacfwd(jax.jacfwd(before))(r).reshape(3, FEATURES, 6, 6)
        return Jet(before(r), first, jnp.trace(second, axis1=2, axis2=3))

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def both(r):
        after = lambda r: layer(before(r))
        second = jax.jacfwd(jax.jacfwd(after))(r)
        shape = after(r).shape
        expected = (
            after(r),
            jnp.moveaxis(jax.jacfwd(after)(r).reshape(*shape, 6), 2, 1),
            jnp.trace(second.reshape(*shape, 6, 6), axis1=2, axis2=3),
        )
        found = propagate(module, jet_of(r), *arguments).dense()
        return (found.value, found.jacobian, found.laplacian), expected

    for found, expected in zip(*both(r), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


def test_attention_propagates_a_pair_bias():
    """A bias that depends on both electrons, before (own) and after the first exchange of information."""
    layer, r, weights = attention(2, jnp.float64), numbers((3, 2)), numbers((2, FEATURES))
    before = lambda r: jnp.sin(r @ weights)
    scale = jnp.arange(1.0, 5)[:, None, None]
    pairs = lambda x, y: scale * jnp.sin(x[:, None, 0] - 2 * y[None, :, 1])[None]
    bias = lambda r: pairs(r, r)
    after = lambda r: layer(before(r), bias(r))

    def pair_jet(r):
        left = jnp.moveaxis(jnp.einsum("hijia->hija", jax.jacfwd(pairs, 0)(r, r)), 3, 2)
        right = jnp.moveaxis(jnp.einsum("hijja->hija", jax.jacfwd(pairs, 1)(r, r)), 3, 2)
        second = jax.jacfwd(jax.jacfwd(bias))(r).reshape(4, 3, 3, 6, 6)
        return PairJet(bias(r), left, right, jnp.trace(second, axis1=3, axis2=4))

    second = jnp.trace(jax.jacfwd(jax.jacfwd(after))(r).reshape(3, FEATURES, 6, 6), axis1=2, axis2=3)
    first = jnp.moveaxis(jax.jacfwd(after)(r).reshape(3, FEATURES, 6), 2, 1)
    for jet in (own_jet(before, r), own_jet(before, r).dense()):
        found = layer.propagate(jet, pair_jet(r))
        for a, b in zip((found.value, found.jacobian, found.laplacian), (after(r), first, second), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


EMBEDDINGS = {
    "periodic": PeriodicEmbedding(np.array([[1.0, 0.5], [-0.3, 2.0], [0.7, 0.0]])),
    "open": OpenEmbedding(2, lambda parameters: parameters, harmonics=3),
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_pair_bias_is_a_function_of_the_separation_with_all_its_derivatives(name):
    embedding, lengths, r = EMBEDDINGS[name], jnp.asarray([0.6, 1.9]), numbers((4, 2))
    start = embedding.pair_bias(3, jnp.float64)
    assert isinstance(start, {"periodic": PairBias, "open": OpenPairBias}[name])
    assert start.weights.dtype == jnp.float64 and not np.any(start.weights)
    layer = eqx.tree_at(lambda bias: bias.weights, start, numbers(start.weights.shape))
    bias = jax.jit(lambda r: layer(embedding(r, lengths)))
    # Of a separation s: the features at s, without the coordinates themselves.
    separations = (r[:, None] - r[None]).reshape(16, 2)
    waves = embedding(separations, lengths)[:, -layer.weights.shape[1] :]
    np.testing.assert_allclose(bias(r), (waves @ layer.weights.T).T.reshape(3, 4, 4), atol=1e-12)
    first = jax.jit(jax.jacfwd(bias))(r)
    second = jax.jit(jax.jacfwd(jax.jacfwd(bias)))(r).reshape(3, 4, 4, 8, 8)
    found = jax.jit(lambda r: layer.propagate(own_jet(lambda x: embedding(x, lengths), r)))(r)
    np.testing.assert_allclose(found.value, bias(r), atol=1e-13)
    np.testing.assert_allclose(jnp.swapaxes(found.jacobian(), 2, 3), first.reshape(3, 4, 4, 8), atol=1e-12)
    np.testing.assert_allclose(found.laplacian, jnp.trace(second, axis1=3, axis2=4), atol=1e-11)


# ------------------------------------------------------------------------------------- one by one


def test_open_embedding_is_bounded_but_for_the_coordinates():
    """x, then cos nθ and sin nθ of θ = arctan x: at large distances ±x, and the ends of the circle."""
    layer, lengths = OpenEmbedding(2, lambda p: p["lengths"], harmonics=2), jnp.asarray([2.0, 0.5], jnp.float32)
    r = jnp.asarray([[2.0, 0.5], [-0.4, 1.3], [1e8, -1e8], [0.0, 0.0]])
    x = np.asarray(r / lengths.astype(float)[None])
    theta = np.arctan(x)
    expected = [x, np.cos(theta), np.cos(2 * theta), np.sin(theta), np.sin(2 * theta)]
    found = layer(r, {"lengths": lengths})
    assert found.shape == (4, layer.features) and found.dtype == r.dtype
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), rtol=1e-12, atol=1e-7)
    assert np.max(np.abs(found[:, 2:])) <= 1 + 1e-12
    # In single precision too, where 1e20 squared overflows nothing that matters.
    assert np.all(np.isfinite(layer(r.astype(jnp.float32) * 1e10, {"lengths": lengths})))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: OpenEmbedding(0, 1.0), "dim must be a positive integer"),
        (lambda: OpenEmbedding(2, 1.0, harmonics=0), "harmonics must be a positive integer"),
        (lambda: OpenEmbedding(2, -1.0), "length of the features must be positive"),
        (lambda: OpenEmbedding(2, (1.0, 2.0, 3.0))(numbers((3, 2))), "one number or 2, one for each axis"),
        (lambda: OpenEmbedding(2, 1.0)(numbers((3, 3))), "positions of size 2"),
        (lambda: OpenPairBias(jnp.zeros((2, 3)), 2, 1), r"weights must be \(heads, 4\)"),
        (lambda: OpenPairBias(jnp.zeros((2, 4)), 2, 1)(numbers((3, 4))), "features of size 6"),
    ],
)
def test_open_layers_that_cannot_be(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_film_is_the_identity_at_the_start():
    x = features()
    layer = FiLM(CONDITION, FEATURES, key=KEY, dtype=jnp.float64)
    for seed in range(3):
        np.testing.assert_array_equal(layer(x, jax.random.normal(jax.random.key(seed), (CONDITION,))), x)


def test_film_equation_and_training_signal():
    layer, x = film(jnp.float64), features()
    both = layer.condition @ layer.layer.weight
    expected = x * (1 + both[None, :FEATURES]) + both[None, FEATURES:]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-13)
    fresh = FiLM(CONDITION, FEATURES, dtype=jnp.float64)
    gradient = eqx.filter_jit(eqx.filter_grad(lambda f: jnp.sum(jnp.square(f(x, layer.condition)))))(fresh)
    assert jnp.all(jnp.abs(gradient.weight) > 0)


def reference_attention(layer, x, bias=None):
    """Loops over heads, with no sharing of code or of layout."""
    heads, kv, size = layer.query_heads, layer.key_value_heads, layer.head_size
    projected = np.asarray(x @ layer.weight_in)
    out = np.zeros(x.shape)
    for head in range(heads):
        shared = head // (heads // kv)
        q = projected[:, head * size :][:, :size]
        k = projected[:, (heads + shared) * size :][:, :size]
        v = projected[:, (heads + kv + shared) * size :][:, :size]
        logits = q @ k.T / np.sqrt(size)
        logits = logits if bias is None else logits + np.asarray(bias[head])
        weights = np.exp(logits)
        weights /= weights.sum(axis=-1, keepdims=True)
        out += weights @ v @ np.asarray(layer.weight_out)[head * size :][:size]
    return out


@pytest.mark.parametrize("key_value_heads", [1, 2, 4])
@pytest.mark.parametrize("biased", [False, True])
def test_grouped_query_attention_equals_a_loop_over_heads(key_value_heads, biased):
    layer, x = attention(key_value_heads, jnp.float64), features()
    bias = numbers((4, ELECTRONS, ELECTRONS)) if biased else None
    np.testing.assert_allclose(layer(x, bias), reference_attention(layer, x, bias), rtol=1e-11, atol=1e-12)


def test_grouped_query_attention_is_multi_head_with_shared_weights():
    """Copying each shared key/value head to its query heads gives the same multi-head attention."""
    grouped, x = attention(2, jnp.float64), features()
    q, k, v = jnp.split(grouped.weight_in, [12, 18], axis=1)
    copy = lambda w: jnp.repeat(w.reshape(FEATURES, 2, 3), 2, axis=1).reshape(FEATURES, 12)
    full = eqx.tree_at(
        lambda a: (a.weight_in, a.weight_out),
        attention(4, jnp.float64),
        (jnp.concatenate([q, copy(k), copy(v)], axis=1), grouped.weight_out),
    )
    np.testing.assert_allclose(full(x), grouped(x), rtol=1e-12, atol=1e-13)


def test_attention_survives_large_logits():
    layer = attention(2, jnp.float64)
    bias = jnp.zeros((4, ELECTRONS, ELECTRONS)).at[:, 0, 0].set(5e3).at[:, 1, :].set(-5e3)
    assert jnp.isfinite(layer(100 * features(), bias)).all()


def test_a_pair_bias_propagates():
    """It knows that b_ij depends on r_i - r_j alone: every derivative against JAX's own."""
    waves = PeriodicEmbedding(np.random.default_rng(0).normal(size=(4, 2)))
    bias, r = PairBias(numbers((2, FEATURES))), numbers((3, 2))
    after = lambda r: bias(waves(r))
    found = bias.propagate(own_jet(waves, r))
    first = jnp.moveaxis(jax.jacfwd(after)(r).reshape(2, 3, 3, 6), 3, 2)
    second = jnp.trace(jax.jacfwd(jax.jacfwd(after))(r).reshape(2, 3, 3, 6, 6), axis1=3, axis2=4)
    for a, b in zip((found.value, found.jacobian(), found.laplacian), (after(r), first, second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_attention_permutes_with_its_pair_bias():
    layer, x = attention(2, jnp.float64), features()
    bias = numbers((4, ELECTRONS, ELECTRONS))
    order = np.array([3, 0, 4, 1, 2])
    permuted = bias[:, order][:, :, order]
    np.testing.assert_allclose(layer(x[order], permuted), layer(x, bias)[order], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("shape", [(2, 5, 5), (4, 5, 4), (4, 4, 5)])
def test_pair_bias_of_another_shape_is_an_error(shape):
    with pytest.raises((ValueError, TypeError), match="pair_bias"):
        attention(2, jnp.float64)(features(), jnp.zeros(shape))


def test_norms():
    x = 3 * features() + 1
    rms, layer = RMSNorm(FEATURES, dtype=jnp.float64)(x), LayerNorm(FEATURES, dtype=jnp.float64)(x)
    np.testing.assert_allclose(jnp.mean(rms**2, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(jnp.mean(layer, axis=-1), 0, atol=1e-13)
    np.testing.assert_allclose(jnp.var(layer, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(rms, x / np.sqrt(np.mean(np.square(x), -1, keepdims=True) + 1e-6), rtol=1e-13)


def test_periodic_embedding():
    reciprocal = 2 * np.pi * np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    embedding = PeriodicEmbedding(reciprocal)
    r = numbers((ELECTRONS, 2))
    assert (embedding.dim, embedding.features) == (2, 6)
    phase = np.asarray(r) @ reciprocal.T
    np.testing.assert_allclose(embedding(r), np.hstack([np.cos(phase), np.sin(phase)]), atol=1e-13)
    np.testing.assert_allclose(embedding(r + jnp.asarray([[3.0, -2.0]])), embedding(r), atol=1e-12)
    assert jax.tree.leaves(embedding) == []


def test_initial_scales():
    """Every map starts with outputs of unit variance for inputs of unit variance."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2000, 32)))
    equal = eqx.tree_at(lambda r: r.linear.weight, ElectronRouter(32, 4, key=KEY), numbers((32, 4)) * 0)
    built = [
        (1, Linear(32, 64, key=KEY)),
        (0.5, Linear(32, 64, key=KEY, scale=0.5)),
        (1, MixtureOfExperts(32, 64, 4, router=equal, activation=jnp.positive, key=KEY)),
        (0, MLP((32, 8, 4), key=KEY, last_scale=0.0)),
        (0, MixtureOfExperts(32, 4, 2, key=KEY, scale=0.0)),
    ]
    deviations = jax.jit(lambda x: [jnp.std(layer(x)) for _, layer in built])(x)
    np.testing.assert_allclose(deviations, [expected for expected, _ in built], rtol=0.1)
    assert (GroupedQueryAttention(32, 2, 1, 4, key=KEY, scale=0.0).weight_out == 0).all()


def test_layers_are_named_in_the_compiled_program():
    whole = mixture("joint", "relu2", jnp.float32)
    text = jax.jit(lambda x: whole(x)).lower(features(jnp.float32)).compile().as_text()
    for name in ("MixtureOfExperts", "JointRouter", "SquaredReLU", "Linear"):
        assert f"qernel.layers.{name}" in text


# ------------------------------------------------------------------------------------- user errors

BAD = {
    "heads": (lambda: GroupedQueryAttention(8, 4, 3, 2, key=KEY), "key_value_heads must divide query_heads"),
    "no heads": (lambda: GroupedQueryAttention(8, 4, 0, 2, key=KEY), "key_value_heads must be a positive"),
    "linear size": (lambda: Linear(0, 3, key=KEY), "in_size must be a positive integer, got 0"),
    "linear scale": (lambda: Linear(3, 3, key=KEY, scale=-1.0), "scale must not be negative"),
    "mlp sizes": (lambda: MLP((3,), key=KEY), "at least an input and an output"),
    "mlp size": (lambda: MLP((3, -2, 1), key=KEY), "must be a positive integer, got -2"),
    "film": (lambda: FiLM(0, 3), "condition_size must be a positive integer"),
    "rms": (lambda: RMSNorm(0), "features must be a positive integer"),
    "epsilon": (lambda: LayerNorm(4, epsilon=0.0), "epsilon must be positive"),
    "experts": (lambda: MixtureOfExperts(8, 4, 0, key=KEY), "experts must be a positive integer"),
    "router": (
        lambda: MixtureOfExperts(8, 4, 3, router=ElectronRouter(8, 4, key=KEY), key=KEY),
        "the router scores 4 experts, the mixture has 3",
    ),
    "relu2": (lambda: SquaredReLU(epsilon=0.0), "epsilon must be positive"),
    "spline 2": (lambda: Spline(2), "have kinks or jump: k must be at least 3"),
    "spline of 2": (lambda: Spline()(jnp.zeros(2)), "cannot use 3 of 2 experts"),
    "top 0": (lambda: TopK(0), "k must be a positive integer"),
    "top 5": (lambda: top_k(5)(jnp.zeros(4)), "cannot pick 5 of 4 experts"),
    "integer dtype": (lambda: Linear(2, 3, key=KEY, dtype=jnp.int32), "real floating type"),
    "precision": (lambda: Linear(2, 3, key=KEY, precision="best"), "highest, high, default"),
    "embedding": (lambda: PeriodicEmbedding(np.zeros((0, 2))), r"\(n, dim\) array"),
    "embedding dim": (lambda: PeriodicEmbedding(np.eye(2))(jnp.zeros((4, 3))), "positions of size 2"),
    "pair bias": (lambda: PairBias(jnp.zeros((2, 3))), r"\(heads, 2 waves\) with at least one"),
    "pair bias of nothing": (lambda: PairBias(jnp.zeros((0, 4))), r"\(heads, 2 waves\) with at least one"),
    "pair bias input": (lambda: PairBias(jnp.ones((2, 6)))(features()), "features of size 6"),
    "linear input": (lambda: Linear(2, 3, key=KEY)(jnp.zeros((4, 5))), "an input of size 2"),
    "film input": (lambda: FiLM(2, 3)(jnp.zeros((4, 3)), jnp.zeros(5)), "a condition of size 2"),
    "no condition": (lambda: mixture("joint", "softmax", jnp.float64).layer(features()), "needs a condition"),
    "no condition either": (
        lambda: mixture("condition", "softmax", jnp.float64).layer(features()),
        "needs a condition",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_name_the_cause(name):
    build, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        build()


def test_float64_without_x64_is_an_error():
    with jax.enable_x64(False), pytest.raises(ValueError, match="jax_enable_x64"):
        Linear(2, 3, key=KEY, dtype=jnp.float64)


def test_frozen_modules_are_not_trained():
    model = {"free": Linear(2, 3, key=KEY), "fixed": Frozen(Linear(3, 3, key=KEY))}
    marks = trainable(model)
    assert jax.tree.leaves(marks["free"]) == [True, True]
    assert jax.tree.leaves(marks["fixed"]) == [False, False]
    x = jnp.ones((4, 2), jnp.float32)
    gradient = eqx.filter_jit(eqx.filter_grad(lambda m: jnp.sum(m["fixed"](m["free"](x)))))(model)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient["fixed"]))
    assert all((leaf != 0).any() for leaf in jax.tree.leaves(gradient["free"]))


@pytest.mark.parametrize("transform", [eqx.filter_jit, lambda make: lambda key: eqx.filter_vmap(make)(key[None])])
def test_initial_weights_do_not_depend_on_how_the_layer_is_built(transform):
    make = lambda key: MLP((3, 4), key=key, dtype=jnp.float64)
    built = transform(make)(KEY)
    np.testing.assert_array_equal(built.layers[0].weight.reshape(3, 4), make(KEY).layers[0].weight)


def test_initial_weights_of_two_precisions_agree():
    narrow, wide = (Linear(30, 40, key=KEY, dtype=dtype).weight for dtype in (jnp.float32, jnp.float64))
    np.testing.assert_array_equal(narrow, wide.astype(jnp.float32))
    other = Linear(30, 40, key=jax.random.key(8), dtype=jnp.float64).weight
    assert abs(jnp.vdot(wide, other) / jnp.vdot(wide, wide)) < 0.15
    assert eqx.filter_eval_shape(Linear, 30, 40, key=KEY).weight.shape == (30, 40)


@pytest.mark.parametrize("electrons", [(3, 2), (4, 0)])
def test_density_waves_have_exact_derivatives_and_see_distances_alone(electrons):
    with jax.enable_x64(True):
        cell, n = cubic(3.0), sum(electrons)
        keys = jax.random.split(jax.random.key(0), 3)
        layer = DensityWaves(shells(cell, 2), electrons, 4, 5, key=keys[0], dtype=jnp.float64)
        r, condition = 3 * jax.random.uniform(keys[1], (n, 3)), jnp.ones(4)
        assert np.all(layer(r, condition) == 0)
        weight = jax.random.normal(keys[2], layer.mix.weight.shape)
        layer = eqx.tree_at(lambda one: one.mix.weight, layer, weight)
        of = lambda x: layer(x.reshape(n, 3), condition)
        jet = layer.propagate(r, condition, EveryCoordinate())
        slopes, curvatures = jax.jacfwd(of)(r.reshape(-1)), jax.jacfwd(jax.jacfwd(of))(r.reshape(-1))
        assert np.allclose(jet.value, of(r), atol=1e-12)
        assert np.allclose(jnp.moveaxis(jet.jacobian, 1, 2), slopes, atol=1e-12)
        assert np.allclose(jet.laplacian, jnp.trace(curvatures, axis1=2, axis2=3), atol=1e-11)
        # Displacements of all together, and of one by a vector of the cell, change nothing; exchange of equal spins
        # exchanges rows.
        assert np.allclose(of(r + jnp.full((1, 3), 0.7)), of(r), atol=1e-12)
        assert np.allclose(of(r.at[0].add(jnp.asarray(cell.matrix[1]))), of(r), atol=1e-12)
        swapped = jnp.asarray([1, 0, *range(2, n)])
        assert np.allclose(of(r[swapped]), of(r)[swapped], atol=1e-12)
