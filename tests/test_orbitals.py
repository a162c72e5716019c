"""Plane waves and the orbitals expanded in them."""

import warnings

import folx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.ansatz import SlaterDeterminant
from qernel.lattice import Lattice, cubic, oblique, triangular
from qernel.orbitals import (
    ExpandedOrbitals,
    InterpolatedOrbitals,
    PlaneWaves,
    SpinBlocks,
    check_spins,
    from_exponentials,
    plane_wave_orbitals,
    to_exponentials,
)
from qernel.orbitals._cos_sin import cos_sin

CELLS = {
    "chain": Lattice([[2.0]]),
    "triangular": triangular(3.0),
    "left-handed": Lattice([[0.0, 2.0], [3.0, 0.5]]),
    "skewed": Lattice([[1.0, 0.0], [4.3, 1.5]]),
    "cubic": cubic(2.5),
}
TWIST = (0.3, -1.1, 0.7)


def positions(cell, electrons=4, seed=0):
    fractions = jax.random.uniform(jax.random.key(seed), (electrons, cell.dim), dtype=jnp.float64)
    return fractions @ jnp.asarray(cell.matrix)


def coefficients(waves, orbitals=3, *, seed=1, imaginary=True):
    draw = np.random.default_rng(seed).normal(size=(2, waves.size, orbitals))
    return draw[0] + 1j * draw[1] if imaginary else draw[0]


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_basis_is_orthonormal_complete_and_periodic(cell):
    shortest = np.linalg.norm(Lattice(cell.reciprocal).reduced[0])
    waves = PlaneWaves(cell, 2.3 * shortest)
    assert waves.size == len(cell.reciprocal_vectors(2.3 * shortest)) + 1
    assert np.all(np.diff(waves.squared_wavenumbers) > -1e-9)
    np.testing.assert_allclose(np.sum(waves.vectors**2, axis=1), waves.squared_wavenumbers[1::2])
    n = 2 * np.abs(waves.integers).max() + 1
    axes = np.meshgrid(*[np.arange(n) / n] * cell.dim, indexing="ij")
    grid = jnp.asarray(np.stack(axes, -1).reshape(-1, cell.dim) @ cell.matrix)
    chi = waves(grid)
    np.testing.assert_allclose(chi.T @ chi / len(grid), np.eye(waves.size), atol=1e-12)
    r = positions(cell)
    np.testing.assert_allclose(waves(r + jnp.asarray(cell.matrix[-1:])), waves(r), atol=1e-11)


def test_basis_of_no_cutoff_is_the_constant():
    waves = PlaneWaves(triangular(3.0), 0.0)
    assert waves.size == 1
    np.testing.assert_allclose(waves(positions(waves.lattice)), 1.0)
    np.testing.assert_allclose(waves.expand(positions(waves.lattice), jnp.full((1, 2), 0.5)), 0.5)


def test_exponentials_are_the_same_functions():
    waves = PlaneWaves(oblique(1.0, 1.3, 70.0), 12.0)
    c = coefficients(waves)
    np.testing.assert_allclose(from_exponentials(to_exponentials(c)), c, atol=1e-14)
    r = positions(waves.lattice)
    phases = np.asarray(r) @ (waves.signed_integers @ waves.lattice.reciprocal).T
    expected = np.exp(1j * phases) @ to_exponentials(c)
    np.testing.assert_allclose(waves.expand(r, jnp.asarray(c)), expected, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("imaginary", [False, True], ids=["real", "complex"])
def test_expansion_keeps_the_precision_of_the_positions(dtype, imaginary):
    waves = PlaneWaves(triangular(3.0), 6.0)
    c = coefficients(waves, imaginary=imaginary)
    r = positions(waves.lattice).astype(dtype)
    values = ExpandedOrbitals(waves, c)(r, None)
    wide = {jnp.float32: jnp.complex64, jnp.float64: jnp.complex128}[dtype]
    assert values.dtype == (wide if imaginary else dtype)
    tolerance = 1e-12 if dtype == jnp.float64 else 1e-4
    np.testing.assert_allclose(values, np.asarray(waves(r.astype(jnp.float64))) @ c, atol=tolerance)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_twist_is_the_phase_of_a_translation(cell):
    waves = PlaneWaves(cell, 2.3 * np.linalg.norm(Lattice(cell.reciprocal).reduced[0]))
    twist = TWIST[: cell.dim]
    orbitals = ExpandedOrbitals(waves, coefficients(waves), twist)
    r = positions(cell)
    assert orbitals.orbitals == 3
    for vector, angle in zip(cell.matrix, twist, strict=True):
        moved = orbitals(r + jnp.asarray(vector)[None], None)
        np.testing.assert_allclose(moved, np.exp(1j * angle) * orbitals(r, None), atol=1e-10)


def forward(function, r):
    # folx itself relies on both promotions.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        result = jax.jit(folx.forward_laplacian(function, sparsity_threshold=0))(r)
        return result.x, result.dense_jacobian, result.laplacian


def exact(function, r):
    flat = lambda x: function(x.reshape(r.shape))
    jacobian, hessian = jax.jit(jax.jacfwd(flat)), jax.jit(jax.hessian(flat))
    x = r.ravel()
    return flat(x), jnp.moveaxis(jacobian(x), -1, 0), jnp.trace(hessian(x), axis1=-2, axis2=-1)


@pytest.mark.parametrize("name", ["chain", "skewed", "cubic"])
def test_laplacian_of_plane_waves_is_exact(name):
    cell = CELLS[name]
    waves = PlaneWaves(cell, 2.0 * np.linalg.norm(Lattice(cell.reciprocal).reduced[0]))
    r = positions(cell)
    value, _, laplacian = forward(lambda x: waves.expand(x, jnp.eye(waves.size)), r)
    np.testing.assert_allclose(laplacian, -value * waves.squared_wavenumbers[None], atol=1e-9)


@pytest.mark.parametrize("name", ["skewed", "cubic"])
@pytest.mark.parametrize("backflow", [0.0, 0.2], ids=["bare", "backflow"])
def test_forward_laplacian_rule_agrees_with_the_hessian(name, backflow):
    cell = CELLS[name]
    waves = PlaneWaves(cell, 2.0 * np.linalg.norm(Lattice(cell.reciprocal).reduced[0]))
    orbitals = ExpandedOrbitals(waves, coefficients(waves, imaginary=False))
    r = positions(cell)

    def function(x):
        moved = x + backflow * jnp.sin(x) * jnp.sum(jnp.cos(x))
        return orbitals(moved, None)

    for a, b in zip(forward(function, r), exact(function, r), strict=True):
        np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-9, atol=1e-9)


def test_coefficients_may_depend_on_the_positions():
    """Outside the closed rule: folx's general one has to serve."""
    waves = PlaneWaves(triangular(3.0), 6.0)
    table = jnp.asarray(coefficients(waves, imaginary=False))
    function = lambda x: waves.expand(x, table * (1 + 0.1 * jnp.sum(jnp.sin(x))))
    r = positions(waves.lattice)
    for a, b in zip(forward(function, r), exact(function, r), strict=True):
        np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-9, atol=1e-9)


def test_laplacian_of_a_complex_twisted_determinant():
    waves = PlaneWaves(triangular(3.0), 6.0)
    orbitals = ExpandedOrbitals(waves, coefficients(waves, 4), (0.4, 0.9))
    function = lambda x: jnp.linalg.slogdet(orbitals(x, None))[1]
    r = positions(waves.lattice)
    for a, b in zip(forward(function, r), exact(function, r), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)


def interpolated(nodes, function, *, waves=None, twist=None):
    waves = PlaneWaves(triangular(3.0), 3.0) if waves is None else waves
    table = np.stack([function(s) * coefficients(waves, imaginary=False) for s in nodes])
    return InterpolatedOrbitals(waves, nodes, table, lambda parameters: parameters, twist), table


def test_interpolation_is_exact_at_nodes_clamped_outside_and_follows_parabolas():
    nodes = np.array([0.0, 0.1, 0.35, 0.5])
    orbitals, table = interpolated(nodes, lambda s: 1 + s - 3 * s**2)
    for node, expected in zip(nodes, table, strict=True):
        np.testing.assert_allclose(orbitals.coefficients(jnp.asarray(node)), expected, atol=1e-14)
    np.testing.assert_allclose(orbitals.coefficients(jnp.asarray(-1.0)), table[0], atol=1e-14)
    np.testing.assert_allclose(orbitals.coefficients(jnp.asarray(9.0)), table[-1], atol=1e-14)
    for s in (0.03, 0.2, 0.44):
        expected = table[0] * (1 + s - 3 * s**2)
        np.testing.assert_allclose(orbitals.coefficients(jnp.asarray(s)), expected, atol=1e-12)


def test_interpolation_is_continuously_differentiable():
    nodes = np.linspace(0.0, 1.0, 6) ** 2
    orbitals, _ = interpolated(nodes, lambda s: np.cos(4 * s))
    slope = jax.jit(jax.jacfwd(orbitals.coefficients))
    for node in nodes[1:-1]:
        left, right = slope(jnp.asarray(node - 1e-9)), slope(jnp.asarray(node + 1e-9))
        np.testing.assert_allclose(left, right, atol=1e-6)


def test_interpolation_of_one_node_and_two_nodes():
    one, table = interpolated([0.2], lambda s: 1.0)
    np.testing.assert_allclose(one.coefficients(jnp.asarray(7.0)), table[0])
    two, table = interpolated([0.2, 0.4], lambda s: s)
    np.testing.assert_allclose(two.coefficients(jnp.asarray(0.3)), (table[0] + table[1]) / 2, atol=1e-14)


def test_interpolated_orbitals_at_float32_under_vmap():
    nodes = np.linspace(0.0, 0.08, 9)
    orbitals, table = interpolated(nodes, lambda s: np.exp(-s), twist=(0.2, 0.0))
    r = jnp.stack([positions(orbitals.waves.lattice, seed=i) for i in range(5)]).astype(jnp.float32)
    depths = jnp.asarray(nodes[[2, 7]], jnp.float32)
    values = jax.jit(jax.vmap(jax.vmap(orbitals, (0, None)), (None, 0)))(r, depths)
    assert values.shape == (2, 5, 4, 3) and values.dtype == jnp.complex64
    fixed = ExpandedOrbitals(orbitals.waves, table[7], (0.2, 0.0))
    np.testing.assert_allclose(values[1, 0], fixed(r[0].astype(jnp.float64), None), atol=1e-4)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("twisted", [False, True])
def test_lowest_plane_waves(cell, twisted):
    twist = TWIST[: cell.dim] if twisted else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        orbitals = plane_wave_orbitals(cell, 5, twist)
    offset = np.array(twist or [0.0] * cell.dim) @ cell.reciprocal / (2 * np.pi)
    axes = np.meshgrid(*[np.arange(-9, 10)] * cell.dim, indexing="ij")
    vectors = np.stack(axes, -1).reshape(-1, cell.dim) @ cell.reciprocal + offset
    expected = np.sort(np.sum(vectors**2, axis=1))[:5]
    r = positions(cell, electrons=6)
    values = jax.jit(lambda x: orbitals(x, None))
    value, step = np.asarray(values(r)), 1e-3
    laplacian = sum(
        np.asarray(values(r + sign * step * jnp.eye(cell.dim)[a][None])) - value
        for a in range(cell.dim)
        for sign in (1, -1)
    )
    found = -np.sum(value.conj() * laplacian, axis=0) / np.sum(np.abs(value) ** 2, axis=0) / step**2
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_lowest_plane_waves_name_an_open_shell():
    with pytest.warns(UserWarning, match="6 electrons .* fill 5 of 6 .* 1 or 7"):
        plane_wave_orbitals(triangular(3.0), 6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plane_wave_orbitals(triangular(3.0), 7).orbitals == 7


def test_bad_input_is_named():
    waves = PlaneWaves(triangular(3.0), 3.0)
    with pytest.raises(ValueError, match="must not be negative"):
        PlaneWaves(triangular(3.0), -1.0)
    with pytest.raises(ValueError, match="must be positive"):
        plane_wave_orbitals(triangular(3.0), 0)
    with pytest.raises(ValueError, match="basis functions"):
        ExpandedOrbitals(waves, np.ones((waves.size + 1, 2)))
    with pytest.raises(ValueError, match="2 angles"):
        ExpandedOrbitals(waves, np.ones((waves.size, 2)), (0.1,))
    with pytest.raises(ValueError, match="ascend"):
        InterpolatedOrbitals(waves, [0.1, 0.0], np.ones((2, waves.size, 2)), lambda p: p)
    with pytest.raises(ValueError, match="nodes"):
        InterpolatedOrbitals(waves, [0.0, 0.1], np.ones((3, waves.size, 2)), lambda p: p)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 3e-7), (np.float64, 3e-15)])
def test_cos_sin_and_their_derivatives(dtype, tolerance):
    turns = np.linspace(-3, 3, 5003).astype(dtype)
    exact = 2 * np.pi * turns.astype(np.longdouble)
    values, slopes = jax.jvp(cos_sin, (jnp.asarray(turns),), (jnp.ones(5003, dtype),))
    cosine, sine, slope_cosine, slope_sine = map(np.asarray, (*values, *slopes))
    assert cosine.dtype == dtype and np.max(np.abs(cosine - np.cos(exact))) < tolerance
    assert np.max(np.abs(sine - np.sin(exact))) < tolerance
    assert np.allclose(slope_cosine, -2 * np.pi * np.sin(exact), atol=10 * tolerance)
    assert np.allclose(slope_sine, 2 * np.pi * np.cos(exact), atol=10 * tolerance)
    second = np.asarray(jax.vmap(jax.grad(jax.grad(lambda t: cos_sin(t)[0])))(jnp.asarray(turns)))
    assert np.allclose(second, -((2 * np.pi) ** 2) * np.cos(exact), atol=50 * tolerance)


# ------------------------------------------------------------------------------- both spins


@pytest.mark.filterwarnings("ignore:open shell")
def test_spin_blocks_are_a_product_of_determinants():
    cell = CELLS["triangular"]
    up, down = plane_wave_orbitals(cell, 3), plane_wave_orbitals(cell, 2, TWIST[:2])
    blocks, r = SpinBlocks(up, down), positions(cell, 5)
    assert blocks.orbitals == 5 and blocks.electrons == (3, 2)
    product = np.linalg.det(np.asarray(up(r[:3], None))) * np.linalg.det(np.asarray(down(r[3:], None)))
    np.testing.assert_allclose(np.linalg.det(np.asarray(blocks(r, None))), product, rtol=1e-10)
    with pytest.raises(ValueError, match="3 spin-up and 2 spin-down orbitals are for as many electrons, not for 4"):
        blocks(r[:4], None)


@pytest.mark.filterwarnings("ignore:open shell")
@pytest.mark.parametrize(
    ("orbitals", "electrons", "message"),
    [
        (lambda cell: plane_wave_orbitals(cell, 5), (3, 2), r"SpinBlocks\(up, down\): one set under all 5"),
        (lambda cell: plane_wave_orbitals(cell, 2), (1, 1), r"SpinBlocks\(up, down\)"),
        (lambda cell: plane_wave_orbitals(cell, 2), (0, 3), "3 electrons need as many orbitals"),
        (lambda cell: plane_wave_orbitals(cell, 2), (0, 0), "at least one electron"),
        (lambda cell: plane_wave_orbitals(cell, 2), (3, -1), "at least one electron"),
        (
            lambda cell: SpinBlocks(plane_wave_orbitals(cell, 3), plane_wave_orbitals(cell, 2)),
            (2, 3),
            "as many orbitals of each spin, the blocks have 3 and 2",
        ),
    ],
)
def test_each_spin_needs_orbitals_of_its_own(orbitals, electrons, message):
    with pytest.raises(ValueError, match=message):
        check_spins(orbitals(CELLS["triangular"]), electrons)
    with pytest.raises(ValueError, match=message):
        SlaterDeterminant(orbitals(CELLS["triangular"]), electrons)
