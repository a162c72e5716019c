"""Kernels and networks of any shape: kernels keep the density, gradients are those of differences.

`QERNEL_FUZZ_EXAMPLES=1000 pytest -n 0 --timeout 0 tests/faults/test_random_networks.py` tries so many of each.
"""

import functools

import equinox as eqx
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
from families import compiled_call, random_positions, small_family, small_qernel
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from test_properties import EXAMPLES, seeds, tried

from qernel.layers import SquaredReLU, trainable
from qernel.sampling import BlockWalk, Sampler, langevin, random_walk

WALKERS = 4000
# Each compiles a network: the failing example is not made smaller.
few = settings(tried, max_examples=EXAMPLES or 3, phases=[Phase.explicit, Phase.generate])


@tried
@given(
    st.sampled_from(["random walk", "block", "langevin"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.floats(0.05, 3.0),
    st.integers(1, 6),
    seeds,
)
def test_kernels_keep_a_density_whatever_their_step(kind, electrons, dim, step, moves, seed):
    """Walkers drawn from a normal distribution of any covariance, with a node through it, are distributed as before.

    The node at x = 0 of the first electron: the density is x² times a normal one, as of a first excited state, whose
    samples are known too.
    """
    rng = np.random.default_rng(seed)
    widths = rng.uniform(0.3, 3.0, (electrons, dim))
    samples = rng.standard_normal((WALKERS, electrons, dim))
    # x² exp(-x²/2) is the density of a chi of three degrees of freedom, of either sign.
    samples[:, 0, 0] = np.sqrt(rng.chisquare(3, WALKERS)) * rng.choice([-1, 1], WALKERS)
    # A mixing of the coordinates leaves the normal ones what they are, but not the first.
    mixing = np.eye(electrons * dim)
    if electrons * dim > 2:
        mixing[1:, 1:] = np.linalg.qr(rng.standard_normal((electrons * dim - 1,) * 2))[0]
    matrix = jnp.asarray(mixing * widths.ravel())
    positions = jnp.asarray((samples.reshape(WALKERS, -1) @ np.asarray(matrix)).reshape(samples.shape))
    inverse = jnp.linalg.inv(matrix)

    def log_density(r, parameters):
        z = r.reshape(-1) @ inverse
        return jnp.log(z[0] ** 2) - jnp.sum(z**2) / 2

    kernel = {"random walk": random_walk, "block": BlockWalk(1), "langevin": langevin}[kind]
    sampler = Sampler(algorithm=kernel, moves=moves, gain=0.0)
    walkers = compiled_call(
        sampler, log_density, {"x": jnp.zeros(1)}, positions[None], jnp.array([step]), jax.random.key(seed)
    )
    after = np.asarray(walkers.positions[0]).reshape(WALKERS, -1) @ np.asarray(inverse)
    assert np.all(np.isfinite(after)) and not np.any(walkers.lost)
    expected = np.ones(electrons * dim)
    expected[0] = 3.0
    for power, moments, spread in (
        (1, np.zeros_like(expected), np.sqrt(expected)),
        (2, expected, np.where(expected == 3, np.sqrt(6), np.sqrt(2))),
        (4, np.where(expected == 3, 15.0, 3.0), np.where(expected == 3, np.sqrt(720), np.sqrt(96))),
    ):
        deviation = (np.mean(after**power, axis=0) - moments) / (spread / np.sqrt(WALKERS))
        assert np.all(np.abs(deviation) < 6), (power, deviation)


@few
@given(
    st.sampled_from([(3, 0), (2, 1), (1, 1)]),
    st.sampled_from([4, 8]),
    st.integers(1, 2),
    st.sampled_from([(1, 1), (2, 1), (2, 2)]),
    st.integers(1, 3),
    st.booleans(),
    st.booleans(),
    seeds,
)
def test_gradients_of_networks_are_those_of_differences(
    electrons, width, layers, heads, experts, complex, sparse, seed
):
    """Along a random direction of all parameters, of all coordinates, and of the coupling."""
    family = small_family(electrons)
    ansatz = small_qernel(
        family,
        seed=seed,
        width=width,
        layers=layers,
        query_heads=heads[0],
        key_value_heads=heads[1],
        experts=experts,
        complex=complex,
        gate=SquaredReLU() if sparse else None,
    )
    weights, static = eqx.partition(ansatz, trainable(ansatz))
    flat, unravel = jax.flatten_util.ravel_pytree(weights)
    r = random_positions(family, 1, seed=seed)[0, 0]
    depth = family.select(1).depth
    rng = np.random.default_rng(seed)
    places = flat, r, depth
    directions = [jnp.asarray(rng.standard_normal(np.shape(x)) / np.sqrt(np.size(x))) for x in places]

    def value(flat, r, depth):
        of_depth = eqx.tree_at(lambda p: p.depth, family.select(1), depth)
        return eqx.combine(unravel(flat), static)(r, of_depth).log_magnitude

    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
    def slope_and_difference(along):
        steps = [along[i] * directions[i] for i in range(3)]
        at = lambda t: value(*(x + t * step for x, step in zip(places, steps, strict=True)))
        slope = jax.jvp(at, (0.0,), (1.0,))[1]
        gradients = jax.grad(value, (0, 1, 2))(*places)
        reverse = sum(jnp.vdot(gradient, step) for gradient, step in zip(gradients, steps, strict=True))
        # Of fourth order, all four as one.
        t = 1e-3 * jnp.array([-2.0, -1.0, 1.0, 2.0])
        difference = jax.vmap(at)(t) @ jnp.array([1.0, -8.0, 8.0, -1.0]) / 12e-3
        return slope, reverse, difference

    for number in range(3):
        slope, reverse, difference = map(float, slope_and_difference(jnp.eye(3)[number]))
        np.testing.assert_allclose(reverse, slope, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(slope, difference, rtol=1e-4, atol=1e-6)
