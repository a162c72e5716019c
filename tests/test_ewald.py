import json
import math
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.hamiltonian import Ewald
from qernel.lattice import Lattice, bcc, cubic, fcc, oblique, square, supercell, triangular

FOLDER = pathlib.Path(__file__).parent / "reference"
PLANE = json.loads((FOLDER / "ewald2d.json").read_text())
SPACE = json.loads((FOLDER / "ewald3d.json").read_text())

CELLS = {
    "triangular": triangular(3.0),
    "oblique": oblique(4.1, 3.2, 70.0),
    "skewed": Lattice(((3.0, 0.3), (23.1, 4.4))),
    "left-handed": Lattice(((0.3, 3.2), (4.0, 0.1))),
    "13x1": supercell(triangular(1.0), (13, 1)).lattice,
    "cubic": cubic(3.0),
    "fcc": fcc(3.0),
    "elongated in 3D": Lattice(((1.0, 0.0, 0.2), (0.3, 1.1, 0.0), (0.0, 0.0, 4.0))),
    "left-handed in 3D": Lattice(((0.0, 3.0, 0.3), (3.2, 0.0, 0.1), (0.4, 0.2, 3.5))),
}
every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())


# Many small programs, each run a few times: compiling them fast matters more than running them fast.
QUICK = {"xla_backend_optimization_level": 0}
_energy = eqx.filter_jit(lambda ewald, r: ewald(r, None), compiler_options=QUICK)


def energy(ewald, r):
    return np.asarray(_energy(ewald, jnp.asarray(r, float)))


def positions(cell, electrons, seed=1):
    return np.random.default_rng(seed).uniform(-1, 2, (electrons, cell.dim)) @ cell.matrix


def test_madelung_constants_in_the_plane():
    for name, lattice in (("square", square(1.0)), ("triangular", triangular(1.0))):
        expected = PLANE["wigner_lattices"][name]
        xi = Ewald(lattice).madelung
        np.testing.assert_allclose(xi, expected["xi_times_a"], atol=1e-12)
        r_s = math.sqrt(lattice.volume / math.pi)
        np.testing.assert_allclose(xi * r_s, expected["E_Ry_times_rs"], atol=1e-12)


@pytest.mark.parametrize("name", PLANE["moire_supercell_xi"])
def test_madelung_constants_of_moire_supercells(name):
    expected = PLANE["moire_supercell_xi"][name]
    cell = supercell(triangular(1.0), expected["matrix"]).lattice
    np.testing.assert_allclose(Ewald(cell).madelung, expected["xi_times_aM"], atol=1e-12)


def test_madelung_constants_in_space():
    np.testing.assert_allclose(Ewald(cubic(1.0)).madelung, SPACE["cube_xi_times_L"], atol=1e-12)
    for name, lattice in (("sc", cubic(1.0)), ("bcc", bcc(1.0)), ("fcc", fcc(1.0))):
        r_s = (3 * lattice.volume / (4 * math.pi)) ** (1 / 3)
        energy = Ewald(lattice).madelung / 2 * r_s
        np.testing.assert_allclose(energy, SPACE["wigner_E_Ha_times_rs"][name], atol=1e-12)


@pytest.mark.parametrize("crystal", PLANE["crystals_3x3"], ids=lambda c: c["name"])
def test_crystals(crystal):
    r = crystal["positions"]
    found = energy(Ewald(triangular(3.0 * crystal["a_M"])), r)
    np.testing.assert_allclose(found, crystal["energy"], atol=1e-9)


@pytest.mark.parametrize("case", PLANE["configurations"], ids=lambda c: c["name"])
def test_random_configurations_in_the_plane(case):
    ewald = Ewald(Lattice(case["lattice_rows"]))
    np.testing.assert_allclose(ewald.madelung, case["xi"], atol=1e-12)
    np.testing.assert_allclose(energy(ewald, case["positions"]), case["energy"], atol=1e-9)


@pytest.mark.parametrize("case", SPACE["configurations"], ids=lambda c: f"L={c['L']}")
def test_random_configurations_in_space(case):
    found = energy(Ewald(cubic(case["L"])), case["positions"])
    np.testing.assert_allclose(found, case["energy"], atol=1e-9)


def test_rock_salt_with_charges():
    ions = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).reshape(3, -1).T
    charges = (-1.0) ** ions.sum(axis=1)
    ewald = Ewald(cubic(2.0), charges=charges.tolist())
    found = energy(ewald, ions)
    np.testing.assert_allclose(found / 4, -SPACE["NaCl_madelung"], atol=1e-9)
    with pytest.raises(ValueError, match="8 charges, but 2 particles"):
        ewald(jnp.zeros((2, 3)), None)


@pytest.mark.parametrize("electrons", [4, 5])
def test_energy_is_a_sum_over_pairs(electrons):
    cell = CELLS["oblique"]
    r = positions(cell, electrons)
    charges = np.linspace(-0.7, 1.9, electrons)
    pair = Ewald(cell)
    potential = lambda i, j: energy(pair, r[[i, j]]) - pair.madelung
    expected = 0.5 * pair.madelung * np.sum(charges**2) + sum(
        charges[i] * charges[j] * potential(i, j) for j in range(electrons) for i in range(j)
    )
    np.testing.assert_allclose(energy(Ewald(cell, charges=charges.tolist()), r), expected, atol=1e-9)


@every_cell
def test_splitting_changes_nothing(cell):
    r = positions(cell, 4)
    default = Ewald(cell)
    inner = 0.5 * cell.shortest_translation()
    expected = energy(default, r)
    # Dozens of images where the default takes the nearest only, and the other way round.
    reach = (1.9 if default._nearest_only else 0.9) * inner
    other = Ewald(cell, splitting=4.8 / reach)
    assert other._nearest_only != default._nearest_only
    np.testing.assert_allclose(energy(other, r), expected, atol=1e-9 * (1 + abs(expected)))


@every_cell
def test_invariances(cell):
    ewald = Ewald(cell)
    r = positions(cell, 4)
    expected = energy(ewald, r)
    steps = np.array([[3, -2, 5], [0, 1, 0], [-4, 0, 2], [1, 1, -1]])[:, : cell.dim]
    moved = r + steps @ cell.matrix
    np.testing.assert_allclose(energy(ewald, moved), expected, atol=1e-9)
    np.testing.assert_allclose(energy(ewald, r + 0.1234), expected, atol=1e-9)
    np.testing.assert_allclose(energy(ewald, r[[2, 0, 3, 1]]), expected, rtol=1e-12)
    np.testing.assert_allclose(energy(ewald, -r), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["triangular", "13x1", "fcc", "elongated in 3D"])
def test_equivalent_cell_vectors(name):
    cell = CELLS[name]
    change = np.array([[2, 1, 0], [3, 2, 0], [1, -2, -1]])[: cell.dim, : cell.dim]
    other = Lattice(change @ cell.matrix)
    r = positions(cell, 4)
    np.testing.assert_allclose(Ewald(other).madelung, Ewald(cell).madelung, rtol=1e-12)
    np.testing.assert_allclose(energy(Ewald(other), r), energy(Ewald(cell), r), atol=1e-9)


@pytest.mark.parametrize("name", ["oblique", "13x1", "elongated in 3D"])
def test_supercell_of_repeated_electrons(name):
    """The energy per cell of a periodic arrangement does not depend on the cell chosen to compute it."""
    cell = CELLS[name]
    larger = supercell(cell, (2, 1, 1)[: cell.dim])
    r = positions(cell, 2)
    twice = np.concatenate([r + t for t in larger.primitive_translations()])
    np.testing.assert_allclose(energy(Ewald(larger.lattice), twice), 2 * energy(Ewald(cell), r), atol=1e-9)


@pytest.mark.parametrize("name", ["triangular", "oblique", "13x1", "cubic"])
def test_one_electron_has_half_the_madelung_constant(name):
    ewald = Ewald(CELLS[name])
    np.testing.assert_allclose(energy(ewald, positions(CELLS[name], 1)), ewald.madelung / 2, atol=1e-10)


@pytest.mark.parametrize("name", ["triangular", "oblique", "cubic"])
def test_fourier_coefficients_of_the_pair_potential(name):
    """∫ ψ(r) cos(G·r) over the cell is 2π/G or 4π/G², and its average vanishes."""
    cell = CELLS[name]
    ewald = Ewald(cell)
    nodes, weights = _duffy(cell, 24 if cell.dim == 2 else 10)
    pair = jax.vmap(lambda x: ewald(jnp.stack([jnp.zeros_like(x), x]), None) - ewald.madelung)
    values = np.asarray(jax.jit(pair)(jnp.asarray(nodes)))
    waves = cell.reciprocal_vectors(1.5 * np.linalg.norm(cell.reciprocal[0]))[:4]
    for wave in waves:
        length = np.linalg.norm(wave)
        expected = 2 * np.pi / length if cell.dim == 2 else 4 * np.pi / length**2
        integral = np.sum(weights * values * np.cos(nodes @ wave))
        np.testing.assert_allclose(integral, expected, rtol=1e-6)
    np.testing.assert_allclose(np.sum(weights * values), 0, atol=1e-5)


def _duffy(cell, order):
    """Quadrature on a cell for integrands with 1/r singularities at its corners: pyramids with apex there."""
    x, w = np.polynomial.legendre.leggauss(order)
    x, w = 0.5 * (x + 1), 0.5 * w
    grids = np.stack(np.meshgrid(*[x] * cell.dim, indexing="ij"), -1).reshape(-1, cell.dim)
    volumes = np.prod(np.stack(np.meshgrid(*[w] * cell.dim, indexing="ij"), -1).reshape(-1, cell.dim), 1)
    nodes, weights = [], []
    # The potential is even, so the box around the origin folds onto 2^(dim-1) octants.
    for octant in np.ndindex(*[2] * cell.dim):
        signs = 1 - 2 * np.array(octant)
        for axis in range(cell.dim):
            f = grids * grids[:, [axis]]
            f[:, axis] = grids[:, axis]
            nodes.append(0.5 * f * signs @ cell.matrix)
            weights.append(volumes * grids[:, axis] ** (cell.dim - 1) * cell.volume * 0.5**cell.dim)
    return np.concatenate(nodes), np.concatenate(weights)


@pytest.mark.parametrize("electrons, size", [(6, 3), (150, 15)])
def test_single_precision(electrons, size):
    cell = supercell(triangular(10.62), size).lattice
    ewald = Ewald(cell, electrons=electrons)
    rng = np.random.default_rng(0)
    r = jnp.asarray(rng.uniform(0, 1, (8, electrons, 2)) @ cell.matrix, jnp.float32)
    batch = jax.jit(jax.vmap(lambda r: ewald(r, None)), compiler_options=QUICK)
    exact, rounded = batch(r.astype(jnp.float64)), batch(r)
    assert rounded.dtype == jnp.float32
    scale = electrons * abs(ewald.madelung)
    assert np.max(np.abs(np.asarray(rounded, np.float64) - exact)) < 1e-6 * (np.abs(exact).max() + scale)


@pytest.mark.parametrize("name, accuracy", [("triangular", 1e-4), ("13x1", 1e-8), ("cubic", 1e-6)])
def test_accuracy_is_kept(name, accuracy):
    cell = CELLS[name]
    r = positions(cell, 6)
    length = cell.shortest_translation()
    error = energy(Ewald(cell, accuracy=accuracy), r) - energy(Ewald(cell, accuracy=1e-14), r)
    assert abs(error) < 15 * accuracy / length


def test_few_images_on_a_triangular_cell():
    for electrons in (6, 24, 150):
        ewald = Ewald(triangular(30.0), electrons=electrons)
        assert len(ewald._images) <= 7
        assert ewald.weights.size <= 500


@pytest.mark.parametrize("name", ["triangular", "cubic"])
def test_derivatives_are_finite_and_right(name):
    ewald = Ewald(CELLS[name])
    r = positions(CELLS[name], 3)
    derivative = jax.jit(jax.grad(lambda x: ewald(x, None)), compiler_options=QUICK)
    gradient = np.asarray(derivative(jnp.asarray(r)))
    assert np.all(np.isfinite(gradient))
    step = np.zeros_like(r)
    step[1, 0] = 1e-5
    numerical = (energy(ewald, r + step) - energy(ewald, r - step)) / 2e-5
    np.testing.assert_allclose(gradient[1, 0], numerical, rtol=1e-6)


def test_passes_through_jit_as_an_argument():
    ewald = Ewald(CELLS["oblique"], strength=lambda parameters: 2 * parameters)
    r = positions(CELLS["oblique"], 3)
    jitted = eqx.filter_jit(lambda term, x, p: term(x, p))(ewald, jnp.asarray(r), jnp.asarray(0.7))
    np.testing.assert_allclose(jitted, 1.4 * energy(Ewald(CELLS["oblique"]), r), rtol=1e-12)


def test_bad_arguments():
    with pytest.raises(ValueError, match="two or three dimensions"):
        Ewald(Lattice(((1.0,),)))
    with pytest.raises(ValueError, match="accuracy must lie between"):
        Ewald(square(1.0), accuracy=0.0)
    with pytest.raises(ValueError, match="splitting parameter must be positive"):
        Ewald(square(1.0), splitting=-1.0)
