"""Error against seconds and samples of several trainings: synthetic metrics, whose curves are known."""

import csv
import dataclasses

import jax
import numpy as np
import pytest
from synthetic_evaluations import moire_phases, moire_table
from tiny_problem import tiny_config

from qernel.cli._main import main
from qernel.evaluation import write_netcdf
from qernel.presets import preset, to_toml
from qernel.studies.compare import compare, curves_of, read_run


def header():
    return (
        "step,depth_meV,energy,error,variance,acceptance,bad_walkers,step_norm,distance,phase,stuck_walkers,"
        "redrawn_walkers,clipped,kinetic_difference,kinetic_difference_error,shrink,refused,effective_per_second,"
        "seconds,sampling_seconds,memory_MB"
    )


def metrics(path, energy, *, seconds, walkers=100, sigma=2.0, bad=0, phases=("",), head=None):
    """A table of a training: `energy[phase][point]` of a number of the step, sigma² the variance."""
    rows = [head or header()]
    for step in range(1, len(next(iter(energy[0].values()))) + 1):
        for number, phase in enumerate(phases):
            for point, series in energy[number].items():
                value, error = series[step - 1], sigma / np.sqrt(walkers - bad)
                rows.append(
                    f"{step},{point:g},{value:.9g},{error:.6g},{sigma**2:.6g},0.5,{bad},1,1,{phase},0,0,0,0,1,1,0,1,"
                    f"{seconds:.5g},0.1,100"
                )
    path.write_text("\n".join(rows) + "\n")


CONFIG = preset("moire-6", "system.depths_meV=[0,15,30]")
EXACT = {0.0: -44.5, 15.0: -59.0, 30.0: -90.0}


def decay(offsets, steps, rate):
    """Energies that approach an offset above the exact ones."""
    t = np.arange(1, steps + 1)
    return {point: EXACT[point] + off + 2 * np.exp(-rate * t) for point, off in offsets.items()}


@pytest.fixture
def exact(monkeypatch):
    """Reference values of round numbers, in place of the tables of the system."""
    from qernel.studies.compare import _training as module

    real = module._of_system

    def known(system):
        def at(points):
            found = system.known(system.family.at(points))
            here = np.array([EXACT.get(float(p[0]), np.nan) for p in points])
            nothing = np.full(len(points), np.nan)
            columns = {"exact": here, "exact_error": nothing, "upper_bound": nothing, "mean_field": nothing}
            return dataclasses.replace(found, points=points, **columns, terms={}, branches=())

        return dataclasses.replace(real(system), known=at)

    monkeypatch.setattr(module, "_of_system", known)


def run_at(path, config=CONFIG):
    path.mkdir(parents=True)
    (path / "config.toml").write_text(to_toml(config))
    return path


def test_curves_are_those_of_the_metrics(tmp_path, exact):
    fast, slow = (run_at(tmp_path / name) for name in ("fast", "slow"))
    metrics(fast / "metrics.csv", [decay({0.0: 0.1, 15.0: 0.2, 30.0: 0.0}, 200, 0.1)], seconds=0.5, walkers=400)
    metrics(slow / "metrics.csv", [decay({0.0: 0.1, 15.0: 0.3, 30.0: 0.05}, 400, 0.05)], seconds=1.5, bad=10)
    trainings = [read_run(path) for path in (fast, slow)]
    reference, (one, two) = curves_of(trainings)
    assert reference.exact and reference.energies.tolist() == list(EXACT.values())
    # 0.1 and 0.211 a step: the noisier one, over a twentieth of 400 steps, sets 0.047.
    assert (one.window, two.window) == (5, 20) and one.error <= two.error * (1 + 1e-9)
    np.testing.assert_allclose(two.error, 2 / np.sqrt(90) / np.sqrt(20), rtol=1e-5)
    # Seconds of all steps, and samples of three members, those that were not finite among them.
    assert (one.seconds[0], one.seconds[-1]) == (2.5, 100.0) and one.step[0] == 5
    assert one.samples[-1] == 200 * 3 * 400 and two.samples[-1] == 400 * 3 * 100
    tail = 2 * np.exp(-0.1 * np.arange(196, 201)).mean()
    np.testing.assert_allclose(one.largest[-1], 0.2 + tail, atol=1e-6)
    np.testing.assert_allclose(one.mean[-1], 0.1 + tail, atol=1e-6)
    assert one.where[-1] == 1
    scores = 6 * 4 / (np.array([-44.4, -58.8, -90.0]) + tail) ** 2
    np.testing.assert_allclose(one.v_score[-1], scores.max(), rtol=1e-6)
    # A stated error: windows of (0.1/0.05)² = 4 and of 18 steps; the longest is a quarter of the training.
    assert [c.window for c in curves_of(trainings, 0.05)[1]] == [4, 18]
    assert [c.window for c in curves_of(trainings, 1e-4)[1]] == [50, 100]
    assert one.reaches(0.3) == np.flatnonzero(one.largest <= 0.3)[0] and two.reaches(0.2) is None


def test_the_table_the_figure_and_the_curves(tmp_path, exact, capsys):
    fast, slow = (run_at(tmp_path / name) for name in ("fast", "slow"))
    metrics(fast / "metrics.csv", [decay({0.0: 0.1, 15.0: 0.2, 30.0: 0.0}, 200, 0.1)], seconds=0.5)
    metrics(slow / "metrics.csv", [decay({0.0: 0.1, 15.0: 0.3}, 400, 0.05)], seconds=1.5)
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(fast), str(slow), "--out", str(tmp_path / "both.pdf")])
    assert not stop.value.code
    text = capsys.readouterr().out
    lines = text.splitlines()
    assert lines[0].split() == "run steps seconds samples worst at mean V-score window s to 0.3 samples".split()
    assert lines[1].split()[:6] == ["fast", "200", "100", "6e4", "0.200(63)", "15"]
    assert lines[2].split()[:4] == ["slow", "400", "600", "8e4"]
    assert "Errors in meV per electron at 2 points of depth_meV, from the exact energies" in text
    assert "Points that not all runs have are left out: of fast." in text
    assert (tmp_path / "both.pdf").read_bytes()[:4] == b"%PDF"
    with (tmp_path / "both.csv").open() as file:
        rows = list(csv.DictReader(file))
    last = [row for row in rows if row["run"] == "fast"][-1]
    assert float(last["seconds"]) == 100 and abs(float(last["largest"]) - 0.2) < 1e-6 and last["step"] == "200"
    # By default a .png in the current folder; and a Run in place of its directory.
    with jax.enable_x64(True):
        system = CONFIG.system.system()
    made = type("Made", (), {"path": fast, "problem": type("Of", (), {"system": system})()})()
    found = compare([made], out=tmp_path / "new" / "one.png")
    assert found.figure.is_file() and found.csv.is_file() and len(found.curves) == 1
    assert "s to" not in found.text


def test_energies_that_nobody_knows_are_above_the_lowest_reached(tmp_path):
    tiny = tiny_config("system.depths_meV=[5,20]")
    low, high = (run_at(tmp_path / name, tiny) for name in ("low", "high"))
    level = lambda a, b: [{5.0: np.full(40, a), 20.0: np.full(40, b)}]
    metrics(low / "metrics.csv", level(-20.0, -30.0), seconds=1)
    metrics(high / "metrics.csv", level(-19.5, -31.0), seconds=1)
    found = compare([low, high], out=tmp_path / "c.png")
    assert not found.reference.exact and found.reference.energies.tolist() == [-20.0, -31.0]
    assert [c.largest[-1] for c in found.curves] == [1.0, 0.5] and [c.mean[-1] for c in found.curves] == [0.5, 0.25]
    assert "the lowest energy that any of the runs reaches at its end" in found.sentences[0]


def test_points_that_nobody_knows_are_left_out_or_compared_with_the_lowest(tmp_path, exact):
    """At 20 meV the better run would seem to have no error."""
    runs = [run_at(tmp_path / name) for name in ("one", "two")]
    for run, above in zip(runs, (0.3, 0.2), strict=True):
        metrics(run / "metrics.csv", [{0.0: np.full(40, -44.5 + above), 20.0: np.full(40, -70 - above)}], seconds=1)
    found = compare(runs, out=tmp_path / "c.png")
    assert found.reference.points.tolist() == [[0.0]] and found.reference.left_out.tolist() == [[20.0]]
    np.testing.assert_allclose([c.mean[-1] for c in found.curves], [0.3, 0.2])
    assert "No exact energy is known at 20, trained by all: left out" in " ".join(found.sentences)
    found = compare(runs, out=tmp_path / "c.png", lowest=True)
    assert not found.reference.exact and len(found.reference.points) == 2
    np.testing.assert_allclose([c.largest[-1] for c in found.curves], [0.1, 0.1])


def test_of_separate_phases_the_lowest_counts_and_all_cost(tmp_path, exact):
    run = run_at(tmp_path / "phases")
    liquid, crystal = (
        decay({0.0: 0.1, 15.0: 0.2, 30.0: 0.9}, 100, 0.2),
        decay({0.0: 0.8, 15.0: 0.3, 30.0: 0.1}, 100, 0.2),
    )
    metrics(run / "metrics.csv", [liquid, crystal], seconds=1, phases=("liquid", "crystal"))
    _, (curve,) = curves_of([read_run(run)])
    np.testing.assert_allclose([curve.largest[-1], curve.mean[-1]], [0.2, 0.4 / 3], atol=1e-6)
    assert curve.samples[-1] == 100 * 6 * 100


def test_runs_of_scripts_are_known_by_their_results(tmp_path):
    run = tmp_path / "script"
    run.mkdir()
    (run / "config.toml").write_text('[made_by_a_script]\nsystem = "moire"\n')
    metrics(run / "metrics.csv", [decay({0.0: 0.1, 15.0: 0.2}, 40, 0.3)], seconds=1)
    with pytest.raises(ValueError, match="was made by a script and has not been measured"):
        read_run(run)
    write_netcdf(moire_table([0.0, 15.0, 30.0]), run / "results.nc")
    measured = read_run(run)
    same = run_at(tmp_path / "same")
    metrics(same / "metrics.csv", [decay({0.0: 0.1, 15.0: 0.2}, 40, 0.3)], seconds=1)
    assert measured.physics.electrons == 6 and measured.physics.unit == "meV per electron"
    # The numbers of the system's tables, by way of the results and by way of the configuration.
    reference, _ = curves_of([measured, read_run(same)])
    again, _ = curves_of([read_run(same)])
    assert reference.exact and again.exact and reference.energies.tolist() == again.energies.tolist()
    write_netcdf(moire_phases([0.0, 15.0, 30.0]), run / "results.nc")
    assert read_run(run).physics.facts == measured.physics.facts


def test_what_cannot_be_compared_is_refused_in_words(tmp_path, capsys):
    one, other, empty = (tmp_path / name for name in ("one", "other", "empty"))
    run_at(one), run_at(empty)
    metrics(one / "metrics.csv", [decay({0.0: 0.1, 15.0: 0.2}, 40, 0.3)], seconds=1)

    def refused(match, *runs, **options):
        with pytest.raises(ValueError, match=match):
            compare(runs, out=options.pop("out", tmp_path / "c.png"), **options)

    refused("empty has no training to compare: there is no record", one, empty)
    refused("there is no run .*nowhere: it is no directory", one, tmp_path / "nowhere")
    refused("at least one run")
    refused("figure of a comparison is a .png, .pdf, .svg, got c.txt", one, out=tmp_path / "c.txt")
    refused("must be positive, got 0", one, error=0.0)
    run_at(other, preset("moire-6", "system.phi_degrees=30"))
    metrics(other / "metrics.csv", [decay({0.0: 0.1, 15.0: 0.2}, 40, 0.3)], seconds=1)
    refused("one and other are runs of different systems.*other parameters at the same points", one, other)
    run_at(tmp_path / "larger", preset("moire-24"))
    metrics(tmp_path / "larger" / "metrics.csv", [decay({0.0: 0.1}, 40, 0.3)], seconds=1)
    refused("different systems.*electrons up and down 6, 0, and 24, 0", one, tmp_path / "larger")
    run_at(tmp_path / "apart")
    metrics(tmp_path / "apart" / "metrics.csv", [decay({30.0: 0.1}, 40, 0.3)], seconds=1)
    refused("at no common point: at 0; 15, and at 30 .depth_meV.", one, tmp_path / "apart")
    metrics(empty / "metrics.csv", [decay({0.0: 0.1}, 40, 0.3)], seconds=np.nan)
    refused("no seconds in its metrics.csv", empty)
    with pytest.raises(SystemExit) as stop:
        main(["compare", str(one), str(tmp_path / "apart"), "--out", str(tmp_path / "c.png")])
    assert stop.value.code and "no common point" in capsys.readouterr().err
