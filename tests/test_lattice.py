import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.lattice import (
    Lattice,
    Supercell,
    bcc,
    check_commensurate,
    cubic,
    fcc,
    hexagonal,
    oblique,
    rectangular,
    shells,
    square,
    supercell,
    triangular,
)

LATTICES = {
    "chain": Lattice(((1.3,),)),
    "square": square(1.1),
    "triangular": triangular(1.0),
    "triangular at 120 degrees": Lattice(((1.0, 0.0), (-0.5, 3**0.5 / 2))),
    "rectangular": rectangular(1.0, 2.5),
    "oblique": oblique(1.0, 1.7, 74.0),
    "skewed": Lattice(((1.0, 0.0), (7.3, 0.9))),
    "very skewed": Lattice(((1.0, 0.2), (37.1, 8.3))),
    "left-handed": Lattice(((0.3, 1.2), (1.0, 0.1))),
    "elongated": Lattice(((13.0, 0.0), (0.5, 3**0.5 / 2))),
    "cubic": cubic(1.2),
    "bcc": bcc(1.0),
    "fcc": fcc(1.0),
    "hexagonal": hexagonal(1.0, 1.6),
    "skewed in 3D": Lattice(((1.0, 0.0, 0.0), (2.4, 1.1, 0.0), (-3.3, 4.6, 0.8))),
    "left-handed in 3D": Lattice(((0.0, 1.0, 0.3), (1.2, 0.0, 0.1), (0.4, 0.2, 1.5))),
}
every_lattice = pytest.mark.parametrize("lattice", LATTICES.values(), ids=LATTICES.keys())


# Small programs, each run once: compiling them fast matters more than running them fast.
wrap, minimum_image = (
    eqx.filter_jit(method, compiler_options={"xla_backend_optimization_level": 0})
    for method in (lambda lattice, r: lattice.wrap(r), lambda lattice, r: lattice.minimum_image(r))
)


def whole(x):
    return np.allclose(x, np.round(x), atol=1e-8)


def brute_force(lattice, radius):
    """All lattice vectors within the radius, from an index box large enough for the cells of this file."""
    span = 120 if lattice.dim < 3 else 40
    index = np.array(list(itertools.product(range(-span, span + 1), repeat=lattice.dim)))
    vectors = index @ lattice.matrix
    return vectors[np.linalg.norm(vectors, axis=1) <= radius * (1 + 1e-9)]


def as_set(vectors):
    return {tuple(row) for row in (np.round(vectors, 7) + 0.0).tolist()}


@every_lattice
def test_reciprocal(lattice):
    np.testing.assert_allclose(lattice.matrix @ lattice.reciprocal.T, 2 * np.pi * np.eye(lattice.dim), atol=1e-9)
    np.testing.assert_allclose(
        lattice.volume * Lattice(lattice.reciprocal).volume, (2 * np.pi) ** lattice.dim, rtol=1e-12
    )
    assert lattice.volume > 0


def test_known_volumes():
    np.testing.assert_allclose(triangular(2.0).volume, 2 * 3**0.5, rtol=1e-14)
    np.testing.assert_allclose(bcc(2.0).volume, 4.0, rtol=1e-14)
    np.testing.assert_allclose(fcc(2.0).volume, 2.0, rtol=1e-14)
    np.testing.assert_allclose(hexagonal(2.0, 3.0).volume, 6 * 3**0.5, rtol=1e-14)
    np.testing.assert_allclose(bcc(2.0).shortest_translation(), 3**0.5, rtol=1e-14)
    np.testing.assert_allclose(fcc(2.0).shortest_translation(), 2**0.5, rtol=1e-14)


@every_lattice
def test_translations_by_radius(lattice):
    radius = 2.2 * lattice.shortest_translation()
    found = lattice.translations(radius)
    assert as_set(found) == as_set(brute_force(lattice, radius))
    assert len(found) == len(as_set(found))
    assert np.all(found[0] == 0)
    lengths = np.linalg.norm(found, axis=1)
    assert np.all(np.diff(lengths) > -1e-9)


@every_lattice
def test_reciprocal_vectors(lattice):
    dual = Lattice(lattice.reciprocal)
    radius = 2.2 * dual.shortest_translation()
    found = lattice.reciprocal_vectors(radius)
    assert as_set(found) | {(0.0,) * lattice.dim} == as_set(dual.translations(radius))
    assert np.all(np.linalg.norm(found, axis=1) > 0)
    assert whole(found @ lattice.matrix.T / (2 * np.pi))


def test_reciprocal_vectors_do_not_depend_on_the_basis():
    first = triangular(1.0)
    second = Lattice(np.array([[3, 7], [2, 5]]) @ first.matrix)
    np.testing.assert_allclose(first.reciprocal_vectors(40.0), second.reciprocal_vectors(40.0), atol=1e-9)
    lengths = np.linalg.norm(first.reciprocal_vectors(20.0), axis=1) / (4 * np.pi / 3**0.5)
    np.testing.assert_allclose(lengths, [1] * 6 + [3**0.5] * 6 + [2] * 6 + [7**0.5] * 12, rtol=1e-12)


@every_lattice
def test_reduced_basis_is_a_shortest_basis(lattice):
    reduced = lattice.reduced
    change = reduced @ np.linalg.inv(lattice.matrix)
    assert whole(change)
    np.testing.assert_allclose(abs(np.linalg.det(change)), 1, rtol=1e-6)
    shortest = np.linalg.norm(brute_force(lattice, 1.001 * np.linalg.norm(reduced[0])), axis=1)
    np.testing.assert_allclose(np.sort(shortest)[1], np.linalg.norm(reduced[0]), rtol=1e-9)


@pytest.mark.parametrize(
    "name, dtype",
    [*((name, jnp.float64) for name in LATTICES), ("oblique", jnp.float32), ("fcc", jnp.float32)],
)
def test_wrap(name, dtype):
    lattice = LATTICES[name]
    r = np.random.default_rng(0).normal(0, 20, (200, lattice.dim))
    wrapped = wrap(lattice, jnp.asarray(r, dtype))
    assert wrapped.dtype == dtype
    tolerance = 1e-8 if dtype == jnp.float64 else 5e-3
    fraction = np.asarray(wrapped, np.float64) @ np.linalg.inv(lattice.matrix)
    assert np.all(fraction > -tolerance) and np.all(fraction < 1 + tolerance)
    moved = (np.asarray(wrapped, np.float64) - r) @ np.linalg.inv(lattice.matrix)
    assert np.allclose(moved, np.round(moved), atol=tolerance)


@every_lattice
def test_minimum_image_against_brute_force(lattice):
    basis = lattice.reduced
    dr = np.random.default_rng(0).uniform(-3, 3, (300, lattice.dim)) @ lattice.matrix
    shortest = np.asarray(minimum_image(lattice, jnp.asarray(dr)))
    assert whole((shortest - dr) @ np.linalg.inv(lattice.matrix))
    cells = np.round(dr @ np.linalg.inv(basis))
    near = dr - cells @ basis
    span = np.array(list(itertools.product(range(-3, 4), repeat=lattice.dim))) @ basis
    expected = np.linalg.norm(near[:, None] + span[None], axis=-1).min(axis=1)
    np.testing.assert_allclose(np.linalg.norm(shortest, axis=1), expected, atol=1e-9)


def test_minimum_image_keeps_short_separations():
    dr = jnp.array([[1e-9, -2e-9]], jnp.float32)
    np.testing.assert_array_equal(triangular(30.0).minimum_image(dr), dr)


@pytest.mark.parametrize("name, count", [("square", 1), ("triangular", 5), ("skewed", 5), ("cubic", 1)])
def test_few_candidates_for_the_minimum_image(name, count):
    assert len(LATTICES[name].nearest_translations) <= count


@pytest.mark.parametrize(
    "vectors",
    [((1.0, 0.0), (2.0, 0.0)), ((0.0, 0.0), (0.0, 1.0)), ((1.0, 0.0), (float("nan"), 1.0)), np.zeros((3, 3))],
)
def test_singular_lattice(vectors):
    with pytest.raises(ValueError, match="not linearly independent"):
        Lattice(vectors)


def test_wrong_shapes():
    with pytest.raises(ValueError, match="1, 2 or 3 vectors"):
        Lattice(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)))
    with pytest.raises(ValueError, match="lattice constant a must be positive"):
        triangular(-1.0)


def test_lattice_is_hashable_and_static():
    assert jax.tree.leaves(triangular(1.0)) == []
    assert hash(triangular(1.0)) == hash(triangular(1.0))
    assert triangular(1.0) == triangular(1.0) and triangular(1.0) != square(1.0)


SUPERCELLS = {
    "3x3": supercell(triangular(1.1), 3),
    "3x6": supercell(triangular(1.1), (3, 6)),
    "13x1": supercell(triangular(1.1), (13, 1)),
    "sqrt3": supercell(triangular(1.1), ((1, 1), (-1, 2))),
    "sqrt12": supercell(triangular(1.1), ((4, -2), (2, 2))),
    "rectangular 18": supercell(triangular(1.1), ((3, 0), (-3, 6))),
    "left-handed": supercell(triangular(1.1), ((0, 3), (3, 0))),
    "skewed": supercell(oblique(1.0, 1.4, 70.0), ((5, 3), (7, 5))),
    "2x2x2": supercell(fcc(1.0), 2),
    "skewed in 3D": supercell(cubic(1.0), ((2, 1, 0), (0, 3, 1), (1, 0, -2))),
}
every_supercell = pytest.mark.parametrize("cell", SUPERCELLS.values(), ids=SUPERCELLS.keys())


@every_supercell
def test_supercell(cell):
    np.testing.assert_allclose(cell.lattice.volume, cell.cells * cell.primitive.volume, rtol=1e-12)
    assert cell.is_commensurate(cell.primitive)
    assert not cell.is_commensurate(Lattice(1.01 * cell.primitive.matrix))
    check_commensurate(cell.lattice, cell.primitive)
    assert all(cell.contains(g) for g in cell.lattice.reciprocal)
    assert all(cell.contains(g) for g in cell.primitive.reciprocal)
    assert not cell.contains(cell.lattice.reciprocal[0] / 2)


@every_supercell
def test_primitive_translations(cell):
    inner = cell.primitive_translations()
    assert inner.shape == (cell.cells, cell.primitive.dim)
    assert np.all(inner[0] == 0)
    assert whole(inner @ np.linalg.inv(cell.primitive.matrix))
    fraction = inner @ np.linalg.inv(cell.lattice.matrix)
    assert np.all(fraction > -1e-9) and np.all(fraction < 1 - 1e-9)
    assert len(as_set(inner)) == cell.cells


@every_supercell
def test_momenta(cell):
    momenta = cell.momenta()
    assert momenta.shape == (cell.cells, cell.primitive.dim)
    assert np.all(momenta[0] == 0)
    assert all(cell.contains(k) for k in momenta)
    # No two differ by a primitive reciprocal vector: Σ_R exp(ik·R) over the cells vanishes but for k = 0.
    difference = momenta[:, None] - momenta[None]
    phases = np.exp(1j * difference @ cell.primitive_translations().T).sum(axis=-1)
    np.testing.assert_allclose(phases, cell.cells * np.eye(cell.cells), atol=1e-8)
    # In the first Brillouin zone.
    neighbours = cell.primitive.reciprocal_vectors(3 * np.linalg.norm(momenta, axis=1).max() + 1)
    folded = np.linalg.norm(momenta[:, None] + neighbours[None], axis=-1).min(axis=1)
    assert np.all(np.linalg.norm(momenta, axis=1) <= folded + 1e-9)


@every_supercell
def test_twisted_momenta(cell):
    twist = np.linspace(0.3, 1.1, cell.primitive.dim)
    phases = np.exp(1j * cell.twisted_momenta(twist) @ cell.lattice.matrix.T)
    np.testing.assert_allclose(phases, np.broadcast_to(np.exp(1j * twist), phases.shape), atol=1e-9)
    np.testing.assert_allclose(cell.twisted_momenta(np.zeros(cell.primitive.dim)), cell.momenta())


def test_equivalent_supercells_have_the_same_momenta():
    first = supercell(triangular(1.0), 3)
    second = supercell(triangular(1.0), ((3, 3), (-6, -3)))
    np.testing.assert_allclose(first.momenta(), second.momenta(), atol=1e-9)


def test_bad_supercells():
    with pytest.raises(ValueError, match="not linearly independent"):
        supercell(triangular(1.0), ((1, 2), (2, 4)))
    with pytest.raises(ValueError, match="whole numbers"):
        supercell(triangular(1.0), np.array([2.5, 2.0]))
    with pytest.raises(ValueError, match="2-dimensional lattice"):
        Supercell(triangular(1.0), np.eye(3, dtype=int))
    with pytest.raises(ValueError, match="incommensurate"):
        check_commensurate(triangular(3.1), triangular(1.0))
    with pytest.raises(ValueError, match="dimensions"):
        check_commensurate(cubic(3.0), triangular(1.0))
    with pytest.raises(ValueError, match="needs 2 angles"):
        supercell(triangular(1.0), 2).twisted_momenta([0.1])


@pytest.mark.parametrize("lattice", LATTICES.values(), ids=LATTICES)
def test_shells_have_one_of_each_pair_and_are_whole(lattice):
    vectors = shells(lattice, 3)
    both = np.concatenate([vectors, -vectors])
    longest = np.linalg.norm(vectors, axis=1).max()
    expected = lattice.reciprocal_vectors(longest * (1 + 1e-9))
    assert len(np.unique(np.round(np.linalg.norm(vectors, axis=1) / longest, 6))) == 3
    order = lambda rows: rows[np.lexsort(np.round(rows, 6).T)]
    np.testing.assert_allclose(order(both), order(expected), atol=1e-9)


def test_no_shells_are_an_error():
    with pytest.raises(ValueError, match="number of shells must be positive, got 0"):
        shells(square(1.0), 0)
