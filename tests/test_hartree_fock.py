"""Bloch orbitals, Hartree-Fock and the branches of orbitals, against the independent reference values."""

import functools
import importlib.resources
import json
import pathlib
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.hamiltonian import Coulomb, Ewald, Hamiltonian, Kinetic, Potential
from qernel.lattice import Lattice, cubic, square, supercell, triangular
from qernel.mean_field import (
    OrbitalSet,
    bloch_orbitals,
    classical_crystal,
    crystal_branch,
    crystal_sites,
    crystal_start,
    crystal_symmetries,
    hartree_fock,
    liquid_branch,
    orbital_branch,
    perturbed,
    plane_waves,
    potential_depth,
    random_start,
)
from qernel.mean_field._problem import hartree_fock_functional
from qernel.orbitals import InterpolatedOrbitals, PlaneWaves, from_exponentials
from qernel.systems.moire import Material, moire_family, moire_parameters
from qernel.systems.moire import moire_hamiltonian as hamiltonian_of

FOLDER = pathlib.Path(__file__).parent / "reference"
MATERIAL = Material()
MOIRE = triangular(MATERIAL.lattice_constant)
FIRST_SHELL = float(np.linalg.norm(MOIRE.reciprocal[0]))


@functools.cache
def reference(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def hartree_fock_cases(electrons, cells=3):
    cases = reference("moire_hartree_fock")["cases"]
    return [c for c in cases if c["electrons"] == electrons and c["cells"] == [cells, cells]]


def problem(electrons, depth_meV, *, cells=3):
    electrons = electrons if isinstance(electrons, tuple) else (electrons, 0)
    return hamiltonian_of(MATERIAL, supercell(MOIRE, cells), electrons), moire_parameters(MATERIAL, depth_meV)


def meV_per_electron(result):
    return MATERIAL.to_meV(result.energy) / sum(result.orbitals.electrons)


def quiet_bloch(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return bloch_orbitals(*arguments, **options)


# Plane-wave determinants.


@pytest.mark.parametrize("case", reference("slater_determinants")["slater_determinants"], ids=lambda c: c["N"])
def test_plane_wave_determinants(case):
    hamiltonian, parameters = problem(case["N"], 0.0)
    waves = plane_waves(hamiltonian)
    k = np.array(case["occupied_k_in_b/3"])
    rows = [int(np.flatnonzero((waves.signed_integers == row).all(axis=1))[0]) for row in k]
    coefficients = from_exponentials(np.eye(waves.size, dtype=complex)[:, rows])
    energies, _ = hartree_fock_functional(hamiltonian, parameters, waves)(
        (coefficients, np.zeros((waves.size, 0), complex))
    )
    scale = MATERIAL.hartree_meV
    assert energies["kinetic"] * scale == pytest.approx(case["T_total"], abs=1e-9)
    assert energies["exchange"] * scale == pytest.approx(case["exchange_total"], abs=1e-9)
    assert energies["madelung"] * scale == pytest.approx(case["madelung_total"], abs=1e-9)
    assert energies["hartree"] == pytest.approx(0.0, abs=1e-12)
    assert sum(energies.values()) * scale == pytest.approx(case["E_total"], abs=1e-9)


@pytest.mark.parametrize(
    "make, dim, electrons, r_s, expected",
    [
        (cubic, 3, (7, 7), 1.0, 0.606534),
        (cubic, 3, (27, 27), 1.0, 0.569245),
        (cubic, 3, (7, 7), 5.0, -0.812549 / 14),
        (square, 2, (5, 5), 1.0, -0.124611),
        (square, 2, (13, 13), 1.0, -0.086399),
        (triangular, 2, (7, 0), 10.0, -0.081015),
    ],
)
def test_homogeneous_gas(make, dim, electrons, r_s, expected):
    n = sum(electrons)
    volume = n * (np.pi * r_s**2 if dim == 2 else 4 * np.pi / 3 * r_s**3)
    cell = make((volume / make(1.0).volume) ** (1 / dim))
    hamiltonian = Hamiltonian(Kinetic(), {"coulomb": Ewald(cell)}, electrons, cell=cell)
    start = bloch_orbitals(hamiltonian, None, cutoff=4.5 * np.linalg.norm(cell.reciprocal[0])).orbitals
    result = hartree_fock(hamiltonian, None, start)
    assert result.converged and result.iterations == 0
    assert result.energy / n == pytest.approx(expected, abs=1e-6)


# Bloch orbitals.


@pytest.mark.parametrize("depth", [0, 20])
@pytest.mark.parametrize("electrons", [3, 6, 7])
@pytest.mark.parametrize("real", [True, False], ids=["real", "complex"])
def test_bloch_energies(depth, electrons, real):
    hamiltonian, parameters = problem(electrons, float(depth))
    bloch = quiet_bloch(hamiltonian, parameters, cutoff=3.6 * FIRST_SHELL, real=real)
    expected = reference("moire_bands")["noninteracting"]["3x3"][f"N={electrons}"][str(depth)]["E_total"]
    assert MATERIAL.to_meV(bloch.energies[0].sum()) == pytest.approx(expected, abs=1e-4)
    c = bloch.orbitals.coefficients[0]
    assert np.isrealobj(c) == real
    np.testing.assert_allclose(c.conj().T @ c, np.eye(electrons), atol=1e-12)
    turns = bloch.momenta[0] @ hamiltonian.cell.matrix.T / (2 * np.pi)
    np.testing.assert_allclose(turns, np.round(turns), atol=1e-9)


def test_complex_bloch_orbitals_have_their_momentum():
    hamiltonian, parameters = problem(7, 12.0)
    bloch = bloch_orbitals(hamiltonian, parameters, real=False)
    r = jax.random.uniform(jax.random.key(0), (5, 2)) * 20.0
    values = lambda x: bloch.orbitals.waves.expand(x, jnp.asarray(bloch.orbitals.coefficients[0]))
    for translation in MOIRE.matrix:
        phases = np.exp(1j * bloch.momenta[0] @ translation)
        expected = phases[None] * np.asarray(values(r))
        np.testing.assert_allclose(values(r + jnp.asarray(translation)[None]), expected, atol=1e-9)


def test_open_shell_is_named_and_its_members_can_be_chosen():
    hamiltonian, parameters = problem(6, 10.0)
    with pytest.warns(UserWarning, match="fill 5 of 6 degenerate orbitals .* 1 or 7 electrons"):
        first = bloch_orbitals(hamiltonian, parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bloch_orbitals(*problem(7, 10.0))
        chosen = bloch_orbitals(hamiltonian, parameters, members=(1, 2, 3, 4, 5))
    np.testing.assert_allclose(first.energies[0].sum(), chosen.energies[0].sum())
    overlap = first.orbitals.coefficients[0].T @ chosen.orbitals.coefficients[0]
    assert np.linalg.svd(overlap)[1].min() < 1e-6
    with pytest.raises(ValueError, match="fill 5 members"):
        bloch_orbitals(hamiltonian, parameters, members=(0, 1))
    with pytest.raises(ValueError, match="members 0 to 5"):
        bloch_orbitals(hamiltonian, parameters, members=(0, 1, 2, 3, 9))


# Hartree-Fock.


@pytest.mark.parametrize(
    "case",
    hartree_fock_cases(3)[::2] + hartree_fock_cases(6),
    ids=lambda c: f"{c['electrons']}-{c['depth_meV']}",
)
def test_unrestricted_hartree_fock(case):
    hamiltonian, parameters = problem(case["electrons"], case["depth_meV"])
    cutoff = 3.2 * FIRST_SHELL
    crystal = hartree_fock(hamiltonian, parameters, crystal_start(hamiltonian, parameters, cutoff=cutoff))
    other = hartree_fock(hamiltonian, parameters, random_start(hamiltonian, seed=0, cutoff=cutoff))
    assert crystal.converged and other.converged
    assert min(map(meV_per_electron, (crystal, other))) == pytest.approx(case["best"], abs=1e-3)
    assert set(other.energies) == {"kinetic", "moire", "interaction"}
    assert other.energies["interaction"] == pytest.approx(sum(other.interaction_terms.values()))
    assert np.mean(other.density) * hamiltonian.cell.volume == pytest.approx(case["electrons"])


@pytest.mark.parametrize("case", hartree_fock_cases(6), ids=lambda c: c["depth_meV"])
def test_translation_symmetric_hartree_fock(case):
    hamiltonian, parameters = problem(6, case["depth_meV"])
    start = quiet_bloch(hamiltonian, parameters, cutoff=3.2 * FIRST_SHELL, real=False).orbitals
    result = hartree_fock(hamiltonian, parameters, start, keep_momentum=True)
    assert result.converged
    assert meV_per_electron(result) == pytest.approx(case["translation_symmetric"], abs=1e-3)
    moved = np.roll(result.density, np.array(result.density.shape) // 3, axis=(0, 1))
    if all(n % 3 == 0 for n in result.density.shape):
        np.testing.assert_allclose(moved, result.density, atol=1e-8)


def test_twenty_four_electrons():
    hamiltonian, parameters = problem(24, 20.0, cells=6)
    start = crystal_start(hamiltonian, parameters, cutoff=2.6 * FIRST_SHELL)
    case = next(c for c in hartree_fock_cases(24, 6) if c["depth_meV"] == 20.0)
    result = hartree_fock(hamiltonian, parameters, start)
    assert result.converged
    assert meV_per_electron(result) == pytest.approx(case["best"], abs=0.06)


def test_one_electron_is_solved_exactly():
    hamiltonian, parameters = problem(1, 15.0)
    result = hartree_fock(hamiltonian, parameters, random_start(hamiltonian, seed=3, cutoff=4.5 * FIRST_SHELL))
    assert result.energies["interaction"] == pytest.approx(result.interaction_terms["madelung"])
    bloch = bloch_orbitals(hamiltonian, parameters, cutoff=4.5 * FIRST_SHELL)
    assert result.energies["kinetic"] + result.energies["moire"] == pytest.approx(bloch.energies[0][0], abs=1e-9)
    waves, c = result.orbitals.waves, jnp.asarray(result.orbitals.coefficients[0])
    r = jax.random.uniform(jax.random.key(2), (1, 2)) * 20.0
    log_psi = lambda x: jnp.log(jnp.abs(waves.expand(x[None], c)[0, 0]))
    slope, curvature = jax.jit(jax.grad(log_psi)), jax.jit(jax.hessian(log_psi))
    kinetic = -(jnp.trace(curvature(r[0])) + jnp.sum(slope(r[0]) ** 2)) / 2
    potentials = jax.jit(lambda x: hamiltonian.potential_energies(x, parameters))(r)
    local = kinetic + sum(potentials.values())
    assert float(local) == pytest.approx(result.energy, abs=1e-5)


def test_spinful_electrons_reach_below_the_polarised_ones():
    hamiltonian, parameters = problem((2, 1), 5.0)
    start = random_start(hamiltonian, seed=0, cutoff=2.2 * FIRST_SHELL)
    result = hartree_fock(hamiltonian, parameters, start)
    assert result.converged and result.orbitals.electrons == (2, 1)
    for c in result.orbitals.coefficients:
        np.testing.assert_allclose(c.T @ c, np.eye(c.shape[1]), atol=1e-10)
    swapped = OrbitalSet(start.waves, start.coefficients[::-1])
    mirrored, _ = problem((1, 2), 5.0)
    assert hartree_fock(mirrored, parameters, swapped).energy == pytest.approx(result.energy, abs=1e-8)


def test_gradient_of_the_energy():
    hamiltonian, parameters = problem((2, 1), 10.0)
    start = random_start(hamiltonian, seed=1, cutoff=1.5 * FIRST_SHELL)
    functional = hartree_fock_functional(hamiltonian, parameters, start.waves)
    direction = tuple(np.random.default_rng(2).normal(size=c.shape) for c in start.coefficients)
    # The formula holds for any coefficients, orthonormal or not.
    energy = lambda t: sum(
        functional(tuple(c + t * d for c, d in zip(start.coefficients, direction, strict=True)))[0].values()
    )
    _, forces = functional(start.coefficients)
    slope = sum(2 * np.sum(f * d) for f, d in zip(forces, direction, strict=True))
    assert (energy(1e-5) - energy(-1e-5)) / 2e-5 == pytest.approx(slope, rel=1e-6)


def test_symmetric_start_is_a_saddle_that_a_perturbation_leaves():
    hamiltonian, parameters = problem(6, 20.0)
    liquid = quiet_bloch(hamiltonian, parameters, cutoff=2.2 * FIRST_SHELL).orbitals
    broken = hartree_fock(hamiltonian, parameters, perturbed(liquid, seed=0))
    crystal = hartree_fock(hamiltonian, parameters, crystal_start(hamiltonian, parameters, cutoff=2.2 * FIRST_SHELL))
    assert broken.energy == pytest.approx(crystal.energy, abs=1e-6)


# Crystals.


@pytest.mark.parametrize("electrons, cells, spacing", [(3, 3, np.sqrt(3)), (6, 3, 1.0), (54, 9, 1.0)])
def test_crystal_sites_of_the_moire_fillings(electrons, cells, spacing):
    hamiltonian, parameters = problem(electrons, 20.0, cells=cells)
    sites = crystal_sites(hamiltonian, parameters, cutoff=2.0 * FIRST_SHELL)
    i, j = np.triu_indices(electrons, 1)
    distance = np.linalg.norm(hamiltonian.cell.minimum_image(jnp.asarray(sites[i] - sites[j])), axis=1)
    distance = distance / MATERIAL.lattice_constant
    neighbours = np.sum(np.abs(distance - spacing) < 1e-6)
    # Three neighbours each: honeycomb; six: triangular.
    assert distance.min() == pytest.approx(spacing, abs=1e-6)
    assert neighbours == electrons * (3 if spacing == 1.0 else 6) // 2 or electrons == 3
    slopes = jax.vmap(jax.grad(lambda r: hamiltonian.potentials["moire"](r[None], parameters)))(jnp.asarray(sites))
    np.testing.assert_allclose(slopes, 0.0, atol=1e-8)


@pytest.mark.parametrize("electrons, cells", [(54, 9), (150, 15)])
def test_the_sites_of_large_cells_have_no_defects(electrons, cells):
    # The classical energy of one and the same crystal does not depend on the supercell.
    hamiltonian, parameters = problem(electrons, 30.0, cells=cells)
    energy = classical_energy(hamiltonian, parameters, crystal_sites(hamiltonian, parameters))
    small, same = problem(6, 30.0)
    expected = classical_energy(small, same, crystal_sites(small, same))
    assert energy == pytest.approx(expected, rel=1e-7)


def classical_energy(hamiltonian, parameters, sites):
    values = [potential(jnp.asarray(sites), parameters) for potential in hamiltonian.potentials.values()]
    return float(sum(values)) / len(sites)


@pytest.mark.parametrize(
    "electrons, cells, depth, count",
    [(6, 3, 20.0, 18), ((3, 3), 3, 20.0, 9), ((4, 4), 4, 25.0, 8), (3, 3, 0.0, 36), (24, 6, 10.0, 72)],
)
def test_symmetries_of_a_crystal_keep_the_minimum(electrons, cells, depth, count):
    hamiltonian, parameters = problem(electrons, depth, cells=cells)
    sites = crystal_sites(hamiltonian, parameters)
    symmetries = crystal_symmetries(hamiltonian, sites, parameters)
    start = crystal_start(hamiltonian, parameters, sites=sites, cutoff=2.0 * FIRST_SHELL)
    fast = hartree_fock(hamiltonian, parameters, start, symmetries=symmetries, tolerance=1e-8)
    slow = hartree_fock(hamiltonian, parameters, start, tolerance=1e-8)
    assert len(symmetries) == count and fast.converged and slow.converged
    assert fast.energy == pytest.approx(slow.energy, abs=1e-11)
    # The terms are not stationary.
    for name, energy in slow.energies.items():
        assert fast.energies[name] == pytest.approx(energy, abs=5e-7)
    for a, b in zip(fast.orbital_energies, slow.orbital_energies, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    np.testing.assert_allclose(fast.density, slow.density, atol=1e-7)


def test_symmetries_are_those_of_every_potential():
    # Along one reciprocal vector only: the threefold rotations are gone, the reflections that keep it are not.
    hamiltonian, parameters = problem(6, 20.0)
    sites = crystal_sites(hamiltonian, parameters)
    wave = jnp.asarray(MOIRE.reciprocal[0])
    at = float(sites[0] @ MOIRE.reciprocal[0])

    stripes = Potential(lambda r, _: 0.001 * jnp.cos(r @ wave - at))
    potentials = {**hamiltonian.potentials, "stripes": stripes}
    striped = Hamiltonian(hamiltonian.kinetic, potentials, hamiltonian.electrons, cell=hamiltonian.cell)
    full = crystal_symmetries(hamiltonian, sites, parameters)
    fewer = crystal_symmetries(striped, sites, parameters)
    assert len(full) == 18 and len(np.unique(full.rotations, axis=0)) == 6
    assert 0 < len(fewer) < len(full) and len(full) % len(fewer) == 0
    # Sites that are nearly symmetric have no symmetries: their phases would be wrong.
    rounded = crystal_symmetries(hamiltonian, np.round(sites, 4), parameters)
    assert len(rounded) < len(full)
    branch = crystal_branch(moire_family(MATERIAL, 3, (6, 0), [20.0]), sites=np.round(sites, 4))
    functional = hartree_fock_functional(hamiltonian, parameters, branch.waves)
    symmetric = hartree_fock(hamiltonian, parameters, crystal_start(hamiltonian, parameters, sites=sites))
    energies, _ = functional(tuple(c[0] for c in branch.coefficients))
    assert sum(energies.values()) == pytest.approx(symmetric.energy, abs=1e-7)
    cell = square(40.0)
    elsewhere = Hamiltonian(Kinetic(), {"coulomb": Ewald(cell)}, (6, 0), cell=cell)
    with pytest.raises(ValueError, match="are they of its cell"):
        hartree_fock(elsewhere, None, random_start(elsewhere, seed=0), symmetries=full)
    both = crystal_symmetries(hamiltonian, sites, parameters, moire_parameters(MATERIAL, 0.0))
    assert len(both) == len(full)
    with pytest.raises(ValueError, match="does not have all of the symmetries"):
        hartree_fock(striped, parameters, crystal_start(hamiltonian, parameters, sites=sites), symmetries=full)


def test_the_embedded_energy_of_a_crystal_is_that_of_a_larger_basis():
    table = json.loads((importlib.resources.files("qernel.systems.moire") / "data" / "moire.json").read_text())
    (known,) = [c["energy"] for c in table["hartree_fock"]["cases"] if (c["electrons"], c["depth_meV"]) == (24, 30.0)]
    hamiltonian, parameters = problem(24, 30.0, cells=6)
    sites = crystal_sites(hamiltonian, parameters)
    symmetries = crystal_symmetries(hamiltonian, sites, parameters)
    start = crystal_start(hamiltonian, parameters, sites=sites, cutoff=3.2 * FIRST_SHELL)
    energy = meV_per_electron(hartree_fock(hamiltonian, parameters, start, symmetries=symmetries))
    assert known < energy < known + 0.001


def test_a_start_without_the_symmetries_is_an_error():
    hamiltonian, parameters = problem(6, 20.0)
    sites = crystal_sites(hamiltonian, parameters)
    symmetries = crystal_symmetries(hamiltonian, sites, parameters)
    assert len(symmetries) == 18
    start = crystal_start(hamiltonian, parameters, sites=sites + 0.3 * np.eye(6, 2))
    with pytest.raises(ValueError, match="are not carried into one another"):
        hartree_fock(hamiltonian, parameters, start, symmetries=symmetries)


def test_crystal_of_both_spins_alternates():
    hamiltonian, parameters = problem((3, 3), 20.0)
    up, down = np.split(crystal_sites(hamiltonian, parameters), 2)
    for first in (up, down):
        i, j = np.triu_indices(3, 1)
        distance = np.linalg.norm(hamiltonian.cell.minimum_image(jnp.asarray(first[i] - first[j])), axis=1)
        np.testing.assert_allclose(distance, np.sqrt(3) * MATERIAL.lattice_constant, rtol=1e-6)


def test_wigner_crystal_without_a_potential():
    hamiltonian, parameters = problem(3, 0.0)
    start = crystal_start(hamiltonian, parameters)
    assert meV_per_electron(hartree_fock(hamiltonian, parameters, start)) == pytest.approx(-31.898, abs=1e-3)


@pytest.mark.parametrize("electrons, depth", [(3, 10.0), ((2, 1), 20.0)])
def test_structure_factor_of_a_determinant_holds_its_interaction(electrons, depth):
    """W = N/2 Σ_q v(q) (S(q) - 1) + N ξ/2, over all q that two orbitals of the basis reach."""
    hamiltonian, parameters = problem(electrons, depth)
    found = hartree_fock(hamiltonian, parameters, random_start(hamiltonian, seed=1), max_iterations=3)
    functional = hartree_fock_functional(hamiltonian, parameters, found.orbitals.waves)
    grid = functional.grid
    axes = [np.arange(-(n // 2) + 1, n // 2) for n in grid.shape]
    q = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    kernel = functional.kernel[tuple(q.T)]
    n = hamiltonian.n_electrons
    interaction = n / 2 * np.sum(kernel * (found.structure_factor(q) - 1)) + n * functional.self_image
    assert interaction == pytest.approx(found.energies["interaction"], abs=1e-10)
    with pytest.raises(ValueError, match="not one of the grid"):
        found.structure_factor([(1000, 0)])


def test_classical_crystals():
    """Nine electrons in nine cells are the triangular lattice; in a potential, less energy than any quantum state's."""
    hamiltonian, parameters = problem(9, 0.0)
    found = classical_crystal(hamiltonian, parameters)
    assert found.energies["moire"] == 0
    assert found.energy == pytest.approx(9 * Ewald(MOIRE).madelung / 2, rel=1e-9)
    hamiltonian, parameters = problem(6, 30.0)
    found = classical_crystal(hamiltonian, parameters)
    start = jnp.asarray(crystal_sites(hamiltonian, parameters))
    assert found.energy <= sum(hamiltonian.potential_energies(start, parameters).values()) + 1e-12
    quantum = hartree_fock(hamiltonian, parameters, crystal_start(hamiltonian, parameters))
    assert found.energy < quantum.energy - quantum.energies["kinetic"]


# Branches.


@pytest.fixture(scope="module")
def family():
    return moire_family(MATERIAL, 3, (6, 0), [0.0, 30.0, 10.0, 20.0, 5.0, 15.0, 2.0])


def test_crystal_branch_stays_on_the_crystal(family):
    branch = crystal_branch(family, cutoff=3.2 * FIRST_SHELL)
    assert branch.overlaps.min() > 0.98
    expected = sorted(hartree_fock_cases(6), key=lambda c: c["depth_meV"])
    for node, c, case in zip(branch.nodes, branch.coefficients[0], expected, strict=True):
        assert MATERIAL.to_meV(node) == pytest.approx(case["depth_meV"], abs=1e-9)
        functional = hartree_fock_functional(
            family.hamiltonian, moire_parameters(MATERIAL, case["depth_meV"]), branch.waves
        )
        energies, _ = functional((c, branch.coefficients[1][0]))
        assert MATERIAL.to_meV(sum(energies.values())) / 6 == pytest.approx(case["crystal_start"], abs=1e-3)


@pytest.mark.parametrize("self_consistent", [False, True])
def test_liquid_branch_interpolates(family, self_consistent):
    with pytest.warns(UserWarning, match="open shell") as caught:
        branch = liquid_branch(family, self_consistent=self_consistent)
    assert len([w for w in caught if "open shell" in str(w.message)]) == 1
    assert branch.overlaps.min() > 0.9
    orbitals = InterpolatedOrbitals(branch.waves, branch.nodes, branch.coefficients[0], potential_depth)
    parameters = moire_parameters(MATERIAL, 12.5)
    exact = quiet_bloch(family.hamiltonian, parameters, real=not self_consistent).orbitals
    if self_consistent:
        exact = hartree_fock(family.hamiltonian, parameters, exact, keep_momentum=True).orbitals
    c, _ = np.linalg.qr(np.asarray(orbitals.coefficients(parameters)))
    overlap = np.linalg.svd(c.conj().T @ exact.coefficients[0])[1]
    assert overlap.min() > 0.9999


def test_branch_holds_where_it_ends(family):
    waves = plane_waves(family.hamiltonian, 1.5 * FIRST_SHELL)

    def solve(parameters, previous):
        first = 0 if previous is None else 6
        return OrbitalSet(waves, (np.eye(waves.size)[:, first : first + 6], np.zeros((waves.size, 0))))

    held = orbital_branch(family, solve, least_overlap=0.5)
    np.testing.assert_allclose(held.coefficients[0], held.coefficients[0][-1:].repeat(family.size, axis=0))
    assert np.all(held.overlaps == 0)


# Bad input.


def test_bad_input_is_named():
    hamiltonian, parameters = problem(6, 10.0)
    start = random_start(hamiltonian, seed=0, cutoff=1.5 * FIRST_SHELL)
    with pytest.raises(ValueError, match="6 electrons|\\(7, 0\\)"):
        hartree_fock(problem(7, 10.0)[0], parameters, start)
    with pytest.raises(ValueError, match="definite momenta"):
        hartree_fock(hamiltonian, parameters, start, keep_momentum=True)
    with pytest.raises(ValueError, match="raise it"):
        bloch_orbitals(hamiltonian, parameters, cutoff=0.1)
    with pytest.raises(ValueError, match="one site for each"):
        crystal_start(hamiltonian, parameters, sites=[[0.0, 0.0]])
    with pytest.raises(ValueError, match="basis functions"):
        OrbitalSet(start.waves, (np.ones((3, 2)), np.ones((3, 0))))
    dot = Hamiltonian(Kinetic(), {"repulsion": Coulomb()}, (2, 0), dim=2)
    with pytest.raises(ValueError, match="periodic cell"):
        bloch_orbitals(dot, None)
    cell = square(4.0)
    charged = Hamiltonian(Kinetic(), {"e": Ewald(cell, charges=(1.0, -1.0))}, (2, 0), cell=cell)
    with pytest.raises(ValueError, match="equal unit charges"):
        bloch_orbitals(charged, None)


def test_potential_of_the_users_own_sets_the_momenta():
    cell = Lattice(4 * square(2.0).matrix)
    wave = Potential(lambda r, parameters: parameters * jnp.cos(jnp.pi * r[0]))
    hamiltonian = Hamiltonian(Kinetic(), {"wave": wave}, (3, 0), cell=cell)
    bloch = quiet_bloch(hamiltonian, jnp.asarray(0.8), cutoff=8.0)
    result = hartree_fock(hamiltonian, jnp.asarray(0.8), bloch.orbitals)
    assert result.energy == pytest.approx(bloch.energies[0].sum(), abs=1e-9)
    # Free along y: plane waves of definite momentum, to which the potential adds only multiples of π along x.
    assert isinstance(bloch.orbitals.waves, PlaneWaves)
    sides = np.abs(bloch.momenta[0])
    assert np.all(sides <= np.pi / 2 + 1e-9)
