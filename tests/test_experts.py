"""Mixture of experts: routers, gates, experts in use, and their balance."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from example_layers import (
    CONDITION,
    ELECTRONS,
    EXPERTS,
    FEATURES,
    GATES,
    KEY,
    condition,
    features,
    mixture,
    numbers,
    router,
    top_k,
)

from qernel import layers
from qernel.layers import (
    AbstractGate,
    ConditionRouter,
    MixtureOfExperts,
    Spline,
    SquaredReLU,
    TopK,
)


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
