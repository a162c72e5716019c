"""Phases that compete: states of their own in one network, their training, the lowest one, and where two cross."""

import csv
import dataclasses
import shutil

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import compiled_call, plane_waves, random_positions, small_family, small_qernel
from synthetic_evaluations import MATERIAL, evaluation_of, family_of
from tiny_problem import TINY, tiny_config, tiny_problem

from qernel.ansatz import AtParameters, CompetingPhases, MomentumProjected, SlaterDeterminant
from qernel.cli import main
from qernel.evaluation import add_phases, columns, format_table, lowest_phases, read_netcdf, results, separate_phases
from qernel.gradient import local_energies
from qernel.hamiltonian import Family, InPhase, in_phases
from qernel.judgement import phase_crossing, verdict
from qernel.laplacian import ForwardLaplacian, HessianTrace
from qernel.layers import trainable
from qernel.orbitals import ExpandedOrbitals
from qernel.plotting import energy_figure
from qernel.presets import ConfigurationError
from qernel.run_directory import RunDirectory, read_training
from qernel.run_directory._training import in_recorded_phases
from qernel.sampling import initial_positions
from qernel.training import retire_phases

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
    assert problem.rows == tuple((d, name) for d in (5.0, 12.0, 20.0) for name in ("plane_waves", "gaussians"))
    cell, walkers = problem.family.hamiltonian.cell, 2000
    sites = np.array([[0.0, 0.0], [3.0, 4.0]])
    found = initial_positions(
        problem.family.hamiltonian,
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


def test_hopeless_phases_retire():
    problem = tiny_problem(*SEPARATE)
    state = problem.state()
    energies = np.array([-40.0, -38.5, -50.0, -50.6, np.nan, -70.0])
    moved, family = retire_phases(state, problem.family, energies, phases=2, margin=1.0)
    assert np.asarray(family.parameters.number).tolist() == [0, 0, 0, 1, 1, 1]
    source = [0, 0, 2, 3, 5, 5]
    assert np.array_equal(moved.positions, np.asarray(state.positions)[source])
    assert np.array_equal(family.parameters.depth, problem.family.parameters.depth)
    after = dataclasses.replace(problem, family=family)
    assert after.rows[:3] == ((5.0, "plane_waves"), (5.0, "plane_waves"), (12.0, "plane_waves"))
    # The liquid is trained up to 12, the crystal from 12 on: each competes up to the next trained depth.
    assert after.competes((0.0, 5.0, 11.0, 12.0, 19.0, 20.0, 30.0), "plane_waves").tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert after.competes((0.0, 5.0, 11.0, 12.0, 19.0, 20.0, 30.0), "gaussians").tolist() == [0, 0, 1, 1, 1, 1, 1]
    assert after.nearest_rows((6.0, 30.0), "gaussians").tolist() == [3, 4]
    # A lowest phase never retires, and a large margin keeps all that are known.
    kept = retire_phases(state, problem.family, energies, phases=2, margin=2.0)[1]
    assert np.asarray(kept.parameters.number).tolist() == [0, 1, 0, 1, 1, 1]


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
    assert record.phase == ("liquid", "crystal") and record.label.tolist() == [0, 30]
    assert np.all(record.energy[:, 1] == -92)
    # Two members in one phase: their mean.
    assert record.energy[:3, 0].tolist() == [-44] * 3 and record.energy[3:, 0].tolist() == [-44.25] * 7
    assert np.nansum(record.bad_walkers) == 10 * 2 * 3


# ------------------------------------------------------------------------------- what is measured


def measured(crossing=16.4, rows=((0, 1, 2, 3, 4, 5), (2, 3, 4, 5, 6, 7))):
    """Two phases at eight depths, the liquid at the first six and the crystal at the last six of them."""
    depths = np.array([0.0, 8.0, 12.0, 15.0, 17.0, 20.0, 25.0, 30.0])
    rows = [np.array(found) for found in rows]
    liquid, slope = -44 - 0.1 * depths - 0.02 * depths**2, -0.1 - 0.04 * depths
    energies = (liquid, liquid - 0.2 * (depths - crossing))
    evaluations = [
        evaluation_of(
            family_of(depths[found]),
            energy=energies[number][found],
            slope=(slope - 0.2 * number)[found],
            corner=(0.65, 1.2)[number],
            sigma=0.3,
            seed=number,
        )
        for number, found in enumerate(rows)
    ]
    lowest, chosen = lowest_phases(evaluations, rows)
    family = family_of(depths)
    names = ("liquid", "crystal")
    tables = {
        name: (found, results(evaluation, family_of(depths[found]), MATERIAL))
        for name, found, evaluation in zip(names, rows, evaluations, strict=True)
    }
    dataset = add_phases(results(lowest, family, MATERIAL), tables, [names[number] for number in chosen], names)
    dataset.attrs.update(steps=100, trained_depths_meV=depths.tolist())
    return dataset, chosen, evaluations


def test_the_lowest_phase_is_kept_at_every_depth():
    dataset, chosen, evaluations = measured()
    assert chosen.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert dataset["phase"].values.tolist() == ["liquid"] * 4 + ["crystal"] * 4
    crystal = np.nanmean(evaluations[1].series["energy"], axis=(1, 2)) * MATERIAL.hartree_meV / 6
    assert np.allclose(dataset["energy"].values[4:], crystal[2:])
    assert (
        np.allclose(dataset["energy_crystal"].values[2:], crystal)
        and np.isnan(dataset["energy_crystal"].values[:2]).all()
    )
    assert np.allclose(dataset["structure_factor_K"].values, [0.65] * 4 + [1.2] * 4, atol=0.02)
    apart = separate_phases(dataset)
    assert [apart[name]["energy"].size for name in ("liquid", "crystal")] == [6, 6]
    assert "structure_factor_K_error" in apart["crystal"]
    assert columns(dataset)[-5:] == [
        "energy_liquid",
        "energy_liquid_error",
        "energy_crystal",
        "energy_crystal_error",
        "phase",
    ]
    assert format_table(dataset).splitlines()[-1].endswith("crystal")


def test_the_crossing_of_two_phases_and_what_is_said_of_it():
    dataset, *_ = measured()
    crossing, names = phase_crossing(dataset)
    assert names == ("liquid", "crystal") and crossing.crosses
    assert abs(crossing.location - 16.4) < 4 * crossing.error and crossing.error < 0.3
    assert abs(crossing.kink + 0.2) < 4 * crossing.kink_error
    text = " ".join(verdict(dataset))
    assert "First-order transition: the energies of the liquid and of the crystal cross at V0 = 16." in text
    figure = energy_figure(dataset)
    labels = [text for axes in figure.axes for text in axes.get_legend_handles_labels()[1]]
    assert "liquid" in labels and "crystal" in labels
    figure.canvas.draw()


def test_a_phase_that_was_nowhere_measured_is_unknown():
    family = family_of([0.0, 10.0])
    evaluation = evaluation_of(family)
    table = results(evaluation, family, MATERIAL)
    dataset = add_phases(table, {"liquid": (np.arange(2), table)}, ["liquid"] * 2, ("liquid", "crystal"))
    assert np.isnan(dataset["energy_crystal"].values).all() and np.isnan(dataset["energy_crystal_error"].values).all()
    assert separate_phases(dataset)["crystal"]["energy"].size == 0 and phase_crossing(dataset) is None
    figure = energy_figure(dataset)
    figure.canvas.draw()


def test_without_a_crossing_nothing_is_claimed():
    # The crystal is the lower one everywhere.
    dataset, chosen, _ = measured(crossing=-5.0, rows=(range(6), range(8)))
    assert np.all(chosen == 1) and phase_crossing(dataset) is None
    assert "The crystal has the lower energy everywhere." in " ".join(verdict(dataset))
    assert separate_phases(results(evaluation_of(family_of([0.0, 10.0])), family_of([0.0, 10.0]), MATERIAL)) == {}


# ------------------------------------------------------------------------------- the command line


def call(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code or 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of eight steps whose competition ends after four."""
    directory = tmp_path_factory.mktemp("phases") / "run"
    options = ("training.steps=8", "training.competition=0.5", "training.margin_meV=0.5")
    assert call("run", *SEPARATE, *options, "--out", directory) == 0
    return directory


def metrics(directory):
    return list(csv.DictReader((directory / "metrics.csv").open()))


def test_a_run_of_separate_phases(finished):
    rows = metrics(finished)
    assert len(rows) == 8 * 6
    early, late = ([row["phase"] for row in rows if row["step"] == step] for step in ("4", "5"))
    assert early == ["plane_waves", "gaussians"] * 3
    assert late != early and all(name in ("plane_waves", "gaussians") for name in late)
    dataset = read_netcdf(finished / "results.nc")
    assert dataset["energy"].size == 4
    energies = np.stack([dataset[f"energy_{name}"].values for name in ("plane_waves", "gaussians")])
    assert np.array_equal(dataset["energy"].values, np.nanmin(energies, axis=0))
    assert (finished / "figures" / "training.png").is_file()


def test_a_run_resumes_into_the_same_phases(finished, tmp_path, capsys):
    """Stopped before and after phases have retired, and taken up again: the same rows, the same numbers."""
    shorter = tmp_path / "shorter"
    # Four of eight steps: the competition ends at the same step.
    options = ("training.steps=4", "training.competition=1.0", "training.margin_meV=0.5")
    assert call("run", *SEPARATE, *options, "--out", shorter) == 0
    assert metrics(shorter) == metrics(finished)[: 4 * 6]
    assert call("resume", shorter, "training.steps=8", "training.competition=0.5") == 0
    assert (shorter / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()
    assert (shorter / "results.csv").read_text() == (finished / "results.csv").read_text()
    capsys.readouterr()
    assert call("evaluate", shorter, "--depth", 7.5, "--out", tmp_path / "other") == 0
    assert "phase" in capsys.readouterr().out


def test_a_state_between_two_steps_belongs_to_the_phases_of_the_next_one(finished):
    """As that of a fault in the first step after phases have retired."""
    rows = metrics(finished)
    early, late = ([row["phase"] for row in rows if row["step"] == step] for step in ("4", "5"))
    problem, directory = tiny_problem(*SEPARATE), RunDirectory(finished)
    phases = lambda *steps: [name for _, name in in_recorded_phases(problem, directory, *steps).rows]
    assert phases(5, 4) == late and phases(4) == early and phases(99, 5) == late
    assert phases(1, 0) == ["plane_waves", "gaussians"] * 3


def test_an_ablation_puts_separate_phases_into_one_sum(tmp_path, capsys):
    command = ("ablate", "moire-6", *SEPARATE, "training.steps=2", "--seeds", 1, "--only", "plane-waves")
    assert call(*command, "--out", tmp_path / "ablation") == 0
    assert "in one sum here" in capsys.readouterr().out
    assert (tmp_path / "ablation" / "ablation.csv").is_file()


def test_a_run_that_has_lost_the_record_of_its_phases(finished, tmp_path, capsys):
    copy = shutil.copytree(finished, tmp_path / "copy")
    (copy / "metrics.csv").unlink()
    assert call("evaluate", copy) != 0
    assert "does not say which phases were trained at step 8" in capsys.readouterr().err


def test_the_transition_needs_no_other_branches(finished, tmp_path):
    assert call("transition", finished, "--points", 4, "--out", tmp_path / "found") == 0
    assert (tmp_path / "found" / "figures" / "transition.png").is_file()
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
    assert isinstance(problem.family, Family) and isinstance(problem.family.parameters, InPhase)
    assert problem.family.size == 6 and problem.positions.shape[0] == 6
