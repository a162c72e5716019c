"""Exact diagonalisation: reference energies, terms, structure factors; spin; limits; bad input."""

import functools
import importlib.resources
import json
import pathlib

import numpy as np
import pytest

import qernel.exact._exact as exact_module
from qernel.exact import basis_limit, exact_diagonalisation
from qernel.hamiltonian import Ewald, Hamiltonian, Kinetic
from qernel.lattice import Lattice, MomentumGroup, supercell, triangular
from qernel.mean_field import bloch_orbitals, hartree_fock
from qernel.systems.moire import Material, moire_hamiltonian, moire_parameters

FOLDER = pathlib.Path(__file__).parent / "reference"
MATERIAL = Material()
MOIRE = triangular(MATERIAL.lattice_constant)
CUTOFF = 3.2 * float(np.linalg.norm(MOIRE.reciprocal[0]))


def hamiltonian(electrons, cells=3):
    return moire_hamiltonian(MATERIAL, supercell(MOIRE, cells), electrons)


@functools.cache
def solved(electrons, depth, bands, **options):
    return exact_diagonalisation(
        hamiltonian(electrons),
        moire_parameters(MATERIAL, depth),
        bands=bands,
        cutoff=CUTOFF,
        wave_vectors=((1, 2), (0, 1), (2, 0), (3, 0)),
        **options,
    )


def reference(electrons, depth):
    cases = json.loads((FOLDER / "moire_exact.json").read_text())["cases"]
    return next(c for c in cases if c["electrons"] == electrons and c["depth_meV"] == depth)


def meV(energy, electrons):
    return MATERIAL.to_meV(energy) / electrons


@pytest.mark.parametrize("electrons, depth, bands", [(2, 0.0, 10), (2, 20.0, 10), (3, 10.0, 7), (3, 30.0, 7)])
def test_energies_and_terms_are_the_reference_ones(electrons, depth, bands):
    found, known = solved((electrons, 0), depth, bands), reference(electrons, depth)
    assert abs(meV(found.energy, electrons) - known["upper_bound"]) < 0.005
    for name, value in found.energies.items():
        assert abs(meV(value, electrons) - known["terms"][name]) < 0.05, name
    gamma, star = {(0, 0)}, {(1, 2), (2, 1), (0, 0)}
    momentum = tuple(int(n) for n in found.momentum)
    assert momentum in gamma if known["ground_momentum"] == "Gamma" else momentum not in star


def test_six_electrons_change_their_momentum_with_the_depth():
    """The liquid at X, the crystal at K; two bands are enough for the order of the levels."""
    options = dict(momenta=((0, 1), (1, 2), (0, 0)))
    liquid, crystal = (solved((6, 0), depth, 2, **options) for depth in (5.0, 30.0))
    assert tuple(liquid.momentum) == (0, 1) and tuple(crystal.momentum) == (1, 2)
    assert reference(6, 30.0)["ground_momentum"] == "K"
    assert 0 < meV(crystal.energy, 6) - reference(6, 30.0)["upper_bound"] < 0.4
    assert crystal.structure_factor[0] > 1.1 > 0.9 > liquid.structure_factor[0]


@pytest.mark.parametrize("phase, momentum", [("liquid", (0, 1)), ("crystal", (1, 2))])
def test_the_table_of_six_electrons_is_that_of_its_command(phase, momentum):
    """The kept value of a small basis, in which a diagonalisation takes a second."""
    table = importlib.resources.files("qernel.systems.moire") / "data" / "moire.json"
    cases = json.loads(table.read_text("utf-8"))["exact"]["cases"]
    (case,) = [c for c in cases if c.get("phase") == phase and c["depth_meV"] == 16.0]
    found = solved((6, 0), 16.0, 2, momenta=(momentum,))
    assert abs(meV(found.energy, 6) - case["bands"]["2"]) < 1e-4
    assert case["bands"]["2"] > case["bands"]["4"] > case["bands"]["5"] > case["estimate"]
    # In larger bases it changes by a few hundredths.
    assert abs(found.structure_factor[0] - case["structure_factor_K"]) < 0.06


def test_the_lowest_state_is_that_of_lanczos():
    """One level is looked for by Davidson's method, several by Lanczos'."""
    for depth, momentum in ((15.0, (0, 1)), (30.0, (1, 2)), (0.0, (1, 2))):
        one, several = (solved((6, 0), depth, 2, momenta=(momentum,), levels=n) for n in (1, 2))
        assert np.isclose(one.levels[0, 0], several.levels[0, 0], rtol=1e-8)
        np.testing.assert_allclose(one.structure_factor, several.structure_factor, atol=1e-3)


@pytest.mark.parametrize("depth", [0.0, 20.0])
def test_structure_factor_is_the_reference_one(depth):
    records = json.loads((FOLDER / "structure_factor_N3.json").read_text())["records"]
    known = {tuple(s["q"]): s["S"] for r in records if r["V0_meV"] == depth for s in r["S_q"]}
    found = solved((3, 0), depth, 5)
    for q, value in zip(found.wave_vectors, found.structure_factor, strict=True):
        # At zero depth the bands cut a degenerate level, differently in the reference.
        assert abs(value - known[tuple(q)]) < (1e-3 if depth else 3e-3), q


def test_densities_and_occupations_add_up():
    found = solved((2, 1), 10.0, 2)
    cell = supercell(MOIRE, 3).lattice
    assert np.isclose(found.density.mean() * cell.volume, 3)
    assert np.isclose(found.spin_density.mean() * cell.volume, 1)
    assert np.isclose(found.occupations.sum(), 3)
    assert [np.round(n.sum(), 9) for n in found.natural_occupations] == [2, 1]
    assert all(n.min() > -1e-9 and n.max() < 1 + 1e-9 for n in found.natural_occupations)
    assert np.isclose(found.levels.min(), found.energy)


def test_one_determinant_is_its_hartree_fock_energy():
    """Three free electrons fill three orbitals: with no more in the basis, that is a Slater determinant."""
    h, parameters = hamiltonian((1, 0)), moire_parameters(MATERIAL, 25.0)
    only = exact_diagonalisation(h, parameters, orbitals=1, cutoff=CUTOFF)
    start = bloch_orbitals(h, parameters, cutoff=CUTOFF, real=False)
    slater = hartree_fock(h, parameters, start.orbitals, keep_momentum=True, max_iterations=0)
    assert only.dimension == 1
    assert np.isclose(only.energy, slater.energy, rtol=1e-10)
    three = exact_diagonalisation(
        hamiltonian((3, 0)), moire_parameters(MATERIAL, 0.0), orbitals=7, cutoff=CUTOFF, momenta=[(0, 0)], levels=2
    )
    assert three.energy < 0 and three.levels.shape == (1, 2)


def test_a_triplet_costs_the_same_in_each_spin_projection():
    """The polarised pair's levels appear among those of one electron of each spin, whose singlet is lower."""
    polarised = solved((2, 0), 20.0, 2, levels=2)
    mixed = solved((1, 1), 20.0, 2, levels=8)
    for momentum, levels in zip(polarised.momenta, polarised.levels, strict=True):
        row = next(i for i, k in enumerate(mixed.momenta) if np.array_equal(k, momentum))
        assert np.min(np.abs(mixed.levels[row] - levels[0])) < 1e-9
    assert mixed.energy < polarised.energy


def test_lanczos_is_the_dense_answer(monkeypatch):
    dense = solved((3, 0), 15.0, 2)
    monkeypatch.setattr(exact_module, "LARGEST_DENSE", 1)
    lanczos = exact_diagonalisation(
        hamiltonian((3, 0)), moire_parameters(MATERIAL, 15.0), bands=2, cutoff=CUTOFF, levels=1
    )
    assert dense.dimension == 96
    assert np.allclose(lanczos.levels, dense.levels, rtol=0, atol=1e-8)


def test_without_a_lattice_momentum_is_conserved_exactly():
    """Two free electrons in a skewed cell: the lowest triplet of the gas, and no symmetry that is not there."""
    cell = Lattice(((9.0, 0.0), (2.0, 11.0)))
    gas = Hamiltonian(Kinetic(), {"interaction": Ewald(cell)}, (2, 0), cell=cell)
    found = exact_diagonalisation(gas, None, orbitals=9, cutoff=3.0)
    larger = exact_diagonalisation(gas, None, orbitals=25, cutoff=3.0)
    assert larger.energy < found.energy
    assert np.allclose(larger.density, 2 / cell.volume)
    # The total momentum of two electrons in different plane waves.
    assert found.orbitals >= 9 and len(found.momenta) > 9


def test_momentum_group_has_as_many_classes_as_cells():
    group = MomentumGroup(np.array([[3, 1], [-2, 4], [1, 5]]))
    grid = np.stack(np.meshgrid(range(-20, 20), range(-20, 20), indexing="ij"), axis=-1).reshape(-1, 2)
    canonical = group.canonical(grid)
    assert len(np.unique(canonical, axis=0)) == 14
    assert np.array_equal(group.canonical(canonical), canonical)
    assert np.array_equal(group.canonical(grid + [1, 5]), canonical)


def test_the_basis_limit_is_exact_for_its_own_law():
    limit, error = basis_limit([18, 27], [-1.0 + 2 * 18**-1.5, -1.0 + 2 * 27**-1.5])
    assert np.isclose(limit, -1.0) and error > 0
    with pytest.raises(ValueError, match="at least two energies"):
        basis_limit([18], [-1.0])


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(), "either how many bands or how many orbitals"),
        (dict(bands=1, orbitals=3), "either how many bands or how many orbitals"),
        (dict(bands=6), "take fewer bands"),
        (dict(orbitals=1), "need as many orbitals"),
        (dict(bands=2, wave_vectors=[(99, 0)], momenta=[(0, 0)]), "wave vector"),
    ],
)
def test_bad_input_says_so(options, message):
    electrons = (2, 0) if "wave_vectors" in options else (6, 0)
    with pytest.raises(ValueError, match=message):
        exact_diagonalisation(
            hamiltonian(electrons), moire_parameters(MATERIAL, 0.0), cutoff=CUTOFF, largest=100_000, **options
        )
