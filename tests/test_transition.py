"""What a conditioned wavefunction gives about a transition, and the study that scans one and trains branches on."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from families import random_positions, small_family, small_qernel
from tiny_problem import TINY

from qernel.ansatz import LogPsi, SlaterDeterminant, single_branch
from qernel.cli import main
from qernel.evaluation import axes_of, known_at_rows, points_of, read_netcdf, rows_of
from qernel.hamiltonian import Coordinate, Family, Hamiltonian, Kinetic
from qernel.observables import expert_usage, family_overlaps, fidelity_susceptibility, trial_overlaps
from qernel.optimise import FirstOrder
from qernel.orbitals import HarmonicOrbitals, plane_wave_orbitals
from qernel.run_directory import Problem, Settings
from qernel.sampling import Sampler
from qernel.studies.transition import transition_figure
from qernel.studies.transition._scan import Scan
from qernel.systems.trap import trap_family, trap_frequencies, trap_system
from qernel.systems.trap._fillings import fillings_of
from qernel.training import Method

# ------------------------------------------------------------------- what a conditioned model gives


class Gaussian(eqx.Module):
    """exp(-λ r²/2) of one electron in two dimensions."""

    phase: float = 0.0

    def __call__(self, r, parameters):
        square = jnp.sum(r**2)
        return LogPsi(-parameters["width"] * square / 2, self.phase * parameters["width"] * square)


WIDTHS = np.array([0.5, 1.0, 1.3, 4.0])


@pytest.fixture(scope="module")
def gaussians():
    family = Family(Hamiltonian(Kinetic(1.0), {}, (1, 0), dim=2), {"width": jnp.asarray(WIDTHS)}, ("width",))
    samples = np.random.default_rng(0).standard_normal((4, 40, 100, 1, 2))
    return family, samples / np.sqrt(2 * WIDTHS)[:, None, None, None, None]


@pytest.mark.parametrize("phase", [0.0, 0.7])
def test_fidelity_susceptibility_of_gaussians(gaussians, phase):
    """|ψ|² = exp(-λr²) has Var r² = 1/λ², and ∂ log ψ = (-1/2 + iφ) r²."""
    found = fidelity_susceptibility(Gaussian(phase), *gaussians)
    exact = (0.25 + phase**2) / WIDTHS**2
    assert (np.abs(found.value - exact) < 4 * found.error).all() and (found.error < 0.1 * exact).all()


def test_fidelity_susceptibility_is_in_the_coordinates_own_unit(gaussians):
    """Of twice the width a quarter; along its square, which no parameter is, by the chain rule."""
    family, samples = gaussians
    plain = fidelity_susceptibility(Gaussian(), family, samples)
    double = Coordinate("double", "width", scale=2.0)
    square = Coordinate("square", read=lambda p: p["width"] ** 2, write=lambda p, value: p | {"width": jnp.sqrt(value)})
    for coordinate, factor in ((double, 0.25), (square, 1 / (2 * WIDTHS) ** 2)):
        found = fidelity_susceptibility(Gaussian(), family, samples, coordinate)
        np.testing.assert_allclose(found.value, factor * plain.value, rtol=1e-10)


def test_overlaps_of_gaussians(gaussians):
    family, samples = gaussians
    found = family_overlaps(Gaussian(), family, samples)
    exact = 4 * WIDTHS[:, None] * WIDTHS / (WIDTHS[:, None] + WIDTHS) ** 2
    near = ~((WIDTHS[:, None] / WIDTHS > 3) | (WIDTHS / WIDTHS[:, None] > 3))
    assert (np.abs(found.value - exact) <= 4 * found.error + 1e-12)[near].all()
    assert found.error[0, 1] < 0.02 and found.effective_samples[0, 3] < found.effective_samples[1, 2]


def test_overlap_with_a_trial_state(gaussians):
    family, samples = gaussians
    one = trial_overlaps(Gaussian(), family, samples, Gaussian())
    np.testing.assert_allclose(one.value, 1, atol=1e-12)

    class Narrower(eqx.Module):
        def __call__(self, r, parameters):
            return LogPsi(-1.5 * parameters["width"] * jnp.sum(r**2) / 2, jnp.zeros(()))

    found = trial_overlaps(Gaussian(), family, samples, Narrower())
    assert (np.abs(found.value - 6 / 6.25) < 4 * found.error).all() and (found.error < 0.02).all()


def test_overlaps_warn_where_too_few_samples_count(gaussians):
    family, samples = gaussians
    with pytest.warns(UserWarning, match="fewer than 50 effective samples"):
        family_overlaps(Gaussian(), family, samples[:, :10, :1])


def test_a_derivative_needs_a_varying_parameter(gaussians):
    family, samples = gaussians
    with pytest.raises(ValueError, match="needs a coordinate: name one when the family is made"):
        fidelity_susceptibility(Gaussian(), Family(family.hamiltonian, family.parameters, ()), samples)


def test_expert_gates_sum_to_one_and_usage_is_their_mean():
    family = small_family()
    ansatz = small_qernel(family, layers=2)
    samples = np.asarray(random_positions(family, 16)).reshape(3, 8, 2, 3, 2)
    found = expert_usage(ansatz, family, samples)
    assert found.value.shape == found.error.shape == (3, 2, 2)
    np.testing.assert_allclose(found.value.sum(axis=-1), 1, atol=1e-12)
    gates = jax.vmap(lambda r: ansatz.expert_gates(r, jax.tree.map(lambda x: x[1], family.parameters)))
    mean = gates(jnp.asarray(samples[1].reshape(16, 3, 2))).mean(axis=(0, 2))
    np.testing.assert_allclose(found.value[1], mean, atol=1e-12)
    assert (found.error > 0).all()


@pytest.mark.parametrize("complex", [False, True])
def test_a_wavefunction_is_the_sum_of_its_branches(complex):
    family = small_family()
    parameters = jax.tree.map(lambda x: x[1], family.parameters)
    ansatz = small_qernel(family, complex=complex, determinants=4)
    whole = eqx.tree_at(lambda a: a.references, ansatz, (ansatz.references[0], ansatz.references[0]))
    r = random_positions(family, 1)[0, 0]
    parts = [single_branch(whole, reference) for reference in (0, 1)]
    value = lambda a: np.exp(complex_log(a(r, parameters)))
    assert parts[0].determinants == 2
    assert value(whole) == pytest.approx(value(parts[0]) + value(parts[1]), rel=1e-12)
    with pytest.raises(ValueError, match="no set 2"):
        single_branch(whole, 2)


def complex_log(value):
    return complex(value.log_magnitude, value.phase)


def test_a_slater_determinant_is_one():
    family = small_family()
    orbitals = plane_wave_orbitals(family.hamiltonian.cell, 3)
    r = random_positions(family, 1)[0, 0]
    parameters = jax.tree.map(lambda x: x[0], family.parameters)
    found = SlaterDeterminant(orbitals, (3, 0))(r, parameters)
    sign, log = np.linalg.slogdet(np.asarray(orbitals(r, parameters)))
    assert found.real and float(found.log_magnitude) == pytest.approx(log, abs=1e-12)
    assert np.cos(found.phase) == pytest.approx(sign)
    with pytest.raises(ValueError, match="4 electrons need as many orbitals"):
        SlaterDeterminant(orbitals, (4, 0))


# ------------------------------------------------------------------------------------- the scan


class Narrowed(eqx.Module):
    """One determinant of oscillator levels, narrower by what is trained: exact at no interaction."""

    narrower: jax.Array
    filling: tuple = eqx.field(static=True)

    def __call__(self, r, parameters):
        matrix = HarmonicOrbitals(self.filling, trap_frequencies)(r, parameters)
        sign, log = jnp.linalg.slogdet(matrix)
        log = log - self.narrower.astype(r.dtype) * jnp.sum(r**2)
        return LogPsi(log, jnp.where(sign > 0, jnp.zeros_like(log), jnp.pi * jnp.ones_like(log)), real=True)


def scanned(points):
    """A scan of three electrons in a trap, trained (or not) at the corners of a plane, or along a line of it."""
    system = trap_system(trap_family(3, {"omega_x": 1.0, "omega_y": 1.5}, 0.1, ("omega_y", "kappa"), points))
    (compact, *_) = fillings_of(system.family)
    method = Method(sampler=Sampler(moves=4), optimiser=FirstOrder(optax.sgd(1e-3)))
    settings = Settings(walkers=8, measured_walkers=8, measured_rounds=8, measured_burn_in=2, measured_moves=4)
    ansatz = Narrowed(jnp.zeros(()), compact)
    problem = Problem(system, ansatz, method, settings, jax.random.key(0))
    return Scan(problem, problem.state()), system


def test_a_scan_of_a_plane_is_one_table():
    """Batches of four points lie on lines of the plane, which no reader of the table may see."""
    scan, system = scanned({"omega_y": [1.0, 2.0], "kappa": [0.0, 0.3]})
    points = np.array([(w, k) for w in (1.0, 1.5, 2.0) for k in (0.0, 0.1, 0.2, 0.3)])
    scan.measure(points[4:])
    scan.measure(points)
    table = scan.overlaps()
    assert rows_of(table) == "member" and [axis.name for axis in axes_of(table)] == ["omega_y", "kappa"]
    np.testing.assert_array_equal(points_of(table), points)
    np.testing.assert_array_equal(scan.points, points)
    exact = system.at(system.family.at(points)).known(system.family.at(points)).exact
    np.testing.assert_allclose(known_at_rows(table, "exact"), exact, rtol=1e-12)
    # Each row has its own energies: without interaction they are exact, with it linear in its strength.
    free = points[:, 1] == 0
    np.testing.assert_allclose(table["energy"].values[free], exact[free], rtol=1e-4)
    np.testing.assert_allclose(table["interaction"], points[:, 1] * table["slope_kappa"], rtol=1e-4, atol=1e-12)
    for name in ("omega_y", "kappa"):
        assert np.isfinite(table[f"fidelity_susceptibility_{name}"]).all() and f"slope_{name}" in table
    assert float(table.sel(omega_y=1.5, kappa=0.2)["energy"]) == float(table["energy"][6])
    assert not any("scanned" in variable.dims for variable in table.variables.values())


def test_a_scan_of_one_coordinate_of_two():
    scan, _ = scanned({"omega_y": [1.0, 1.4, 1.8, 2.2], "kappa": [0.1]})
    scan.measure(np.array([(w, 0.1) for w in (1.0, 1.4, 1.8, 2.2)]))
    scan.refine(0.1)
    table = scan.overlaps()
    assert rows_of(table) == "omega_y" and table.sizes["omega_y"] >= 8 and (table["kappa"] == 0.1).all()
    assert (np.diff(table["omega_y"]) > 0).all() and np.isfinite(table["fidelity_susceptibility"]).all()
    np.testing.assert_allclose(np.diag(table["fidelity"]), 1, atol=1e-6)
    np.testing.assert_array_equal(table["other_omega_y"], table["omega_y"])


# ------------------------------------------------------------------------------------- the command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of four steps, of three electrons in a cell that has the corner K."""
    directory = tmp_path_factory.mktemp("transition") / "run"
    settings = ("system.supercell=3", "system.electrons=[3,0]", "ansatz.references=['liquid']")
    call("run", *TINY, *settings, "--out", directory)
    return directory


def call(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in arguments])
    assert not stopped.value.code, arguments


def test_the_command_scans_trains_branches_and_continues(run, capsys):
    command = ("transition", run, "--points", 4, "--steps", 2, "--resolution", 5)
    call(*command)
    assert "branch" in capsys.readouterr().out
    scan = read_netcdf(run / "transition.nc")
    assert (np.diff(scan["depth_meV"]) > 0).all() and len(scan["depth_meV"]) >= 8
    assert np.isfinite(scan["fidelity_susceptibility"]).all()
    assert scan["fidelity"].shape == (len(scan["depth_meV"]),) * 2
    np.testing.assert_allclose(scan["expert_usage"].sum("expert"), 1, atol=1e-5)
    found = json.loads((run / "transition.json").read_text())
    # Eight walkers of four rounds know S(K) to a few tenths, which is what two phases differ by.
    assert found["kind"] == "undecided" and not found["trustworthy"]
    assert "is not known well enough to tell them apart" in found["sentences"][0]
    assert len(found["branches"]["depth_meV"]) == 7
    assert (run / "figures" / "transition.png").stat().st_size > 20_000
    # The branches are runs of their own; the second call reads them.
    before = {path: path.stat().st_mtime_ns for path in run.glob("branches/*/metrics.csv")}
    assert len(before) == 2
    call(*command)
    assert {path: path.stat().st_mtime_ns for path in run.glob("branches/*/metrics.csv")} == before
    call("evaluate", run / "branches" / "liquid", "--at", "depth_meV=10", "--out", run / "again")
    assert transition_figure(scan, found)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--points", 3), "a scan needs at least 4 points, got 3"),
        (("system.electrons=[2,0]",), "cannot change in a run"),
    ],
)
def test_what_a_user_may_do_wrong(run, capsys, arguments, message):
    with pytest.raises(SystemExit) as stopped:
        main(["transition", str(run), *map(str, arguments)])
    assert stopped.value.code and message in capsys.readouterr().err
