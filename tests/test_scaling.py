"""Cells of several sizes at one filling, and whether a jump sharpens with them."""

import csv

import numpy as np
import pytest
import xarray
from synthetic_evaluations import MATERIAL, evaluation_of, family_of
from tiny_problem import TINY, tiny_config

from qernel.cli import main
from qernel.cli._arguments import is_size, spread_values
from qernel.studies.scaling._scale import cell_of, settings_of
from qernel.lattice import supercell, triangular, triangular_index
from qernel.evaluation import results
from qernel.observables import zone_corners
from qernel.studies.scaling import growth, order_transition, scaling_rows, scaling_verdict
from qernel.presets import ConfigurationError, load

SIZES = [1, 3, 4, 7, 9, 12, 13, 16, 21, 27, 36, 48, 49]


@pytest.mark.parametrize("cells", SIZES)
def test_triangular_index_keeps_the_symmetry(cells):
    cell = supercell(triangular(1.0), triangular_index(cells))
    (first, second) = cell.lattice.matrix
    assert cell.cells == cells
    assert first @ first == pytest.approx(second @ second) == pytest.approx(cells)
    assert first @ second == pytest.approx(cells / 2)
    assert all(cell.contains(q) == (cells % 3 == 0) for q in zone_corners(triangular(1.0)))


@pytest.mark.parametrize("cells", [-2, 0, 2, 5, 6, 8, 10])
def test_numbers_without_a_symmetric_cell_name_their_neighbours(cells):
    with pytest.raises(ValueError, match=r"no supercell of .* take \d+") as raised:
        triangular_index(cells)
    for number in str(raised.value).split("take ")[1].split(" or "):
        triangular_index(int(number))


def test_the_filling_is_kept():
    config = load("moire-6")
    electrons = {n: load("moire-6", settings_of(config, cell_of(str(n)))).system.electrons for n in (3, 9, 12, 21, 36)}
    assert electrons == {3: (2, 0), 9: (6, 0), 12: (8, 0), 21: (14, 0), 36: (24, 0)}
    assert cell_of("[[3, 0], [0, 3]]") == cell_of("9")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("4", "zone corner K is no wave vector of the cell 4"),
        ("5", "no supercell of 5 cells"),
        ("0", "no supercell of 0 cells"),
        ("big", "a size is a number of moiré cells or a matrix"),
        ("[[1, 1], [2, 2]]", "no whole number of electrons"),
        ("[[1, 1]]", "a size is a number"),
        ("1.5", "a size is a number"),
    ],
)
def test_sizes_that_cannot_be_used(size, message):
    with pytest.raises(ValueError, match=message):
        settings_of(load("moire-6"), cell_of(size))


def test_a_filling_that_does_not_fit():
    with pytest.raises(ConfigurationError, match="3 moiré cells hold no whole number of electrons"):
        settings_of(tiny_config(), cell_of("3"))


def test_sizes_after_one_option():
    given = ["scaling", "moire-6", "--sizes", "3", "[[3,0],[0,3]]", "steps=5"]
    spread = ["scaling", "moire-6", "--sizes", "3", "--sizes", "[[3,0],[0,3]]", "steps=5"]
    assert spread_values(given, "--sizes", is_size) == spread


DEPTHS = np.linspace(0.0, 30.0, 31)


def in_cell(cells, electrons, width, noise=0.002):
    """S(K)/N that rises by 0.2 around 15 meV over about `width`, in a cell of that size."""
    family = family_of(DEPTHS, triangular_index(cells), electrons)
    step = 1 / (1 + np.exp(-(DEPTHS - 15.0) / (0.4 * width)))
    evaluation = evaluation_of(family, interaction=-55.0 - 1.5 * step, walkers=8, phases=20)
    dataset = results(evaluation, family, MATERIAL)
    rng = np.random.default_rng(cells)
    order = 0.05 + 0.2 * step + noise * rng.standard_normal(len(step))
    return dataset.assign(
        structure_factor_K=("depth", electrons * order),
        structure_factor_K_error=("depth", np.full(len(step), electrons * noise)),
    )


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_transition_that_sharpens_is_found_to():
    datasets = [in_cell(cells, n, 24.0 / n) for cells, n in ((3, 2), (9, 6), (12, 8))]
    rows = scaling_rows(datasets)
    assert [row["electrons"] for row in rows] == [2, 6, 8]
    for name in ("order", "interaction"):
        assert all(abs(row[f"{name}_position"] - 15.0) < 3 * row[f"{name}_position_error"] for row in rows)
    p, error = growth([order_transition(dataset) for dataset in datasets])
    assert p == pytest.approx(1.0, abs=max(0.3, 3 * error)) and p > 3 * error
    assert any(line.startswith("S(K)/N sharpens with N") for line in scaling_verdict(datasets))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_crossover_is_not_called_sharper():
    text = "\n".join(scaling_verdict([in_cell(cells, n, 8.0) for cells, n in ((3, 2), (9, 6), (12, 8))]))
    assert "S(K)/N: whether it sharpens with N cannot be told" in text


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_errors_of_the_stretch_cover_its_scatter():
    """Positions and jumps of twenty measurements of one curve scatter as their errors say."""
    base = in_cell(9, 6, 6.0, noise=0.01)
    curve = 0.05 + 0.2 / (1 + np.exp(-(DEPTHS - 15.0) / 2.4))
    rng = np.random.default_rng(3)
    noisy = [6 * (curve + 0.01 * rng.standard_normal(len(curve))) for _ in range(20)]
    found = [order_transition(base.assign(structure_factor_K=("depth", values))) for values in noisy]
    for name, truth in (("position", 15.0), ("jump", None)):
        values = np.array([getattr(one, name) for one in found])
        claimed = float(np.mean([getattr(one, f"{name}_error") for one in found]))
        assert 0.3 * claimed < values.std() < 2 * claimed
        assert truth is None or abs(values.mean() - truth) < claimed


def test_a_whole_series_resumes(capsys, tmp_path):
    small = [setting for setting in TINY if not setting.startswith(("system", "evaluation.depths"))]
    settings = [
        *("system.supercell=[[1,1],[-1,2]]", "system.electrons=[1,0]", "system.depths_meV=[5,20]"),
        *("evaluation.at.depth_meV=[5,10,15,20]", "steps=2"),
    ]

    def run(*more):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(["scaling", "--sizes", "3", "9", *small, *settings, *more, "--out", str(tmp_path)])
        captured = capsys.readouterr()
        return stopped.value.code or 0, captured.out + captured.err

    code, text = run()
    assert code == 0, text
    rows = list(csv.DictReader((tmp_path / "scaling.csv").open()))
    assert [(row["electrons"], row["moire_cells"]) for row in rows] == [("1", "3"), ("3", "9")]
    assert (tmp_path / "scaling.png").stat().st_size > 10000
    for cells, electrons in ((3, 1), (9, 3)):
        with xarray.open_dataset(tmp_path / f"cells-{cells}" / "results.nc", engine="h5netcdf") as dataset:
            assert dataset.attrs["electrons_up"] == electrons and dataset.attrs["moire_cells"] == cells

    (tmp_path / "cells-9" / "results.nc").unlink()
    before = (tmp_path / "cells-3" / "results.nc").stat().st_mtime_ns
    code, text = run()
    assert code == 0 and "cells-3 is finished" in text and "from step 2" in text
    assert (tmp_path / "cells-3" / "results.nc").stat().st_mtime_ns == before

    code, text = run("width=16")
    assert code == 2 and "ansatz.width cannot change in a run that has begun" in text
