"""Where the phase changes: tangents, crossing branches, overlaps, and the decision from all of them."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from families import random_positions, small_family, small_qernel
from tiny_problem import TINY

from qernel.ansatz import LogPsi, SlaterDeterminant, single_branch
from qernel.cli import main
from qernel.evaluation import read_netcdf
from qernel.hamiltonian import Family, Hamiltonian, Kinetic
from qernel.judgement import branch_crossing, steepest_stretch, tangent_check, tangents_meet
from qernel.observables import expert_usage, family_overlaps, fidelity_susceptibility, jackknife, trial_overlaps
from qernel.orbitals import plane_wave_orbitals
from qernel.studies.transition import find_transition, transition_figure

DEPTHS = np.linspace(0.0, 30.0, 13)
ERROR = 0.02


def dataset_of(x, energy, slope, order, interaction=None, seed=0, error=ERROR, **more):
    """A table of results with normal errors."""
    rng = np.random.default_rng(seed)
    values = {"energy": energy, "slope": slope, "structure_factor_K": order}
    values["interaction"] = -55 - 0.02 * x - 0.4 * (order > 1) if interaction is None else interaction
    variables = {}
    for name, value in values.items():
        size = {"slope": error / 4}.get(name, error)
        variables[name] = ("depth", value + size * rng.standard_normal(len(x)), {"units": "meV per electron"})
        variables[f"{name}_error"] = ("depth", np.full(len(x), size))
    variables["structure_factor_K"][2].update(units="1", symbol="S(K)", low="liquid", high="crystal", smallest=0.2)
    variables |= more
    axis = {"units": "meV", "long_name": "moiré potential depth", "symbol": "V₀", "latex": "V_0", "linear": 1}
    attributes = {
        "rows": "depth",
        "coordinate_names": ["depth_meV"],
        "axes": ["depth_meV"],
        "order_parameters": ["structure_factor_K"],
        "interactions": ["interaction"],
        "doubts": "",
    }
    return xarray.Dataset(variables, {"depth_meV": ("depth", x, axis)}, attributes)


NAMES = ("liquid", "crystal")


def liquid(x):
    return -44 - 0.1 * x - 0.02 * x**2, -0.1 - 0.04 * x, np.full_like(x, 0.65)


CROSSING, KINK = 16.4, -0.2


def crystal(x):
    energy, slope, _ = liquid(x)
    return energy + KINK * (x - CROSSING), slope + KINK, np.full_like(x, 1.2)


def lower(x, at=CROSSING):
    """What a good model does: the liquid below `at`, the crystal above."""
    return tuple(np.where(x < at, a, b) for a, b in zip(liquid(x), crystal(x), strict=True))


BRANCH_DEPTHS = np.linspace(10.0, 22.0, 7)


def branches(seed=0, second=crystal):
    x = BRANCH_DEPTHS
    return dataset_of(x, *liquid(x), seed=seed), dataset_of(x, *second(x), seed=seed + 1000)


# ------------------------------------------------------------------------------------- statistics


def test_jackknife_of_a_mean_is_its_standard_error_and_removes_the_bias_of_a_square():
    x = np.random.default_rng(0).standard_normal((12, 3))
    value, error = jackknife(lambda mean: mean, x)
    np.testing.assert_allclose(value, x.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(error, x.std(axis=0, ddof=1) / np.sqrt(12), rtol=1e-12)
    squares = [jackknife(lambda mean: mean**2, np.random.default_rng(s).standard_normal((8, 1))) for s in range(2000)]
    assert abs(np.mean([value for value, _ in squares])) < 0.02  # 0.125 without the correction


def test_jackknife_leaves_out_walkers_that_are_not_finite():
    x = np.array([[1.0], [2.0], [np.nan], [3.0]])
    assert jackknife(lambda mean: mean, x)[0] == pytest.approx(2.0)
    assert np.isnan(jackknife(lambda mean: mean, x[2:3])[0]).all()


def test_the_stretch_of_half_the_change_ignores_noise_between_close_rows():
    x = np.sort(np.concatenate([DEPTHS, 16 + np.linspace(-0.2, 0.2, 9)]))
    y = 0.6 + 0.6 * (1 + np.tanh((x - 16) / 2)) / 2 + 0.02 * np.random.default_rng(1).standard_normal(len(x))
    found = steepest_stretch(x, y, np.full(len(x), 0.02))
    assert found.is_jump and found.low < 16 < found.high and found.high - found.low < 4
    straight = steepest_stretch(x, 0.6 + x / 50, np.full(len(x), 0.001))
    assert not straight.is_jump


# ------------------------------------------------------------------------------- tangents, branches


def test_no_tangent_lies_below_a_concave_curve():
    for seed in range(5):
        assert not tangent_check(dataset_of(DEPTHS, *lower(DEPTHS), seed=seed)).above.any()


def test_a_row_in_the_wrong_phase_lies_above_a_tangent():
    energy, slope, order = lower(DEPTHS, at=21.0)
    found = tangent_check(dataset_of(DEPTHS, energy, slope, order))
    wrong = (DEPTHS > 17.5) & (DEPTHS < 21)
    np.testing.assert_array_equal(found.above, wrong)
    assert (DEPTHS[found.witness[wrong]] > 21).all()


def test_tangents_need_a_hamiltonian_that_is_linear_in_the_coordinate():
    dataset = dataset_of(DEPTHS, *lower(DEPTHS))
    assert tangent_check(dataset) is not None
    dataset["depth_meV"].attrs["linear"] = 0
    assert tangent_check(dataset) is None


def test_tangents_meet_where_the_energies_cross():
    x = np.array([16.0, 17.0, 25.0, 30.0])
    place, error = tangents_meet(dataset_of(x, *lower(x), error=1e-6), 0, 1)
    # Both tangents bend: the curves themselves cross half a meV from either point.
    assert place == pytest.approx(CROSSING, abs=0.05) and 0 < error < 1e-3
    assert np.isnan(tangents_meet(dataset_of(x, *liquid(x)), 2, 2)[0])


def test_crossing_of_branches_and_its_error():
    found = [branch_crossing(*branches(seed)) for seed in range(300)]
    assert all(f.crosses and f.distinct.all() for f in found)
    distance = np.array([(f.location - CROSSING) / f.error for f in found])
    assert 0.60 < np.mean(np.abs(distance) < 1) < 0.76
    assert np.mean([f.kink for f in found]) == pytest.approx(KINK, abs=0.002)


def test_branches_that_do_not_cross_and_branches_that_are_one_state():
    above = branch_crossing(*branches(second=lambda x: (crystal(x)[0] + 5, *crystal(x)[1:])))
    assert not above.crosses and above.distinct.all() and np.isnan(above.location)
    one = branch_crossing(*branches(second=liquid))
    assert not one.crosses and not one.distinct.any()
    x = BRANCH_DEPTHS
    with pytest.raises(ValueError, match="same parameters"):
        branch_crossing(dataset_of(x, *liquid(x)), dataset_of(x + 1, *liquid(x + 1)))


# ------------------------------------------------------------------------------------ the decision


def test_a_crossing_is_found_by_a_model_that_follows_the_lower_phase():
    finding = find_transition(dataset_of(DEPTHS, *lower(DEPTHS)), branches(), NAMES)
    assert finding.kind == "first order" and finding.trustworthy
    assert abs(finding.location - CROSSING) < 3 * finding.uncertainty < 3.0
    assert "First-order transition" in finding.sentences[0]
    assert "the liquid being the lower below" in finding.sentences[0]


def test_without_branches_the_tangents_of_the_two_sides_must_meet():
    finding = find_transition(dataset_of(DEPTHS, *lower(DEPTHS)))
    assert finding.kind == "first order" and abs(finding.location - CROSSING) < 2


def test_a_stuck_model_is_named_and_the_transition_found_all_the_same():
    finding = find_transition(dataset_of(DEPTHS, *liquid(DEPTHS)), branches(), NAMES)
    assert finding.kind == "first order" and not finding.trustworthy
    assert abs(finding.location - CROSSING) < 0.5
    # Depths that are not in the scan are not compared.
    inside = dataset_of(np.union1d(DEPTHS, BRANCH_DEPTHS), *liquid(np.union1d(DEPTHS, BRANCH_DEPTHS)))
    text = " ".join(find_transition(inside, branches(), NAMES).sentences)
    assert "the crystal branch lies below the model" in text and "stuck in another phase" in text


def test_a_model_that_changes_late_says_where_it_is_wrong():
    x = np.union1d(DEPTHS, BRANCH_DEPTHS)
    finding = find_transition(dataset_of(x, *lower(x, at=19.5)), branches(), NAMES)
    assert finding.kind == "first order" and not finding.trustworthy
    assert any("stuck" in sentence and "18" in sentence for sentence in finding.sentences)
    assert finding.uncertainty > 1


@pytest.mark.parametrize("with_branches", [False, True])
def test_a_jump_of_the_network_alone_is_no_transition(with_branches):
    """S(K) and the routing jump, but the energy and its slope do not: hard routing."""
    energy, slope, order = liquid(DEPTHS)
    usage = np.where(DEPTHS < 14, 0.1, 0.9)[:, None, None] * np.ones((1, 2, 2))
    dataset = dataset_of(
        DEPTHS, energy, slope, order + 0.5 * (DEPTHS > 14), expert_usage=(("depth", "layer", "expert"), usage)
    )
    finding = find_transition(dataset, branches(second=liquid) if with_branches else None, NAMES)
    assert finding.kind == "artefact" and np.isnan(finding.location) and not finding.trustworthy
    assert "not of the Hamiltonian" in finding.sentences[0] and "experts jumps" in finding.sentences[0]


def test_a_crossover_is_not_a_transition():
    order = 1.4 + DEPTHS / 40
    energy, slope, _ = liquid(DEPTHS)
    scan = dataset_of(DEPTHS, energy, slope, order, interaction=-55 - DEPTHS / 30)
    finding = find_transition(scan, branches(second=liquid), NAMES)
    assert finding.kind == "smooth" and finding.trustworthy
    assert "No sharp transition" in finding.sentences[0] and "one and the same state" in finding.sentences[0]


def test_three_rows_decide_nothing():
    x = DEPTHS[:3]
    assert find_transition(dataset_of(x, *liquid(x))).kind == "undecided"


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
    assert found["kind"] in ("first order", "smooth", "artefact") and found["sentences"]
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
