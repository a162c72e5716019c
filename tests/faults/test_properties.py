"""Properties that hold for whatever one chooses: random cells, charges, spins, twists, sizes and states.

`QERNEL_FUZZ_EXAMPLES=1000 pytest -n 0 --timeout 0 tests/faults/test_properties.py` tries so many of each, not the same.
"""

import os
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from qernel.ansatz import SlaterDeterminant
from qernel.hamiltonian import Coordinate, Ewald
from qernel.lattice import Lattice
from qernel.orbitals import SpinBlocks, plane_wave_orbitals
from qernel.run_directory import CheckpointWriter, load_checkpoint

EXAMPLES = int(os.environ.get("QERNEL_FUZZ_EXAMPLES", "0"))
tried = settings(
    max_examples=EXAMPLES or 8,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)

angles = st.floats(0.1, 3.0)
seeds = st.integers(0, 2**31)


@st.composite
def cells(draw, dim=None):
    """A cell of two or three dimensions, of any handedness and skewness, up to six times as long as wide."""
    dim = draw(st.sampled_from([2, 3])) if dim is None else dim
    rng = np.random.default_rng(draw(seeds))
    vectors = rng.standard_normal((dim, dim)) * draw(st.floats(0.5, 20.0))
    lengths = np.linalg.norm(vectors, axis=1)
    assume(abs(np.linalg.det(vectors / lengths[:, None])) > 0.2 and lengths.max() < 6 * lengths.min())
    return Lattice(vectors)


def unimodular(rng, dim):
    """Other vectors of one lattice: a few shears and an exchange."""
    change = np.eye(dim, dtype=int)
    for _ in range(3):
        i, j = rng.choice(dim, 2, replace=False)
        change[i] += int(rng.integers(-1, 2)) * change[j]
    return change[rng.permutation(dim)]


@tried
@given(cells(), st.integers(2, 6), seeds)
def test_ewald_energies_know_nothing_but_the_crystal(cell, electrons, seed):
    """Invariant under translations of all, of one by a lattice vector, other cell vectors, splitting and exchange of
    equal charges; the gradient is that of differences."""
    rng = np.random.default_rng(seed)
    charges = tuple(rng.choice([-2.0, 1.0, 1.0], electrons))
    r = rng.random((electrons, cell.dim)) @ cell.matrix
    ewald = Ewald(cell, charges=charges, accuracy=1e-10)
    energy = lambda r, of=ewald: float(of(jnp.asarray(r), None))
    scale = cell.volume ** (-1 / cell.dim) * electrons**2
    expected = energy(r)
    moved = r + rng.standard_normal(cell.dim)
    np.testing.assert_allclose(energy(moved), expected, atol=1e-8 * scale)
    moved[0] += rng.integers(-3, 4, cell.dim) @ cell.matrix
    np.testing.assert_allclose(energy(moved), expected, atol=1e-8 * scale)
    other = Ewald(Lattice(unimodular(rng, cell.dim) @ cell.matrix), charges=charges, accuracy=1e-10)
    np.testing.assert_allclose(energy(r, other), expected, atol=1e-8 * scale)
    split = Ewald(cell, charges=charges, accuracy=1e-10, splitting=1.3 * ewald.splitting)
    np.testing.assert_allclose(energy(r, split), expected, atol=1e-8 * scale)
    equal = np.flatnonzero(np.array(charges) == charges[0])
    swapped = r.copy()
    swapped[equal] = r[rng.permutation(equal)]
    np.testing.assert_allclose(energy(swapped), expected, atol=1e-9 * scale)
    direction = rng.standard_normal(r.shape)
    step = 1e-5 * cell.shortest_translation() / np.linalg.norm(direction)
    slope = float(jnp.vdot(jax.grad(lambda r: ewald(r, None))(jnp.asarray(r)), direction))
    difference = (energy(r + step * direction) - energy(r - step * direction)) / (2 * step)
    np.testing.assert_allclose(slope, difference, rtol=1e-5, atol=1e-5 * abs(slope) + 1e-4 * scale)


@tried
@given(cells(2), st.integers(1, 5), st.integers(0, 4), st.tuples(angles, angles), seeds)
def test_determinants_are_antisymmetric_and_turn_by_the_twist(cell, up, down, twist, seed):
    rng = np.random.default_rng(seed)
    of = lambda count: plane_wave_orbitals(cell, count, twist)
    ansatz = SlaterDeterminant(SpinBlocks(of(up), of(down)) if down else of(up), (up, down))
    value = lambda r: complex(np.exp(1j * float(ansatz(jnp.asarray(r), None).phase)))
    magnitude = lambda r: float(ansatz(jnp.asarray(r), None).log_magnitude)
    r = rng.random((up + down, 2)) @ cell.matrix
    assume(magnitude(r) > -20)
    for first, count in ((0, up), (up, down)):
        if count > 1:
            i, j = first + rng.choice(count, 2, replace=False)
            exchanged = r.copy()
            exchanged[[i, j]] = r[[j, i]]
            np.testing.assert_allclose(magnitude(exchanged), magnitude(r), atol=1e-8)
            np.testing.assert_allclose(value(exchanged), -value(r), atol=1e-8)
    electron, direction = rng.integers(up + down), rng.integers(2)
    around = r.copy()
    around[electron] += cell.matrix[direction]
    np.testing.assert_allclose(magnitude(around), magnitude(r), atol=1e-8)
    np.testing.assert_allclose(value(around), np.exp(1j * twist[direction]) * value(r), atol=1e-8)


NAMES = st.text(min_size=1, max_size=12)
LEAVES = st.tuples(st.sampled_from(["float32", "float64", "int32", "bool"]), st.lists(st.integers(1, 4), max_size=3))


@tried
@given(st.dictionaries(NAMES, LEAVES, min_size=1, max_size=4), seeds)
def test_states_of_any_shape_come_back_from_a_checkpoint(leaves, seed):
    rng = np.random.default_rng(seed)
    state = {
        name: jnp.asarray((100 * rng.standard_normal(shape)).astype(dtype)) for name, (dtype, shape) in leaves.items()
    }
    state["a key"] = jax.random.key(seed)
    blank = {name: jnp.zeros_like(leaf) for name, leaf in state.items() if name != "a key"} | {
        "a key": jax.random.key(0)
    }
    with tempfile.TemporaryDirectory() as folder:
        with CheckpointWriter(folder) as writer:
            writer.save(0, state)
        found = load_checkpoint(folder, blank)
    for name, leaf in state.items():
        data = jax.random.key_data if name == "a key" else lambda x: x
        assert found[name].dtype == leaf.dtype
        np.testing.assert_array_equal(np.asarray(data(found[name])), np.asarray(data(leaf)))


@tried
@given(st.floats(-1e6, 1e6), st.floats(-1e3, 1e3).filter(lambda x: abs(x) > 1e-6), seeds)
def test_a_coordinate_reads_what_it_wrote(value, scale, seed):
    parameters = {"a": jnp.asarray(float(np.random.default_rng(seed).standard_normal())), "b": jnp.asarray(2.0)}
    coordinate = Coordinate("x", "a", scale=scale)
    written = coordinate.at(parameters, jnp.asarray(value))
    np.testing.assert_allclose(float(coordinate.of(written)), value, rtol=1e-12, atol=1e-12)
    assert float(written["b"]) == 2.0
