"""Phases that compete: states of their own in one network, their training, the lowest one, and where two cross."""

import csv
import dataclasses
import shutil

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from families import compiled_call, plane_waves, random_positions, small_family, small_qernel
from synthetic_evaluations import MATERIAL, evaluation_of, family_of
from tiny_problem import TINY, tiny_config, tiny_problem

from qernel.ansatz import AtParameters, CompetingPhases, MomentumProjected, SlaterDeterminant
from qernel.ansatz._phases import _alike, _OneOf
from qernel.cli import main
from qernel.evaluation import (
    columns,
    format_table,
    ground_state,
    indexed,
    joined_phases,
    labelled_rows,
    phases_of,
    read_netcdf,
    results,
    separate_phases,
    table_rows,
)
from qernel.gradient import local_energies
from qernel.hamiltonian import Family, InPhase, in_phases
from qernel.judgement import phase_crossings, verdict
from qernel.laplacian import ForwardLaplacian, HessianTrace
from qernel.layers import trainable
from qernel.orbitals import ExpandedOrbitals, PlaneWaves
from qernel.plotting import energy_figure
from qernel.presets import ConfigurationError
from qernel.run_directory import read_metrics, read_training
from qernel.runs import Run
from qernel.sampling import initial_positions
from qernel.systems.moire import moire_system
from qernel.training import reallocate, train_step
from qernel.training._step import _averaged

SEPARATE = (
    *TINY,
    "ansatz.references=['plane_waves','gaussians']",
    "ansatz.start=both",
    "ansatz.phases=separate",
    "system.depths_meV=[5,12,20]",
    "evaluation.at.depth_meV=[5,10,15,20]",
)


# ------------------------------------------------------------------------------- the wavefunction


def competing(*, complex=False):
    """A network of two sets of two plane-wave determinants, not the same ones, and its family."""
    family = small_family()
    first = plane_waves(family, 3)
    second = ExpandedOrbitals(first.waves, np.eye(first.waves.size)[:, 2:5])
    lifted = dataclasses.replace(family, parameters=in_phases(family.parameters, 2))
    network = small_qernel(lifted, complex=complex, determinants=4)
    frozen = network.references[0]
    network = eqx.tree_at(lambda a: a.references, network, (frozen, dataclasses.replace(frozen, module=second)))
    return CompetingPhases(network), lifted


def test_one_set_of_orbitals_is_chosen_whatever_the_others_are():
    """Sets that differ in their arrays alone, one of them complex, and one in another basis."""
    family = small_family()
    first, wide = plane_waves(family, 3), PlaneWaves(family.hamiltonian.cell, 1.5)
    tables = np.random.default_rng(0).normal(size=(3, first.waves.size, 3))
    sets = (
        ExpandedOrbitals(first.waves, tables[0]),
        ExpandedOrbitals(wide, np.eye(wide.size)[:, 4:7]),
        ExpandedOrbitals(first.waves, tables[1] + 1j * tables[2]),
        first,
    )
    assert _alike(sets) == [[0, 2, 3], [1]]
    r, parameters = random_positions(family, 1)[0, 0], family.select(0)
    chosen = jax.jit(lambda number: _OneOf(sets, number)(r, parameters))
    for number, one in enumerate(sets):
        np.testing.assert_allclose(chosen(jnp.asarray(number)), one(r, parameters), atol=1e-12)


@pytest.mark.parametrize("complex", [False, True])
@pytest.mark.parametrize("number", [0, 1])
def test_a_phase_is_the_network_with_the_other_determinants_off(number, complex):
    ansatz, family = competing(complex=complex)
    parameters = family.select(2 + number)
    assert float(parameters.number) == number
    r = random_positions(family, 1)[0, 0]
    weights = (0.0, 0.0, 1.0, 1.0) if number else (1.0, 1.0, 0.0, 0.0)
    # At the start the head of the weights is zero.
    expected = dataclasses.replace(ansatz.network, initial_weights=weights)
    expected = compiled_call(expected, r, parameters)
    found = compiled_call(ansatz, r, parameters)
    assert float(found.log_magnitude) == pytest.approx(float(expected.log_magnitude), rel=1e-12)
    assert np.cos(found.phase - expected.phase) == pytest.approx(1, abs=1e-12)
    alone = compiled_call(ansatz.phase(number), r, parameters.parameters)
    assert float(alone.log_magnitude) == pytest.approx(float(found.log_magnitude), rel=1e-12)


def test_the_phase_conditions_the_network():
    ansatz, family = competing()
    network, r = ansatz.network, random_positions(family, 1)[0, 0]
    parameters = [family.select(row) for row in (2, 3)]
    here, there = (network.features(r, p, network.conditioner(p)) for p in parameters)
    assert np.max(np.abs(here - there)) > 1e-3


@pytest.mark.parametrize("projected", [False, True])
def test_derivatives_of_every_phase(projected):
    ansatz, family = competing()
    if projected:
        ansatz = CompetingPhases(MomentumProjected(ansatz.ansatz, family.hamiltonian.supercell))
    r = random_positions(family, 1, seed=4)[0, 0]
    for row in (2, 3):
        at = AtParameters(ansatz, family.select(row))
        fast, slow = (compiled_call(method, at, r) for method in (ForwardLaplacian(), HessianTrace()))
        assert np.allclose(fast.gradient, slow.gradient, rtol=1e-9, atol=1e-10)
        assert np.isclose(fast.laplacian, slow.laplacian, rtol=1e-9)
    at = AtParameters(ansatz.phase(1), family.select(3).parameters)
    fast, slow = (compiled_call(method, at, r) for method in (ForwardLaplacian(), HessianTrace()))
    assert np.isclose(fast.laplacian, slow.laplacian, rtol=1e-9)


def test_a_hamiltonian_takes_its_parameters_in_a_phase():
    ansatz, family = competing()
    plain = small_family()
    r = random_positions(family, 2)
    found = compiled_call(local_energies, ansatz, family.hamiltonian, r, family.parameters)
    for number in (0, 1):
        rows = slice(number, None, 2)
        expected = compiled_call(local_energies, ansatz.phase(number), plain.hamiltonian, r[rows], plain.parameters)
        assert np.allclose(found.total[rows], expected.total, rtol=1e-10)
    with pytest.raises(AttributeError):
        _ = family.parameters.colour


def test_only_one_phase_is_trained_by_its_walkers():
    """The scores of the other phase's determinants vanish, those of the shared network do not."""
    ansatz, family = competing()
    r = random_positions(family, 1)[0, 0]
    trained, static = eqx.partition(ansatz, trainable(ansatz))
    parameters = family.select(3)
    gradient = jax.jit(jax.grad(lambda t: eqx.combine(t, static)(r, parameters).log_magnitude))(trained)
    dressing = np.asarray(gradient.network.dressing.weight).reshape(-1, 4, 3)
    assert np.all(dressing[:, :2] == 0) and np.all(np.any(dressing[:, 2:] != 0, axis=(0, 2)))
    assert np.any(np.asarray(gradient.network.lift.weight) != 0)


def test_what_cannot_compete():
    family = small_family()
    with pytest.raises(ValueError, match="two or more sets"):
        CompetingPhases(small_qernel(family))
    with pytest.raises(ValueError, match="SlaterDeterminant has no sets"):
        CompetingPhases(SlaterDeterminant(plane_waves(family, 3), (3, 0)))
    with pytest.raises(ValueError, match="no phase 2"):
        competing()[0].phase(2)


# ------------------------------------------------------------------------------- the training


def test_walkers_start_in_their_phase():
    problem = tiny_problem(*SEPARATE)
    state = problem.state()
    members = list(zip(problem.members.points[:, 0].tolist(), problem.phases(state), strict=True))
    assert members == [(d, name) for d in (5.0, 12.0, 20.0) for name in ("liquid", "crystal")]
    cell, walkers = problem.members.hamiltonian.cell, 2000
    sites = np.array([[0.0, 0.0], [3.0, 4.0]])
    found = initial_positions(
        problem.members.hamiltonian,
        2,
        walkers,
        key=jax.random.key(0),
        sites=sites,
        width=0.01,
        crystal=np.array([False, True]),
    )
    away = np.linalg.norm(cell.wrap(jnp.asarray(np.asarray(found[1], np.float64) - sites + 0.5)) - 0.5, axis=-1)
    assert away.max() < 0.1
    fractional = np.asarray(found[0]) @ np.linalg.inv(np.asarray(cell.matrix))
    assert np.allclose(np.mean(np.mod(fractional, 1), axis=(0, 1)), 0.5, atol=0.03)


def test_the_walkers_of_hopeless_phases_go_where_the_noise_is():
    problem = tiny_problem(*SEPARATE)
    energies = np.array([-40.0, -38.5, -50.0, -50.6, np.nan, -70.0])
    known = lambda s: (s.mean_energy, s.mean_variance)
    variances = np.array([1.0, 9.0, 6.0, 1.0, 9.0, 3.0])
    state = eqx.tree_at(known, problem.state(), (jnp.asarray(energies), jnp.asarray(variances)))
    moved = reallocate(state, phases=2, margin=1.0)
    # Two rows are free: the first goes to the liquid at 12 (6/2), the second to the crystal at 20 (3/2 > 6/6).
    source = [0, 2, 2, 3, 5, 5]
    assert np.asarray(moved.phase).tolist() == [0, 0, 0, 1, 1, 1]
    assert np.asarray(moved.point).tolist() == [0, 1, 1, 1, 2, 2]
    assert problem.rows(moved).tolist() == source
    assert np.array_equal(moved.mean_variance, variances[source])
    assert np.array_equal(moved.positions, np.asarray(state.positions)[source])
    assert np.array_equal(moved.step_size, np.asarray(state.step_size)[source])
    assert np.array_equal(moved.mean_energy, energies[source])
    family = moved.in_phase(problem.members_of(moved))
    assert np.array_equal(family.parameters.number, moved.phase)
    depths = np.asarray(problem.members.parameters.depth)
    assert np.array_equal(family.parameters.depth, depths[source])
    # Given out once more, when the variances have changed: rows move, and none comes back to what has retired.
    again = eqx.tree_at(lambda s: s.mean_variance, moved, jnp.asarray([8.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
    assert problem.rows(reallocate(again, phases=2, margin=1.0)).tolist() == [0, 2, 0, 3, 5, 0]
    assert problem.phases(moved)[:3] == ["liquid", "liquid", "liquid"]
    # The liquid is trained up to 12, the crystal from 12 on: each competes up to the next trained depth.
    points = np.array([0.0, 5.0, 11.0, 12.0, 19.0, 20.0, 30.0])[:, None]
    assert problem.competes(moved, points, "liquid").tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert problem.competes(moved, points, "crystal").tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert problem.nearest(moved, np.array([[6.0], [30.0]]), "crystal").tolist() == [3, 4]
    # A lowest phase never retires, and a large margin keeps all that are known.
    kept = reallocate(state, phases=2, margin=2.0)
    assert problem.rows(kept).tolist() == [0, 1, 2, 3, 1, 5]
    with pytest.raises(ValueError, match="no 4 phases that compete"):
        reallocate(state, phases=4, margin=1.0)
    with pytest.raises(ValueError, match="no phases that compete"):
        reallocate(tiny_problem().state(), phases=2, margin=1.0)


def test_the_competition_is_decided_by_energies_averaged_over_its_last_part():
    """Weights of t²: those of 3/t on the way, after a first step whose energy is taken as it is."""
    problem = tiny_problem(*SEPARATE)
    state, measured, spread = problem.state(), [], []
    assert np.isnan(state.mean_energy).all()
    for _ in range(5):
        state, report = train_step(state, problem.members, problem.method)
        measured.append(np.asarray(report.statistics.energy))
        # What the gradient saw: no outlier draws all walkers to it.
        spread.append(np.mean(np.asarray(report.residuals) ** 2, axis=1))
    for mean, values, digits in ((state.mean_energy, measured, 1e-12), (state.mean_variance, spread, 1e-5)):
        expected = values[0]
        for step, value in enumerate(values[1:], 2):
            expected = expected + min(1.0, 3 / step) * (value - expected)
        assert np.allclose(mean, expected, rtol=digits)
    # With many steps each weighs as its number squared, about the last third of them.
    values, mean = np.random.default_rng(0).normal(size=200), jnp.asarray(jnp.nan)
    average = jax.jit(_averaged)
    for step, value in enumerate(values):
        mean = average(mean, jnp.asarray(value), jnp.asarray(step))
    weights = np.arange(200) * (np.arange(200) - 1.0)
    assert np.isclose(mean, np.sum(weights * values) / np.sum(weights), rtol=1e-10)
    # An energy that is not finite is no energy.
    assert average(mean, jnp.asarray(jnp.nan), jnp.asarray(200)) == mean


def test_the_record_of_a_training_follows_the_lowest_phase(tmp_path):
    head = "step,depth_meV,energy,error,variance,acceptance,bad_walkers,step_norm,distance,phase\n"
    rows = []
    for step in range(1, 11):
        for depth, liquid, crystal in ((0, -44, -40), (30, -90, -92)):
            rows += [f"{step},{depth},{liquid},0.1,1,0.5,1,0.1,0.1,liquid"]
            # The crystal at 0 meV retires.
            name = "crystal" if depth or step < 4 else "liquid"
            rows += [f"{step},{depth},{crystal if name == 'crystal' else -44.5},0.1,1,0.5,2,0.1,0.1,{name}"]
    path = tmp_path / "metrics.csv"
    path.write_text(head + "\n".join(rows) + "\n")
    record = read_training(path)
    assert record.phase == ("liquid", "crystal") and record.points.tolist() == [[0], [30]]
    assert record.names == ("depth_meV",) and record.labels == ("0", "30")
    assert np.all(record.energy[:, 1] == -92)
    # Two members in one phase: their mean.
    assert record.energy[:3, 0].tolist() == [-44] * 3 and record.energy[3:, 0].tolist() == [-44.25] * 7
    assert np.nansum(record.bad_walkers) == 10 * 2 * 3


# ------------------------------------------------------------------------------- what is measured


def measured(crossing=16.4, rows=((0, 1, 2, 3, 4, 5), (2, 3, 4, 5, 6, 7))):
    """Two phases at eight depths, the liquid at the first six and the crystal at the last six of them."""
    depths = np.array([0.0, 8.0, 12.0, 15.0, 17.0, 20.0, 25.0, 30.0])
    rows = [np.array(found, int) for found in rows]
    system = moire_system(MATERIAL, 3, (6, 0), depths)
    liquid, slope = -44 - 0.1 * depths - 0.02 * depths**2, -0.1 - 0.04 * depths
    energies = (liquid, liquid - 0.2 * (depths - crossing))
    evaluations, tables = [], {}
    for number, (name, found) in enumerate(zip(("liquid", "crystal"), rows, strict=True)):
        family = system.family.take(found)
        evaluations.append(
            evaluation_of(
                family,
                energy=energies[number][found],
                slope=(slope - 0.2 * number)[found],
                corner=(0.65, 1.2)[number],
                sigma=0.3,
                seed=number,
            )
        )
        tables[name] = results(evaluations[-1], family, system.units)
    return system.label(joined(tables, system.family)), evaluations


def joined(tables, family):
    labels, attributes, _ = labelled_rows(family)
    return joined_phases(tables, indexed(xarray.Dataset({}, labels, attributes)))


def test_the_lowest_phase_is_the_ground_state_at_every_depth():
    dataset, evaluations = measured()
    assert phases_of(dataset) == ["liquid", "crystal"] and dataset["energy"].shape == (2, 8)
    lowest = ground_state(dataset)
    assert lowest["phase"].values.tolist() == ["liquid"] * 4 + ["crystal"] * 4
    crystal = np.nanmean(evaluations[1].series["energy"], axis=(1, 2)) * MATERIAL.hartree_meV / 6
    assert np.allclose(lowest["energy"].values[4:], crystal[2:])
    of_crystal = dataset["energy"].sel(phase="crystal").values
    assert np.allclose(of_crystal[2:], crystal) and np.isnan(of_crystal[:2]).all()
    assert np.allclose(lowest["structure_factor_K"].values, [0.65] * 4 + [1.2] * 4, atol=0.02)
    apart = separate_phases(dataset)
    assert [apart[name]["energy"].size for name in ("liquid", "crystal")] == [6, 6]
    assert "structure_factor_K_error" in apart["crystal"]
    assert "energy" in columns(dataset) and "phase" not in columns(dataset)
    names, rows = table_rows(dataset)
    assert names[-5:] == [
        "energy_liquid",
        "energy_liquid_error",
        "energy_crystal",
        "energy_crystal_error",
        "phase",
    ]
    assert [row[-1] for row in rows] == lowest["phase"].values.tolist()
    assert np.allclose([row[names.index("energy")] for row in rows], lowest["energy"].values)
    assert np.allclose([row[-3] for row in rows], of_crystal, equal_nan=True)
    assert format_table(dataset).splitlines()[-1].endswith("crystal")


def test_the_crossing_of_two_phases_and_what_is_said_of_it():
    dataset, _ = measured()
    ((crossing, names),) = phase_crossings(dataset)
    assert names == ("liquid", "crystal") and crossing.crosses
    assert abs(crossing.location - 16.4) < 4 * crossing.error and crossing.error < 0.3
    assert abs(crossing.kink + 0.2) < 4 * crossing.kink_error
    text = " ".join(verdict(dataset))
    assert "First-order transition: the energies of the liquid and of the crystal cross at V₀ = 16." in text
    figure = energy_figure(dataset)
    labels = [text for axes in figure.axes for text in axes.get_legend_handles_labels()[1]]
    assert "liquid" in labels and "crystal" in labels
    figure.canvas.draw()


def test_a_phase_that_was_nowhere_measured_is_unknown():
    dataset, _ = measured(rows=(range(8), (3, 4)))
    # As a table that knows of a phase without a row of it.
    blank = dataset["energy"].copy(data=np.where([[False], [True]], np.nan, dataset["energy"].values))
    dataset = dataset.assign(energy=blank)
    assert ground_state(dataset)["phase"].values.tolist() == ["liquid"] * 8
    assert separate_phases(dataset)["crystal"]["energy"].size == 0 and phase_crossings(dataset) == []
    figure = energy_figure(dataset)
    figure.canvas.draw()


def test_without_a_crossing_nothing_is_claimed():
    # The crystal is the lower one everywhere.
    dataset, _ = measured(crossing=-5.0, rows=(range(6), range(8)))
    assert np.all(ground_state(dataset)["phase"] == "crystal") and phase_crossings(dataset) == []
    assert "The crystal has the lower energy everywhere." in " ".join(verdict(dataset))
    family = family_of([0.0, 10.0])
    alone = results(evaluation_of(family), family, MATERIAL.units)
    assert separate_phases(alone) == {} and phases_of(alone) == [] and ground_state(alone) is alone


# ------------------------------------------------------------------------------- the command line


def call(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code or 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of eight steps whose competition ends after four."""
    directory = tmp_path_factory.mktemp("phases") / "run"
    options = ("training.steps=8", "training.competition=0.5", "training.margin=0.5")
    assert call("run", *SEPARATE, *options, "--out", directory) == 0
    return directory


def metrics(directory):
    return list(read_metrics(directory / "metrics.csv", repeatable=True))


def test_a_run_of_separate_phases(finished):
    rows = metrics(finished)
    assert len(rows) == 8 * 6
    early, late = ([row["phase"] for row in rows if row["step"] == step] for step in ("4", "5"))
    assert early == ["liquid", "crystal"] * 3
    assert late != early and all(name in ("liquid", "crystal") for name in late)
    dataset = read_netcdf(finished / "results.nc")
    assert phases_of(dataset) == ["liquid", "crystal"] and dataset["energy"].shape == (2, 4)
    with (finished / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 4
    energies = np.array([[float(row[f"energy_{name}"]) for row in table] for name in ("liquid", "crystal")])
    assert np.allclose(energies, dataset["energy"].values, rtol=1e-9, equal_nan=True)
    assert np.array_equal([float(row["energy"]) for row in table], np.nanmin(energies, axis=0))
    assert (finished / "figures" / "training.png").is_file()


def test_a_run_resumes_into_the_same_phases(finished, tmp_path, capsys):
    """Stopped before and after phases have retired, and taken up again: the same rows, the same numbers."""
    shorter = tmp_path / "shorter"
    # Four of eight steps: the competition ends at the same step.
    options = ("training.steps=4", "training.competition=1.0", "training.margin=0.5")
    assert call("run", *SEPARATE, *options, "--out", shorter) == 0
    assert metrics(shorter) == metrics(finished)[: 4 * 6]
    assert call("resume", shorter, "training.steps=8", "training.competition=0.5") == 0
    rows = [list(read_metrics(path / "metrics.csv", repeatable=True)) for path in (shorter, finished)]
    assert rows[0] == rows[1]
    assert (shorter / "results.csv").read_text() == (finished / "results.csv").read_text()
    capsys.readouterr()
    assert call("evaluate", shorter, "--at", "depth_meV=7.5", "--out", tmp_path / "other") == 0
    assert "phase" in capsys.readouterr().out


def test_a_checkpoint_knows_its_phases(finished, tmp_path):
    """That of the last step, and that of the step after which phases have retired; no file beside says it."""
    rows = metrics(finished)
    early, late = ([row["phase"] for row in rows if row["step"] == step] for step in ("4", "5"))
    run = Run.open(finished)
    assert run.step == 8 and run.problem.phases(run.state) == late
    copy = shutil.copytree(finished, tmp_path / "copy")
    shutil.rmtree(copy / "checkpoints" / "8")
    shutil.rmtree(copy / "checkpoints" / "6")
    before = Run.open(copy)
    assert before.step == 4 and before.problem.phases(before.state) == late != early
    assert np.isfinite(before.state.mean_energy).all()


def test_an_ablation_puts_separate_phases_into_one_sum(tmp_path, capsys):
    command = ("ablate", "moire-6", *SEPARATE, "training.steps=2", "--seeds", 1, "--only", "only-plane_waves")
    assert call(*command, "--out", tmp_path / "ablation") == 0
    assert "in one sum here" in capsys.readouterr().out
    assert (tmp_path / "ablation" / "ablation.csv").is_file()


def test_a_run_that_has_lost_the_record_of_its_training_goes_on(finished, tmp_path):
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "metrics.csv").unlink()
    assert call("evaluate", copy) == 0
    assert (copy / "results.csv").read_text() == (finished / "results.csv").read_text()
    assert call("resume", copy, "training.steps=9") == 0
    assert [row["step"] for row in metrics(copy)] == ["9"] * 6


def test_the_transition_needs_no_other_branches(finished, tmp_path):
    assert call("transition", finished, "--points", 4, "--out", tmp_path / "found") == 0
    assert (tmp_path / "found" / "figures" / "transition.png").is_file()
    assert "energy_zero_variance" in read_netcdf(tmp_path / "found" / "transition.nc")
    assert not (tmp_path / "found" / "branches").exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ansatz.references=['liquid']", "needs two sets of references"),
        ("ansatz.start=crystal", "starts from all of its phases"),
        ("ansatz.conditioned=false", "conditions the network"),
    ],
)
def test_bad_configurations_of_phases(override, message):
    with pytest.raises(ConfigurationError, match=message):
        tiny_config(*SEPARATE, override)


def test_a_family_of_phases_is_sharded_like_any_other():
    problem = tiny_problem(*SEPARATE)
    state = problem.state()
    family = state.in_phase(problem.members)
    assert isinstance(family, Family) and isinstance(family.parameters, InPhase)
    assert family.size == 6 and state.positions.shape[0] == 6
