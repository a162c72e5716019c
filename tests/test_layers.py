"""Every layer: shape, dtype, jit = eager, permutations, forward Laplacian; then the equations one by one."""

import functools
import warnings
from typing import Any

import equinox as eqx
import folx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel import layers
from qernel.layers import (
    MLP,
    AbstractGate,
    ConditionRouter,
    ElectronRouter,
    FiLM,
    Frozen,
    GroupedQueryAttention,
    JointRouter,
    LayerNorm,
    Linear,
    MixtureOfExperts,
    PeriodicEmbedding,
    RMSNorm,
    Spline,
    SquaredReLU,
    TopK,
    load_balance,
    load_balancing_loss,
    trainable,
)
from qernel.propagation import Jet, PairJet, own_jet, propagate

ELECTRONS, FEATURES, CONDITION, EXPERTS = 5, 8, 3, 4
KEY = jax.random.key(7)


class Conditioned(eqx.Module):
    """A layer of (x, condition) with the condition filled in."""

    layer: Any
    condition: jax.Array

    def __call__(self, x):
        return self.layer(x, self.condition)


def numbers(shape, dtype=jnp.float64):
    return jnp.asarray(np.random.default_rng(3).normal(size=shape), dtype)


def condition(dtype):
    return jnp.asarray([0.4, -0.3, 1.1], dtype)


def film(dtype):
    layer = FiLM(CONDITION, FEATURES, dtype=dtype)
    weight = numbers(layer.weight.shape, dtype)
    return Conditioned(eqx.tree_at(lambda film: film.weight, layer, weight), condition(dtype))


ROUTERS = {"electron": ElectronRouter, "condition": ConditionRouter, "joint": JointRouter}


def router(kind, dtype):
    sizes = {"features": FEATURES, "condition_size": CONDITION, "experts": EXPERTS}
    return ROUTERS[kind](**sizes, key=KEY, dtype=dtype)


def top_k(k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TopK(k)


GATES = {"softmax": layers.Softmax, "relu2": SquaredReLU, "top2": lambda: top_k(2), "spline": Spline}


def mixture(kind, gate, dtype):
    layer = MixtureOfExperts(FEATURES, 6, EXPERTS, router=router(kind, dtype), gate=GATES[gate](), key=KEY, dtype=dtype)
    bias_in = numbers(layer.bias_in.shape, dtype)
    bias_out = numbers(layer.bias_out.shape, dtype)
    layer = eqx.tree_at(lambda m: (m.bias_in, m.bias_out), layer, (bias_in, bias_out))
    return Conditioned(layer, condition(dtype))


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


def features(dtype=jnp.float64, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(ELECTRONS, FEATURES)), dtype)


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
    assert {c.__name__ for c in modules - tested if not c.__name__.startswith("Abstract")} == {"LoadBalance"}


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


# ------------------------------------------------------------------------------------- one by one


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


@pytest.mark.parametrize("kind", ["electron", "condition", "joint"])
@pytest.mark.parametrize("gate", GATES)
def test_mixture_equals_a_loop_over_experts(kind, gate):
    whole, x = mixture(kind, gate, jnp.float64), features()
    layer = whole.layer
    gates = layer.gates(x, whole.condition)
    assert gates.shape == (ELECTRONS, EXPERTS)
    expected = jnp.zeros_like(x)
    for e in range(EXPERTS):
        block = slice(e * layer.hidden, (e + 1) * layer.hidden)
        hidden = jnp.tanh(x @ layer.weight_in[:, block] + layer.bias_in[None, block])
        expected += gates[:, e : e + 1] * (hidden @ layer.weight_out[block] + layer.bias_out[None, e])
    np.testing.assert_allclose(whole(x), expected, rtol=1e-11, atol=1e-12)


def test_routers_depend_on_what_they_say():
    x, c = features(), condition(jnp.float64)
    dx, dc = features(seed=5), 2 * c
    electron, both, outside = (router(kind, jnp.float64) for kind in ("electron", "joint", "condition"))
    assert outside(x, c).shape == (EXPERTS,)
    np.testing.assert_array_equal(outside(x, c), outside(dx, c))
    np.testing.assert_array_equal(electron(x, c), electron(x, None))
    assert not np.allclose(outside(x, c), outside(x, dc))
    assert not np.allclose(both(x, c), both(x, dc)) and not np.allclose(both(x, c), both(dx, c))


def test_condition_routing_is_computed_once_for_all_walkers():
    """With the condition outside the vmap, nothing of the routing has the walker axis."""
    layer, walkers = mixture("condition", "softmax", jnp.float64).layer, 11
    batch = jnp.zeros((walkers, ELECTRONS, FEATURES))
    jaxpr = jax.make_jaxpr(jax.vmap(lambda x: layer._gates(x, condition(jnp.float64)), out_axes=None))(batch)
    assert all(walkers not in v.aval.shape for eqn in jaxpr.eqns for v in eqn.outvars)


def test_softmax_gates_sum_to_one():
    gates = layers.Softmax()(10 * features())
    np.testing.assert_allclose(gates.sum(axis=-1), 1, rtol=1e-13)
    assert (gates > 0).all()


def test_squared_relu_gates_are_sensible():
    gate = jax.jit(SquaredReLU())
    gates = np.asarray(gate(jnp.asarray(np.random.default_rng(0).normal(size=(4000, EXPERTS)))))
    assert 0.85 < gates.sum(axis=-1).mean() < 0.95
    assert 0.8 < (gates > 0).mean() < 0.88
    assert (gates >= 0).all() and (gates.sum(axis=-1) < 1).all()
    np.testing.assert_array_equal(gate(jnp.full(EXPERTS, -30.0)), jnp.zeros(EXPERTS))
    off = jax.jit(jax.jacfwd(gate))(jnp.full(EXPERTS, -30.0))
    np.testing.assert_array_equal(off, jnp.zeros((EXPERTS, EXPERTS)))


@pytest.mark.parametrize("others", [(0.7, -0.2, 0.1), (-3.0, -3.0, -3.0)])
def test_squared_relu_gates_are_smooth_at_the_threshold(others):
    """Value and slope, by finite differences from either side, meet where an expert switches on."""
    gate = SquaredReLU()
    curve = lambda t: gate(jnp.stack([t - gate.offset, *map(jnp.asarray, others)]))  # on from t = 0
    path, slope = jax.jit(curve), jax.jit(jax.jacfwd(curve))
    value, step = np.asarray(path(0.0)), 1e-5
    left = (value - np.asarray(path(-step))) / step
    right = (np.asarray(path(step)) - value) / step
    np.testing.assert_allclose(path(step), value, atol=1e-8)
    np.testing.assert_allclose(path(-step), value, atol=1e-8)
    np.testing.assert_allclose(left, right, atol=1e-4)
    np.testing.assert_allclose(slope(0.0), left, atol=1e-4)
    for t in (-1e-9, 0.0, 1e-9):
        np.testing.assert_allclose(slope(t), right, atol=1e-4)


def test_top_k_jumps_where_squared_relu_does_not():
    """The reason for the warning: a hard choice changes the output by a finite amount in a vanishing step."""
    sides = np.array([[0.5 + 1e-9, 0.5, 0.0], [0.5 - 1e-9, 0.5, 0.0]])
    jump = lambda gate: np.abs(np.diff(jax.jit(gate)(sides), axis=0)).max()
    assert jump(top_k(1)) == 1
    assert jump(SquaredReLU()) < 1e-8


def test_top_k_warns_and_picks_k():
    with pytest.warns(UserWarning, match="delta functions"):
        gate = TopK(2)
    gates = gate(jnp.asarray([[0.0, 3.0, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0], [500.0, -500.0, 0.0, 499.0]]))
    half = 1 / (1 + np.exp(-1.0))
    expected = [[0, half, 0, 1 - half], [0.5, 0.5, 0, 0], [half, 0, 0, 1 - half]]
    np.testing.assert_allclose(gates, expected, atol=1e-14)
    logits = numbers((50, 6))
    kept = np.asarray(gate(logits) > 0)
    assert (kept.sum(axis=-1) == 2).all()
    np.testing.assert_array_equal(np.nonzero(kept)[1].reshape(50, 2), np.sort(np.argsort(logits)[:, -2:]))


def test_spline_weights_are_smooth_and_few():
    logits = jnp.linspace(-1, 1, 401)[:, None] * jnp.linspace(-5, 5, 8)[None]
    gates = np.asarray(Spline()(logits))
    np.testing.assert_allclose(gates.sum(axis=1), 1, atol=1e-13)
    assert (gates >= -1e-15).all() and ((gates > 1e-14).sum(axis=1) <= 3).all()
    # Every expert is used somewhere, and no slope jumps: second differences fall with the square of the step.
    assert (gates.max(axis=0) > 0.6).sum() >= 6

    def along(step):
        path = jnp.arange(-1, 1, step)[:, None] * jnp.linspace(-5, 5, 8)[None]
        return np.abs(np.diff(Spline()(path), 2, axis=0)).max()

    assert along(0.001) < 0.3 * along(0.002)
    assert np.asarray(Spline(5)(logits)).sum(axis=1) == pytest.approx(np.ones(401))


@pytest.mark.parametrize("gate", ["spline", "top2"])
def test_experts_that_are_not_in_use_are_not_worked_out(gate):
    class Dense(AbstractGate):
        gate: AbstractGate

        def __call__(self, logits):
            return self.gate(logits)

    sizes = dict(features=FEATURES, condition_size=CONDITION, experts=16)
    layer = MixtureOfExperts(
        FEATURES,
        6,
        16,
        router=ConditionRouter(**sizes, key=KEY, scale=3.0, dtype=jnp.float64),
        gate=GATES[gate](),
        key=KEY,
        dtype=jnp.float64,
    )
    layer = eqx.tree_at(lambda m: (m.bias_in, m.bias_out), layer, (numbers((96,)), numbers((16, FEATURES))))
    dense = eqx.tree_at(lambda m: m.gate, layer, Dense(layer.gate))
    x, c = features(), condition(jnp.float64)
    np.testing.assert_allclose(layer(x, c), dense(x, c), atol=1e-13)
    slopes = [eqx.filter_grad(lambda m: jnp.sum(m(x, c) ** 2))(one) for one in (layer, dense)]
    for a, b in zip(*(jax.tree.leaves(eqx.filter(s, eqx.is_array)) for s in slopes), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    flops = [jax.jit(lambda x, m=one: m(x, c)).lower(x).compile().cost_analysis()["flops"] for one in (layer, dense)]
    assert flops[0] < 0.4 * flops[1]


def test_top_k_of_all_experts_is_softmax():
    np.testing.assert_allclose(top_k(EXPERTS)(features()[:, :4]), layers.Softmax()(features()[:, :4]), rtol=1e-13)


def test_a_gate_and_a_router_of_ones_own():
    class Sigmoid(AbstractGate):
        def __call__(self, logits):
            return jax.nn.sigmoid(logits) / logits.shape[-1]

    layer = MixtureOfExperts(FEATURES, 6, EXPERTS, gate=Sigmoid(), key=KEY, dtype=jnp.float64)
    assert layer(features()).shape == (ELECTRONS, FEATURES)


def test_load_balance_by_hand():
    gates = jnp.asarray([[0.5, 0.5, 0.0], [0.75, 0.25, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    balance = load_balance(gates)
    np.testing.assert_array_equal(balance.load, [0.5, 0.0, 0.25])  # the fourth electron uses no expert
    np.testing.assert_array_equal(balance.importance, [1.25 / 4, 0.75 / 4, 1 / 4])
    np.testing.assert_array_equal(balance.active, [0.5, 0.5, 0.25])
    assert balance.loss == 3 * (0.5 * 1.25 / 4 + 0.25 / 4)
    batched = load_balance(jnp.stack([gates, gates[::-1]]).reshape(2, 2, 2, 3))
    np.testing.assert_allclose(batched.importance, balance.importance, rtol=1e-15)
    np.testing.assert_allclose(batched.loss, balance.loss, rtol=1e-15)


def test_load_balancing_loss_limits_and_gradient():
    even, one = jnp.eye(EXPERTS), jnp.zeros((EXPERTS, EXPERTS)).at[:, 2].set(1.0)
    assert load_balancing_loss(even) == 1
    assert load_balancing_loss(one) == EXPERTS
    gates = layers.Softmax()(features()[:, :EXPERTS])
    gradient = jax.jit(jax.grad(load_balancing_loss))(gates)  # E f_e / electrons: through the importance only
    expected = EXPERTS * load_balance(gates).load / ELECTRONS
    np.testing.assert_allclose(gradient, jnp.broadcast_to(expected, gates.shape), rtol=1e-13)


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
