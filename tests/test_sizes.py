"""Finished runs of several sizes against 1/N."""

import json

import numpy as np
import pytest
from synthetic_evaluations import MATERIAL, evaluation_of, family_of

from qernel.cli import main
from qernel.evaluation import indexed, joined_phases, labelled_rows, results, write_netcdf
from qernel.run_directory import RunDirectory
from qernel.studies.scaling import infinite_size, limit_verdict, read_sizes, size_crossing

DEPTHS = np.linspace(10.0, 20.0, 6)
SIZES = {6: 3, 24: 6, 54: 9}


def table_of(electrons, *, at=14.0, gap=-0.6, slopes=(-1.5, -1.8), order=(0.7, 0.25), crossing=True, seed=0):
    """Two phases whose energies cross at 14 + 12/N meV (the crystal lies higher everywhere if not `crossing`); the
    interaction energy changes by `gap` from the liquid to the crystal, S(K) is a number in one and N times another in
    the other."""
    import xarray

    place = at + 12.0 / electrons
    tables = {}
    for number, (name, slope) in enumerate(zip(("liquid", "crystal"), slopes, strict=True)):
        family = family_of(DEPTHS, SIZES[electrons], electrons)
        lift = 5.0 if number and not crossing else 0.0
        evaluation = evaluation_of(
            family,
            energy=-60.0 + slope * (DEPTHS - place) + lift,
            slope=np.full(len(DEPTHS), slope),
            interaction=-54.0 + number * gap,
            sigma=0.2,
            seed=seed + number,
        )
        values = np.full(len(DEPTHS), electrons * order[1] if number else order[0])
        attributes = {"symbol": "S(K)", "smallest": 0.5}
        tables[name] = (
            results(evaluation, family, MATERIAL.units)
            .assign(
                structure_factor_K=("depth", values, attributes),
                structure_factor_K_error=("depth", 0.01 * values),
            )
            .assign_attrs(order_parameters=["structure_factor_K"], system="moire", facts=json.dumps([["mass", "1"]]))
        )
    labels, attributes, _ = labelled_rows(family_of(DEPTHS, SIZES[electrons], electrons))
    joined = joined_phases(tables, indexed(xarray.Dataset({}, labels, attributes)))
    return joined


def test_the_crossing_and_the_gaps_of_one_size():
    found = size_crossing(table_of(24))
    assert found is not None and found.names == ("liquid", "crystal") and found.electrons == 24
    assert found.place == pytest.approx(14.5, abs=4 * found.error) and found.error < 0.1
    assert found.gaps["interaction"] == pytest.approx(-0.6, abs=4 * found.gap_errors["interaction"])
    assert found.gaps["order"] == pytest.approx(0.25 - 0.7 / 24, abs=4 * found.gap_errors["order"])
    assert size_crossing(table_of(24, crossing=False)) is None


def test_a_line_in_one_over_n():
    sizes, errors = [6, 24, 54, 150], np.array([0.1, 0.2, 0.1, 0.3])
    values = 3.0 + 12.0 / np.array(sizes)
    line = infinite_size(sizes, values, errors)
    assert line is not None and line.describes
    assert (line.value, line.slope, line.chi_squared) == pytest.approx((3.0, 12.0, 0.0), abs=1e-9)
    # Far from any line the error grows with the scatter, and the line is said to describe nothing.
    bent = infinite_size(sizes, values + np.array([0.0, 3.0, -3.0, 0.0]), errors)
    assert bent is not None and not bent.describes and bent.error > 5 * line.error
    # What is not known is left out: two sizes are no test of a line.
    assert infinite_size(sizes, np.where(np.arange(4) < 2, np.nan, values), errors) is None


def test_errors_of_the_infinite_size_cover_its_scatter():
    rng, errors = np.random.default_rng(0), np.array([0.1, 0.2, 0.1, 0.3])
    sizes = [6, 24, 54, 150]
    lines = [
        infinite_size(sizes, 1.0 + 2.0 / np.array(sizes) + errors * rng.standard_normal(4), errors) for _ in range(200)
    ]
    scatter = np.array([(line.value - 1.0) / line.error for line in lines if line is not None])
    assert 0.6 < scatter.std() < 1.2 and abs(scatter.mean()) < 0.3


def test_what_the_sizes_say_together():
    text = "\n".join(limit_verdict([table_of(n) for n in (54, 6, 24)]))
    assert "cross at N = 6: " in text and "A line in 1/N leads the crossings to " in text
    assert "S(K)/N at V₀ = 10 meV cannot be told from zero as N grows" in text
    assert "S(K)/N at V₀ = 20 meV stays finite as N grows: 0.250" in text
    text = "\n".join(limit_verdict([table_of(6), table_of(24, at=11.0), table_of(54)]))
    assert "The crossings lie on no line in 1/N" in text
    text = "\n".join(limit_verdict([table_of(6), table_of(24, crossing=False)]))
    assert "The phases of N = 24 do not cross inside its rows." in text and "leads" not in text


def written(folder, table):
    directory = RunDirectory(folder)
    folder.mkdir()
    write_netcdf(table, directory.results)
    return directory


def test_finished_runs_are_compared_and_drawn(tmp_path, capsys):
    runs = [written(tmp_path / str(n), table_of(n)) for n in (54, 6, 24)]
    with pytest.raises(SystemExit) as stop:
        main(["sizes", *(str(run.path) for run in runs), "--out", str(tmp_path / "out")])
    assert not stop.value.code
    text = capsys.readouterr().out
    assert "A line in 1/N leads the crossings" in text and "sizes.png" in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"scaling.csv", "scaling.png", "sizes.png"}
    assert [d.path.name for d in read_sizes([run.path for run in runs], out=tmp_path / "out").directories] == [
        "6",
        "24",
        "54",
    ]


def test_runs_that_cannot_be_compared_are_named(tmp_path):
    run = written(tmp_path / "six", table_of(6))
    same = written(tmp_path / "again", table_of(6, seed=4))
    other = written(tmp_path / "other", table_of(24).assign_attrs(facts=json.dumps([["mass", "2"]])))
    for runs, message in [
        ([run], "two runs or more, got 1"),
        ([run, tmp_path / "none"], "none has no results: measure it with"),
        ([run, same], "runs of 6 electrons: take one"),
        ([run, other], "other is a run of another system than .*six: facts differs"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_sizes(runs, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sizes_without_a_common_point_or_without_phases(tmp_path):
    elsewhere = table_of(24)
    elsewhere = elsewhere.assign_coords(depth=elsewhere["depth"] + 0.5, depth_meV=elsewhere["depth_meV"] + 0.5)
    runs = [written(tmp_path / "apart", elsewhere), written(tmp_path / "six", table_of(6))]
    found = read_sizes(runs, out=tmp_path / "out")
    assert found.limit_figure.is_file() and any("cross at N = 6" in line for line in found.sentences)
    of_sums = [table_of(n).isel(phase=0, drop=True) for n in (6, 24, 54)]
    assert not any("cross" in line for line in limit_verdict(of_sums))
    assert any("cannot be told from zero" in line for line in limit_verdict(of_sums))
