"""Evaluations of wavefunctions whose expectation values are known, and what is made of the numbers."""

import csv
import json
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from synthetic_evaluations import MATERIAL, family_of, moire_phases, moire_table

from qernel.ansatz import LogPsi
from qernel.evaluation import (
    columns,
    evaluate,
    format_table,
    known_at_rows,
    known_values,
    read_netcdf,
    results,
    v_score,
    with_error,
    write_csv,
    write_netcdf,
)
from qernel.hamiltonian import Family, Hamiltonian, Harmonic, Kinetic, Potential
from qernel.judgement import findings, order_jump, slope_lines, steepest_stretch, verdict
from qernel.laplacian import HessianTrace
from qernel.lattice import oblique, rectangular, supercell, triangular
from qernel.observables import Measurement, zone_corners
from qernel.orbitals import ExpandedOrbitals, PlaneWaves
from qernel.orbitals._determinants import log_sum_determinants
from qernel.run_directory import read_training
from qernel.sampling import Sampler
from qernel.systems.moire import CornerStructureFactor, moire_family, moire_known_values, moire_system

REFERENCE = Path(__file__).parent / "reference"
TABLE = (
    "depth_meV, energy, energy_error, kinetic, kinetic_error, kinetic_from_gradient, "
    "kinetic_from_gradient_error, moire, moire_error, interaction, interaction_error, variance, v_score, "
    "structure_factor_K, structure_factor_K_error, acceptance, autocorrelation_time, effective_samples, r_hat"
).split(", ")


class Determinant(eqx.Module):
    """A Slater determinant."""

    orbitals: eqx.Module

    def __call__(self, r, parameters):
        matrix = self.orbitals(r, parameters)
        log_magnitude, phase = log_sum_determinants(matrix[None], jnp.ones(1, r.dtype))
        return LogPsi(log_magnitude, phase, real=True)


class Ripple(eqx.Module):
    """One electron in ψ = 1 + c cos(G·r); counts its own traces."""

    wave: tuple[float, float] = eqx.field(static=True)
    amplitude: jax.Array

    traces = [0]

    def __call__(self, r, parameters):
        del parameters
        self.traces[0] += 1
        wave = jnp.asarray(self.wave, r.dtype)
        psi = 1 + self.amplitude.astype(r.dtype) * jnp.cos(jnp.sum(wave * r[0]))
        return LogPsi(jnp.log(jnp.abs(psi)), jnp.where(psi < 0, jnp.pi, 0.0).astype(r.dtype), real=True)


# ------------------------------------------------------------------------------- a closed shell of plane
# waves


@pytest.fixture(scope="module")
def closed_shell():
    system = moire_system(MATERIAL, 3, (7, 0), [0.0, 10.0, 30.0])
    family = system.family
    cell = family.hamiltonian.cell
    waves = PlaneWaves(cell, 1.01 * float(np.linalg.norm(cell.reciprocal[0])))
    ansatz = Determinant(ExpandedOrbitals(waves, jnp.eye(7)))
    positions = jax.random.uniform(jax.random.key(1), (3, 48, 7, 2)) @ jnp.asarray(cell.matrix)
    evaluation = evaluate(
        ansatz,
        family,
        positions,
        sampler=Sampler(moves=8, cell=cell),
        key=jax.random.key(0),
        step_size=2.6,
        burn_in=25,
        rounds=80,
        observables=(CornerStructureFactor(),),
        units=system.units,
    )
    return family, evaluation, system.label(results(evaluation, family, system.units))


def test_energies_of_a_closed_shell(closed_shell):
    _, evaluation, dataset = closed_shell
    cases = json.loads((REFERENCE / "slater_determinants.json").read_text())["slater_determinants"]
    case = next(c for c in cases if c["N"] == 7 and c["eps_r"] == 5.0)
    for row in range(3):
        at = dataset.isel(depth=row)
        assert float(at.kinetic) == pytest.approx(case["T_total"] / 7, rel=1e-9)
        assert abs(float(at.interaction) - case["V_ee_total"] / 7) < 4.5 * float(at.interaction_error)
        assert abs(float(at.moire)) <= 4.5 * float(at.moire_error)
        assert abs(float(at.energy) - case["E_total"] / 7) < 4.5 * float(at.energy_error)
        assert abs(float(at.kinetic_difference)) < 4.5 * float(at.kinetic_difference_error)
    assert float(dataset.energy_error[0]) == pytest.approx(float(dataset.interaction_error[0]), rel=1e-6)
    assert evaluation.real


def test_terms_add_up_and_slope_is_the_derivative(closed_shell):
    _, evaluation, dataset = closed_shell
    series = evaluation.series
    total = series["kinetic"] + series["moire"] + series["interaction"]
    np.testing.assert_allclose(series["energy"], total, rtol=1e-10)
    # The moiré energy is linear in the depth.
    np.testing.assert_allclose(dataset.slope[1:] * dataset.depth_meV[1:], dataset.moire[1:], rtol=1e-8)
    assert np.isfinite(dataset.slope[0]) and float(dataset.slope_error[0]) > 0


def test_structure_factor_of_a_closed_shell(closed_shell):
    """S(q) = 1 - (pairs of occupied k that differ by q) / N for a determinant of plane waves."""
    family, evaluation, dataset = closed_shell
    cell = family.hamiltonian.cell
    occupied = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1], [1, 1], [-1, -1]])
    q = np.round(evaluation.wave_vectors @ cell.matrix.T / (2 * np.pi)).astype(int)
    differences = (occupied[:, None] - occupied).reshape(-1, 2)
    exact = 1 - np.array([np.sum(np.all(differences == v, axis=1)) for v in q]) / 7
    pull = (evaluation.structure_factor - exact) / evaluation.structure_factor_error
    assert np.abs(pull).max() < 6 and 0.7 < np.sqrt(np.mean(pull**2)) < 1.3
    corner = (dataset.structure_factor_K - 5 / 7) / dataset.structure_factor_K_error
    assert np.abs(corner).max() < 5
    assert len({tuple(v) for v in q}) == len(q) and (q.sum(axis=0) == 0).all()


def test_uniform_density_and_its_error(closed_shell):
    dataset = closed_shell[2]
    assert dataset.density.attrs["units"] == "electrons per primitive cell"
    np.testing.assert_allclose(dataset.density.mean(("x", "y")), 7 / 9, rtol=1e-12)
    pull = (dataset.density - 7 / 9) / dataset.density_error
    assert 0.9 < float(np.sqrt((pull**2).mean())) < 1.2


def test_columns_and_files(closed_shell, tmp_path):
    dataset = closed_shell[2]
    assert columns(dataset) == TABLE
    rows = list(csv.DictReader(open(write_csv(dataset, tmp_path / "results.csv"))))
    assert list(rows[0]) == TABLE and [row["depth_meV"] for row in rows] == ["0", "10", "30"]
    for name in TABLE:
        np.testing.assert_allclose([float(row[name]) for row in rows], dataset[name], rtol=1e-9)
    again = read_netcdf(write_netcdf(dataset, tmp_path / "results.nc"))
    assert again.equals(dataset) and columns(again) == TABLE
    assert again.energy.attrs["units"] == "meV per electron"
    assert again.variance.attrs["units"] == "meV^2 per electron^2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["results.csv", "results.nc"]
    text = format_table(dataset)
    assert len(text.splitlines()) == 4 and "interaction" in text
    with pytest.raises(ValueError, match="no results"):
        read_netcdf(tmp_path / "nothing.nc")


def test_diagnostics(closed_shell):
    dataset = closed_shell[2]
    assert ((dataset.acceptance > 0.3) & (dataset.acceptance < 0.7)).all()
    assert (dataset.r_hat < 1.1).all() and (dataset.effective_samples > 300).all()
    score = 7 * dataset.variance / dataset.energy**2
    np.testing.assert_allclose(dataset.v_score, score, rtol=1e-9)
    assert v_score(-2.0, 0.5, 4) == 0.5 and v_score(-2.0, 0.5, 4, reference=-1.0) == 2.0


# ------------------------------------------------------------------------------- one electron in a ripple


def ripple(depths=(5.0,), lattice_index=((2, 1), (-1, 1)), amplitude=0.6, walkers=64):
    """One electron in a skewed supercell, with an exactly known density."""
    family = moire_family(MATERIAL, lattice_index, (1, 0), list(depths))
    cell = family.hamiltonian.cell
    wave = cell.reciprocal[0]
    ansatz = Ripple((float(wave[0]), float(wave[1])), jnp.asarray(amplitude))
    positions = jax.random.uniform(jax.random.key(3), (len(depths), walkers, 1, 2)) @ jnp.asarray(cell.matrix)
    return family, ansatz, positions


def small():
    """The same shapes in several tests, so that they share a compilation."""
    return ripple((3.0, 9.0), walkers=8)


def measure(family, ansatz, positions, **options):
    defaults = dict(
        sampler=Sampler(moves=4, cell=family.hamiltonian.cell),
        key=jax.random.key(0),
        step_size=5.0,
        burn_in=5,
        rounds=40,
        # n(k) would compile the wavefunction once more.
        observables=(),
    )
    return evaluate(ansatz, family, positions, **(defaults | options))


def test_density_on_a_skewed_left_handed_cell():
    family, ansatz, positions = ripple(lattice_index=((0, 2), (3, 1)))
    evaluation = measure(family, ansatz, positions, rounds=150, grid=(12, 4))
    # ∫ |ψ|² over each bin: the wave runs along the first fractional coordinate alone.
    c, edges = 0.6, np.arange(13) / 12
    x = 2 * np.pi * edges
    integral = edges * (1 + c**2 / 2) + (2 * c * np.sin(x) + c**2 / 4 * np.sin(2 * x)) / (2 * np.pi)
    exact = np.diff(integral) * 12 / (1 + c**2 / 2) / family.hamiltonian.cell.volume
    pull = (evaluation.density[0] - exact[:, None]) / evaluation.density_error[0]
    assert np.abs(pull).max() < 6 and np.sqrt(np.mean(pull**2)) < 1.4


def test_one_compile_for_all_depths_weights_and_rounds():
    family, ansatz, positions = small()
    measure(family, ansatz, positions, rounds=3)
    before = ansatz.traces[0]
    other = moire_family(MATERIAL, ((2, 1), (-1, 1)), (1, 0), [1.0, 28.0])
    measure(other, eqx.tree_at(lambda a: a.amplitude, ansatz, jnp.asarray(0.3)), positions, rounds=5, burn_in=7)
    # Whether ψ is real is asked once more, by shape alone.
    assert ansatz.traces[0] - before <= 1


def test_numbers_do_not_depend_on_chunk_or_devices():
    family, ansatz, positions = small()
    whole = measure(family, ansatz, positions, rounds=6)
    ragged = measure(family, ansatz, positions, rounds=6, chunk=3)
    mesh = jax.make_mesh((4,), ("walkers",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "walkers"))
    sharded = measure(family, ansatz, jax.device_put(positions, spread), rounds=6)
    for other in (ragged, sharded):
        for name, values in whole.series.items():
            np.testing.assert_allclose(other.series[name], values, rtol=1e-10)
        np.testing.assert_array_equal(other.density, whole.density)
        np.testing.assert_allclose(other.structure_factor, whole.structure_factor, rtol=1e-10)


def test_same_key_same_numbers():
    family, ansatz, positions = small()
    first, second = (measure(family, ansatz, positions, rounds=4) for _ in range(2))
    np.testing.assert_array_equal(first.series["energy"], second.series["energy"])
    other = measure(family, ansatz, positions, rounds=4, key=jax.random.key(1))
    assert (other.series["energy"] != first.series["energy"]).any()


def test_progress_is_reported():
    family, ansatz, positions = small()
    seen = []
    measure(family, ansatz, positions, burn_in=2, rounds=3, progress=lambda *done: seen.append(done))
    assert seen == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]


def half_broken(r, parameters):
    """A potential that has no value in a part of the cell."""
    return jnp.where(r[0] > 1.6, jnp.nan, parameters["strength"] * r[0] ** 2)


def test_samples_that_are_not_finite_are_counted_and_reported():
    cell = rectangular(2.0, 1.0)
    hamiltonian = Hamiltonian(Kinetic(), {"broken": Potential(half_broken)}, (1, 0), cell=cell)
    family = Family(hamiltonian, {"strength": jnp.array([1.0, 2.0])}, ("strength",))
    ansatz = Ripple((0.0, 0.0), jnp.asarray(0.0))
    positions = jax.random.uniform(jax.random.key(2), (2, 32, 1, 2)) @ jnp.asarray(cell.matrix)
    evaluation = measure(family, ansatz, positions, step_size=1.0)
    share = evaluation.non_finite / (32 * 40)
    assert (np.abs(share - 0.2) < 0.06).all()
    assert (np.isnan(evaluation.series["broken"]).sum(axis=(1, 2)) == evaluation.non_finite).all()
    for values in evaluation.series.values():
        np.testing.assert_array_equal(np.isnan(values), np.isnan(evaluation.series["broken"]))
    with pytest.warns(UserWarning, match="not finite and are excluded") as caught:
        dataset = results(evaluation, family)
    assert len(caught) == 2
    np.testing.assert_array_equal(dataset.non_finite, evaluation.non_finite)
    # <x²> over the part that has a value
    np.testing.assert_allclose(dataset.broken, [1.6**2 / 3, 2 * 1.6**2 / 3], rtol=0.1)
    np.testing.assert_allclose(dataset.slope, dataset.broken / dataset.strength, rtol=1e-6)
    assert dataset.energy.dims == ("strength",) and dataset.energy.attrs["units"] == "Ha* per electron"
    assert "structure_factor_K" not in dataset and dataset.density.attrs["units"] == "electrons per a_B*^2"
    assert columns(dataset)[0] == "strength" and "broken_error" in columns(dataset)
    assert any("not sound" in line for line in verdict(dataset))


class Gaussian(eqx.Module):
    """The ground state of electrons in a harmonic trap, without interaction: one up and one down."""

    def __call__(self, r, parameters):
        return LogPsi(-parameters["frequency"] * jnp.sum(r**2) / 2, jnp.zeros((), r.dtype), real=True)


def test_open_boundaries_in_three_dimensions():
    trap = Harmonic(lambda parameters: parameters["frequency"])
    family = Family(
        Hamiltonian(Kinetic(), {"trap": trap}, (1, 1), dim=3),
        {"frequency": jnp.array([0.5, 1.0])},
        ("frequency",),
    )
    positions = jax.random.normal(jax.random.key(0), (2, 16, 2, 3))
    evaluation = evaluate(
        Gaussian(),
        family,
        positions,
        sampler=Sampler(moves=10),
        key=jax.random.key(1),
        step_size=0.8,
        burn_in=20,
        rounds=60,
        laplacian=HessianTrace(),
    )
    assert evaluation.density is None and evaluation.wave_vectors.shape == (0, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dataset = results(evaluation, family)
    # Zero variance: 3/2 ω for each electron.
    np.testing.assert_allclose(dataset.energy, [0.75, 1.5], rtol=1e-6)
    assert (dataset.energy_error < 1e-6).all() and "structure_factor" not in dataset
    # <∂H/∂ω> = <ω r²> = 3/2 for each electron.
    assert (np.abs(dataset.slope - 1.5) < 4.5 * dataset.slope_error).all()


def test_walkers_that_never_move_are_reported():
    family, ansatz, positions = small()
    evaluation = measure(family, ansatz, positions, step_size=1e-30, rounds=6, burn_in=0)
    assert evaluation.stuck.tolist() == [8, 8] and measure(family, ansatz, positions, rounds=6).stuck.sum() == 0
    with pytest.warns(UserWarning, match="8 walkers never moved"):
        results(evaluation, family, MATERIAL.units)


# ------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(rounds=1), "at least two measured rounds"),
        (dict(burn_in=-1), "cannot be negative"),
        (dict(chunk=0), "at least one walker"),
        (dict(grid=(3, 0)), "positive numbers of bins"),
        (dict(grid=(3, 3, 3)), "2 positive numbers"),
        (dict(wave_vectors=np.array([[0.1, 0.2]])), "not a reciprocal vector"),
        (dict(wave_vectors=np.zeros((2, 3))), "shape"),
    ],
)
def test_bad_arguments(change, message):
    family, ansatz, positions = ripple(walkers=2)
    with pytest.raises(ValueError, match=message):
        measure(family, ansatz, positions, **change)


@pytest.mark.parametrize("shape", [(2, 2, 1, 2), (1, 2, 2, 2), (1, 2, 1, 3), (1, 0, 1, 2)])
def test_bad_walkers(shape):
    family, ansatz, _ = ripple(walkers=2)
    with pytest.raises(ValueError, match="walker"):
        measure(family, ansatz, jnp.zeros(shape))


def test_a_potential_with_a_taken_name():
    hamiltonian = Hamiltonian(Kinetic(), {"energy": Harmonic(1.0)}, (1, 0), dim=2)
    family = Family(hamiltonian, {"x": jnp.ones(1)}, ())
    with pytest.raises(ValueError, match="cannot be called"):
        evaluate(
            Gaussian(),
            family,
            jnp.zeros((1, 2, 1, 2)),
            sampler=Sampler(),
            key=jax.random.key(0),
            step_size=1.0,
        )


# ------------------------------------------------------------------------------- reciprocal space


@pytest.mark.parametrize("vectors", [((1, 0), (0, 1)), ((1, 0), (-1, 1)), ((0, 1), (1, 0)), ((2, 1), (1, 1))])
def test_zone_corners_do_not_depend_on_the_primitive_vectors(vectors):
    lattice = triangular(2.0)
    other = supercell(lattice, np.array(vectors)).lattice
    corners = zone_corners(other)
    named = (lattice.reciprocal[0] + 2 * lattice.reciprocal[1]) / 3
    assert len(corners) == 6 and np.isclose(corners, named).all(axis=1).any()
    np.testing.assert_allclose(np.linalg.norm(corners, axis=1), 4 * np.pi / 6, rtol=1e-12)


def test_no_corners_without_triangular_symmetry():
    assert len(zone_corners(oblique(1.0, 1.0, 70.0))) == 0 and len(zone_corners(rectangular(1.0, 1.0))) == 0


@pytest.mark.parametrize("size, inside", [(3, True), (((1, 1), (-1, 2)), True), (2, False), ((3, 2), False)])
def test_structure_factor_at_the_corner_only_if_the_cell_contains_it(size, inside):
    """NaN otherwise: the order parameter is a variable of the table all the same, and counts for nothing."""
    hamiltonian = family_of([0.0], size, 2).hamiltonian
    samples = np.random.default_rng(0).random((16, 40, 2, 2)) @ hamiltonian.cell.matrix
    ansatz = Ripple((0.0, 0.0), jnp.asarray(0.0))
    measurement = Measurement(samples, hamiltonian, None, ansatz, MATERIAL.units, jax.random.key(0))
    found = CornerStructureFactor().measure(measurement)
    order = found["structure_factor_K"].estimate
    assert abs(order.value - 1) < 5 * order.error if inside else np.isnan(order.value)
    assert ("structure_factor_K_peak" in found) == inside


# ------------------------------------------------------------------------------- reading the numbers


DEPTHS = np.array([0.0, 5.0, 10.0, 12.5, 15.0, 17.5, 20.0, 25.0, 30.0])


def two_phases(**options):
    """A liquid below 16 meV and a crystal above it, with consistent slopes."""
    depths = DEPTHS
    crystal = depths > 16
    corner = np.where(crystal, 1.2 + 0.005 * (depths - 17), 0.8 - 0.005 * depths)
    interaction = np.where(crystal, -55.9 - 0.07 * (depths - 17), -54.5 - 0.03 * depths)
    slope = -0.16 * depths
    energy = -44.6 - 0.08 * depths**2
    values = dict(energy=energy, slope=slope, interaction=interaction, corner=corner, sigma=0.5)
    return moire_table(depths, **(values | options))


def test_the_transition_is_found_and_named():
    dataset = two_phases()
    found = order_jump(dataset)
    assert (found.low, found.high, found.steps) == (15.0, 17.5, 1)
    assert found.jump == pytest.approx(0.48, abs=0.05) and found.share > 0.7
    text = "\n".join(verdict(dataset))
    assert "By S(K): liquid up to 15 meV" in text and "crystal from 17.5 meV" in text and "against V₀" in text
    assert "between 15 and 17.5 meV" in text and "within one step of the grid" in text
    # Half of the change of the interaction needs one step more.
    assert "which overlaps with the stretch of S(K)" in text and "same place" not in text
    assert "kinetic estimators agree" in text and "Hellmann-Feynman" in text and "sampling is sound" in text
    sharp = two_phases(interaction=np.where(DEPTHS > 16, -56.2, -54.5) - 0.01 * DEPTHS)
    assert "within the stretch of S(K)" in "\n".join(verdict(sharp))


def test_no_transition_is_said_to_be_none():
    liquid = "\n".join(verdict(two_phases(corner=0.8 - 0.008 * DEPTHS)))
    assert "No jump of S(K) between 0 and 30 meV" in liquid and "liquid everywhere" in liquid
    crystal = "\n".join(verdict(two_phases(corner=1.2 + 0.003 * DEPTHS)))
    assert "No jump of S(K)" in crystal and "a peak at K like that of a crystal everywhere" in crystal
    few = moire_table([0.0, 30.0])
    assert order_jump(few) is None and "Too few points" in "\n".join(verdict(few))


@pytest.mark.parametrize(
    "values, jumps",
    [
        (np.linspace(0.8, 0.6, 13), False),
        (0.8 - 0.2 * np.linspace(0, 1, 13) ** 2, False),
        (np.r_[np.linspace(0.8, 0.7, 7), np.linspace(1.2, 1.3, 6)], True),
        (np.r_[np.linspace(0.8, 0.7, 6), 0.95, np.linspace(1.2, 1.3, 6)], True),
        (np.r_[np.linspace(1.3, 1.2, 6), np.linspace(0.7, 0.8, 7)], True),
    ],
)
def test_a_jump_is_told_from_a_slope(values, jumps):
    found = steepest_stretch(np.linspace(0, 30, 13), values, np.full(13, 0.005))
    assert found.is_jump == jumps
    noisy = steepest_stretch(np.linspace(0, 30, 13), values, np.full(13, 0.5))
    assert not noisy.is_jump


def test_slopes_that_do_not_fit_the_energies_are_reported():
    good, bad = two_phases(), two_phases(slope=-0.2 * DEPTHS)
    agrees = lambda table: slope_lines(table)[0].check.agrees.all()
    assert agrees(good) and not agrees(bad)
    assert any("differ around" in line for line in verdict(bad))


def test_estimators_that_differ_are_reported():
    dataset = two_phases()
    dataset["kinetic_difference"][2] = 10 * dataset["kinetic_difference_error"][2]
    assert any("differ by more than 4 sigma at 10 meV" in line for line in verdict(dataset))


# ------------------------------------------------------------------------------- known energies


def test_known_values_belong_to_their_system_only():
    def known(*arguments, **options):
        return moire_system(MATERIAL, *arguments, **options)

    def of(system):
        return system.known(system.family)

    six = of(known(3, (6, 0), [0.0, 20.0]))
    cases = json.loads((REFERENCE / "moire_exact.json").read_text())["cases"]
    exact = {c["depth_meV"]: c for c in cases if c["electrons"] == 6}
    assert six.names == ("depth_meV",) and set(exact) < set(six.coordinate("depth_meV")[np.isfinite(six.exact)])
    at = six.at(six.exact, np.array([[20.0], [7.0]]))
    assert at[0] == exact[20.0]["estimate"] and np.isnan(at[1])
    known_exactly = np.isfinite(six.exact)
    assert (six.upper_bound >= six.exact)[known_exactly].all() and np.isnan(six.upper_bound[~known_exactly]).all()
    mean_field = json.loads((REFERENCE / "moire_hartree_fock.json").read_text())["cases"]
    best = next(c for c in mean_field if c["electrons"] == 6 and c["depth_meV"] == 15.0)["best"]
    assert six.at(six.mean_field, np.array([[15.0]]))[0] == best
    # The same lattice through other vectors counts; another material, phase or number of electrons does not.
    assert of(known(((3, 0), (3, 3)), (6, 0), [0.0])) is not None
    assert of(known(3, (5, 0), [0.0])) is None
    assert of(known((3, 6), (6, 0), [0.0])) is None
    assert of(known(3, (6, 0), [0.0], phi_degrees=30.0)) is None
    assert moire_known_values(family_of([0.0, 5.0]), MATERIAL) is not None
    assert moire_known_values(family_of([0.0, 5.0], dielectric=10.0), MATERIAL) is None
    # Known along the depth alone: not along another coordinate, nor in a plane of two.
    assert moire_known_values(family_of([5.0, 5.0], dielectric=[5.0, 10.0]), MATERIAL) is None
    assert moire_known_values(family_of([0.0, 5.0], dielectric=[5.0, 10.0]), MATERIAL) is None


def test_six_electrons_are_known_branch_by_branch():
    """Liquid and crystal change their order once, and the lower one is the independent reference within errors."""
    system = moire_system(MATERIAL, 3, (6, 0), [0.0, 30.0])
    known = system.known(system.family)
    depth, (liquid, crystal) = known.coordinate("depth_meV"), known.branches
    assert (liquid.words, crystal.words) == ("liquid, X(0,1)", "crystal, K")
    wanted = {0, *range(8, 25, 2), 15, 17, 2.5, 5, 7.5, 12.5, 22.5, 25, 27.5, 30}
    assert wanted <= set(depth[np.isfinite(liquid.exact)])
    assert {x for x in wanted if x >= 8} <= set(depth[np.isfinite(crystal.exact)])
    for level in known.branches:
        there = np.isfinite(level.exact)
        assert (level.upper_bound > level.exact)[there].all() and (level.exact_error > 0)[there].all()
        # An energy is concave in the depth, within what the bounds of neighbours are uncertain by.
        assert (np.diff(np.diff(level.exact[there]) / np.diff(depth[there])) < 0).all()
        assert (np.diff(level.values["structure_factor_K"][there]) * (1 if level is crystal else -1) > 0).all()
    both = np.isfinite(liquid.exact + crystal.exact)
    lower = (crystal.exact < liquid.exact)[both]
    assert np.flatnonzero(np.diff(lower)).size == 1
    assert depth[both][lower][0] == 17 and depth[both][~lower][-1] == 16
    ((place, error),) = known.places("depth_meV")
    assert 16 < place - error and place + error < 17 and error <= 0.2 and abs(place - 16.4) < 0.2
    np.testing.assert_array_equal(known.exact[both], np.minimum(liquid.exact, crystal.exact)[both])
    for case in json.loads((REFERENCE / "moire_exact.json").read_text())["cases"]:
        if case["electrons"] == 6:
            at = lambda values, x=case["depth_meV"]: known.at(values, np.array([[x]]))[0]
            allowed = np.hypot(at(known.exact_error), case["estimate_error"])
            assert abs(at(known.exact) - case["estimate"]) <= allowed
    assert abs(known.at(known.exact, np.array([[15.0]]))[0] - -59.542) < 0.003
    assert known.of_branch("crystal").exact is crystal.exact and known.of_branch("gas") is None


def test_separate_phases_are_compared_with_their_own_levels(tmp_path):
    depths = [14.0, 16.0, 17.0, 18.0]
    table = moire_phases(depths)
    for name in ("liquid", "crystal"):
        exact = known_at_rows(table, "exact", name)
        assert np.isfinite(exact).all()
        table["energy"].loc[{"phase": name}] = exact + (0.05 if name == "liquid" else 0.02)
    rows = list(csv.DictReader(open(write_csv(table, tmp_path / "results.csv"))))
    assert [row["phase"] for row in rows] == ["liquid", "liquid", "crystal", "crystal"]
    assert [round(float(row["above_exact"]), 6) for row in rows] == [0.05, 0.05, 0.02, 0.02]
    assert [float(row["exact_crystal"]) < float(row["exact_liquid"]) for row in rows] == [False, False, True, True]
    assert "above exact" in format_table(table).splitlines()[0]
    text = "\n".join(verdict(table))
    assert "at worst +0.05" in text and "+0.0350 on average over 4 points" in text
    assert "Each phase against its own exact level: liquid at worst +0.05" in text and "crystal at worst +0.02" in text
    assert "The exact ground state changes its phase at V₀ = 16.28(10) meV (exact diagonalisation)." in text


def exact_at(depths):
    """Exact energies, which every table of these electrons carries."""
    return known_at_rows(moire_table(depths), "exact")


def test_a_state_far_above_the_exact_one_is_doubted():
    """Sound by every other sign: an eigenstate of the wrong momentum, say."""
    depths = [0.0, 10.0, 20.0, 30.0]
    exact = exact_at(depths)
    far = findings(moire_table(depths, energy=exact + [1.0, 0.1, 0.1, 0.1], sigma=0.3))
    doubted = [finding.text for finding in far if "correlation energy is missing" in finding.text]
    assert len(doubted) == 1 and doubted[0].startswith("At 0 meV") and all(f.doubtful for f in far if f.text in doubted)
    near = findings(moire_table(depths, energy=exact + 0.1, sigma=0.3))
    assert not any("correlation energy is missing" in finding.text for finding in near)


def test_verdict_against_known_energies():
    depths = [0.0, 5.0, 10.0, 20.0, 30.0]
    exact = exact_at(depths)
    table = known_values(moire_table(depths))
    np.testing.assert_array_equal(exact, table.at(table.exact, np.array(depths)[:, None]))
    text = lambda shift: "\n".join(verdict(moire_table(depths, energy=exact + shift, sigma=0.3)))
    assert "Against exact diagonalisation: at worst +0.1" in text(0.1) and "below" not in text(0.1)
    assert "lies below the exact one" in text(-0.3)
    assert "Above Hartree-Fock at 20 and 30 meV" in text(1.0)


# ------------------------------------------------------------------------------- the record of a training


def record_file(path, steps=200, fall=0.0, extra=""):
    rng = np.random.default_rng(0)
    lines = ["step,depth_meV,energy,error,variance,acceptance,bad_walkers,step_norm,distance,phase"]
    for step in range(steps):
        for depth in (0.0, 10.0):
            energy = -50 + np.exp(-step / 20) - fall * step / steps + 0.05 * rng.standard_normal()
            lines.append(f"{step},{depth},{energy},0.05,1.0,0.5,0,0.1,0.01,")
    path.write_text("\n".join(lines) + "\n" + extra)
    return path


def test_training_record(tmp_path):
    repeated = "199,0.0,-60.0,0.05,1.0,0.5,2,0.1,0.01,\n"
    record = read_training(record_file(tmp_path / "metrics.csv", extra=repeated + "200,0.0,-5"))
    assert record.energy.shape == (200, 2) and record.names == ("depth_meV",)
    assert record.points.tolist() == [[0.0], [10.0]] and record.labels == ("0", "10")
    assert record.energy[199, 0] == -60.0 and record.bad_walkers[199, 0] == 2
    change, error = read_training(record_file(tmp_path / "metrics.csv")).late_change()
    assert (np.abs(change) < 4 * error).all()


def test_a_training_that_still_falls_is_reported(tmp_path):
    dataset = two_phases()
    level = read_training(record_file(tmp_path / "a.csv"))
    falling = read_training(record_file(tmp_path / "b.csv", fall=2.0))
    assert any("were level" in line for line in verdict(dataset, level))
    found = verdict(dataset, falling)
    assert any("still fell by up to 0" in line for line in found) and "more steps" in found[-1]
    short = read_training(record_file(tmp_path / "c.csv", steps=30))
    assert any("too short" in line for line in verdict(dataset, short))


@pytest.mark.parametrize("text, message", [("step,energy\n1,2\n", "no column"), (None, "no record"), ("", "no")])
def test_bad_training_record(tmp_path, text, message):
    path = tmp_path / "metrics.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_training(path)


@pytest.mark.parametrize(
    "value, error, text",
    [
        (-44.5042, 0.0153, "-44.504(15)"),
        (1.25, 0.31, "1.25(31)"),
        (123.4, 12.0, "123(12)"),
        (0.1234, 0.00996, "0.123(10)"),
        (3.0, 0.0, "3"),
        (float("nan"), 1.0, "-"),
        (2.0, float("nan"), "2"),
    ],
)
def test_numbers_with_errors(value, error, text):
    assert with_error(value, error) == text
