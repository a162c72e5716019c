"""Systems of several sizes at one density, and whether a jump sharpens with them."""

import csv

import numpy as np
import pytest
from synthetic_evaluations import MATERIAL, evaluation_of, family_of
from tiny_problem import TINY, tiny_config

from qernel.cli._arguments import is_size, spread_values
from qernel.evaluation import read_netcdf, results
from qernel.lattice import supercell, triangular, triangular_index
from qernel.observables import zone_corners
from qernel.presets import load
from qernel.run_directory import RunDirectory
from qernel.studies.scaling import (
    growth,
    scale,
    scaling_rows,
    scaling_table,
    scaling_verdict,
    size_transition,
    sized_quantities,
)
from qernel.systems import SizedSection
from qernel.systems.trap import TrapSection

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
    section = load("moire-6").system
    electrons = {n: section.resized(str(n)).electrons for n in (3, 9, 12, 21, 36)}
    assert electrons == {3: (2, 0), 9: (6, 0), 12: (8, 0), 21: (14, 0), 36: (24, 0)}
    assert section.resized("[[3, 0], [0, 3]]").size_label == section.resized("9").size_label == "cells-9"
    assert [section.resized(size).summary for size in section.sizes] == [
        f"{n} electrons in {cells} moiré cells" for n, cells in ((2, 3), (6, 9), (8, 12))
    ]


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
        load("moire-6").system.resized(size)


def test_a_filling_that_does_not_fit():
    with pytest.raises(ValueError, match="3 moiré cells hold no whole number of electrons"):
        tiny_config().system.resized("3")


def test_waves_of_another_size_are_among_those_of_this_one():
    """Of a cell of twice the linear size, as many shells as reach as far."""
    small, large = (load("moire-6").system.resized(size) for size in ("9", "36"))
    assert large.feature_shells_for(small, 1, 1) == 3
    assert large.feature_shells_for(small, 1, 5) == 5
    assert small.feature_shells_for(large, 3, 1) == 1


def test_sizes_after_one_option():
    given = ["scaling", "moire-6", "--sizes", "3", "[[3,0],[0,3]]", "steps=5"]
    spread = ["scaling", "moire-6", "--sizes", "3", "--sizes", "[[3,0],[0,3]]", "steps=5"]
    assert spread_values(given, "--sizes", is_size) == spread


DEPTHS = np.linspace(0.0, 30.0, 31)


def in_cell(cells, electrons, width, noise=0.002):
    """S(K)/N that rises by 0.2 around 15 meV over about `width`, in a cell of that size."""
    family = family_of(DEPTHS, triangular_index(cells), electrons)
    step = 1 / (1 + np.exp(-(DEPTHS - 15.0) / (0.4 * width)))
    evaluation = evaluation_of(family, interaction=-55.0 - 1.5 * step, walkers=8, rounds=20)
    dataset = results(evaluation, family, MATERIAL.units)
    rng = np.random.default_rng(cells)
    order = 0.05 + 0.2 * step + noise * rng.standard_normal(len(step))
    return with_order(dataset, electrons * order, np.full(len(step), electrons * noise))


def with_order(dataset, values, errors):
    """A table with an order parameter as a system labels it."""
    columns = {
        "structure_factor_K": ("depth", values, {"symbol": "S(K)"}),
        "structure_factor_K_error": ("depth", errors),
    }
    return dataset.assign(columns).assign_attrs(order_parameters=["structure_factor_K"])


def of_order(dataset):
    return size_transition(dataset, *sized_quantities([dataset])[0].of(dataset))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_transition_that_sharpens_is_found_to():
    datasets = [in_cell(cells, n, 24.0 / n) for cells, n in ((3, 2), (9, 6), (12, 8))]
    rows = scaling_rows(datasets)
    assert [row["electrons"] for row in rows] == [2, 6, 8]
    for name in ("order", "interaction"):
        assert all(abs(row[f"{name}_position"] - 15.0) < 3 * row[f"{name}_position_error"] for row in rows)
    p, error = growth([of_order(dataset) for dataset in datasets])
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
    found = [of_order(with_order(base, values, base["structure_factor_K_error"].values)) for values in noisy]
    for name, truth in (("position", 15.0), ("jump", None)):
        values = np.array([getattr(one, name) for one in found])
        claimed = float(np.mean([getattr(one, f"{name}_error") for one in found]))
        assert 0.3 * claimed < values.std() < 2 * claimed
        assert truth is None or abs(values.mean() - truth) < claimed


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_errors_that_are_not_known_stop_no_comparison():
    """Of fewer than eight walkers there are none; of single rows some may be missing."""
    base = in_cell(3, 2, 6.0, noise=0.01)
    values, errors = (base[name].values for name in ("structure_factor_K", "structure_factor_K_error"))
    whole, none = (of_order(with_order(base, values, e)) for e in (errors, np.full(len(errors), np.nan)))
    assert none.jump == whole.jump and np.isnan([none.position_error, none.jump_error, none.slope_error]).all()
    assert np.isnan(growth([none, none])).all() and scaling_verdict([with_order(base, values, np.full(31, np.nan))])
    # A row in the middle of the jump whose error is not known is still a row.
    one = of_order(with_order(base, values, np.where(np.arange(31) == 15, np.nan, errors)))
    assert one.position_error == pytest.approx(whole.position_error, rel=0.5)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_table_without_an_order_parameter_is_compared_by_its_interaction():
    """Names, symbols and units are those of the tables; what one of them lacks is not compared."""
    datasets = [in_cell(cells, n, 8.0) for cells, n in ((3, 2), (9, 6))]
    heads = scaling_table(datasets).splitlines()[0]
    assert "  S(K)/N at" in heads and "  interaction at" in heads and heads.split()[:2] == ["N", "cells"]
    datasets[1] = with_order(datasets[1], np.full(len(DEPTHS), np.nan), np.full(len(DEPTHS), np.nan))
    assert [quantity.key for quantity in sized_quantities(datasets[1:])] == ["interaction"]
    assert not any(key.startswith("order") for row in scaling_rows(datasets) for key in row)
    text = "\n".join(scaling_verdict(datasets))
    assert "S(K)" not in text and "The interaction energy per electron changes fastest at N = 2: " in text
    assert "meV, width" in text
    bare = [dataset.assign_attrs(interactions=[]) for dataset in datasets]
    assert scaling_verdict(bare) == [
        "No order parameter and no interaction were measured in all sizes: there is nothing to compare."
    ]


class SizedTrapSection(SizedSection):
    """Two coordinates in several sizes: a trap as if it came in them."""

    trap: TrapSection = TrapSection()
    electrons: tuple[int, int] = (3, 0)
    name: str = "sized trap"
    references = property(lambda self: ())
    summary = property(lambda self: "a trap")
    sizes = property(lambda self: ("3",))
    size_label = property(lambda self: "electrons-3")

    def at(self, points):
        return self

    def blocks(self, system, features):
        return {}

    def system(self):
        return self.trap.system()

    def resized(self, size):
        return self

    def feature_shells_for(self, other, shells, least):
        return least


DEPTHS_OF_FOUR = tiny_config("system.depths_meV=[5,10,15,20]").system


@pytest.mark.parametrize(
    ("section", "sizes", "message"),
    [
        (TrapSection(), (), "the system trap has no sizes"),
        (SizedTrapSection(), (), "along one coordinate, and omega_y, kappa vary in this configuration"),
        (DEPTHS_OF_FOUR, ("12", "4"), "zone corner K is no wave vector"),
        (DEPTHS_OF_FOUR, ("12", "[[2,-4],[2,2]]"), "two of the sizes .* are one size: cells-12"),
        (DEPTHS_OF_FOUR, ("12", "3"), "3 moiré cells hold no whole number of electrons"),
        (tiny_config("system.depths_meV=[10.0]").system, ("12",), "along one coordinate, and none vary in this"),
        (tiny_config("system.depths_meV=[5.0,10.0,15.0]").system, ("12",), "told from a slope at 3 points"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(section, sizes, message, tmp_path):
    config = tiny_config()
    trained = config.evaluation.model_copy(update={"at": {}})
    config = config.model_copy(update={"system": section, "evaluation": trained})
    with pytest.raises(ValueError, match=message):
        scale(config, sizes, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_waves_of_another_system_are_none_of_this_one():
    with pytest.raises(ValueError, match="the waves of the system sized trap are none of a moiré lattice"):
        load("moire-6").system.feature_shells_for(SizedTrapSection(), 1, 1)


def test_a_whole_series_resumes(capsys, tmp_path):
    small = [setting for setting in TINY if not setting.startswith(("system", "evaluation.at"))]
    settings = [
        *("system.supercell=[[1,1],[-1,2]]", "system.electrons=[1,0]", "system.depths_meV=[5,20]"),
        *("evaluation.at.depth_meV=[5,10,15,20]", "steps=2"),
    ]
    said, steps = [], []

    def run(*more):
        said.clear(), steps.clear()
        return scale(
            "moire-6",
            ["9", "3"],
            out=tmp_path,
            overrides=[*small, *settings, *more],
            say=said.append,
            each=lambda problem, step: steps.append((problem.electrons, step.number)),
        )

    found = run()
    rows = list(csv.DictReader(found.csv.open()))
    assert [(row["electrons"], row["primitive_cells"]) for row in rows] == [("1", "3"), ("3", "9")]
    assert found.figure == tmp_path / "scaling.png" and found.figure.stat().st_size > 10000
    assert steps == [(1, 1), (1, 2), (3, 1), (3, 2)]
    assert found.text.split()[:2] == ["N", "cells"] and found.sentences
    for cells, electrons in ((3, 1), (9, 3)):
        table = read_netcdf(tmp_path / f"cells-{cells}" / "results.nc")
        assert table.attrs["electrons_up"] == electrons and table.attrs["primitive_cells"] == cells
    assert [directory.path.name for directory in found.directories] == ["cells-3", "cells-9"]
    assert load(RunDirectory(tmp_path / "cells-9").config).system.electrons == (3, 0)

    (tmp_path / "cells-3" / "results.nc").unlink()
    before = (tmp_path / "cells-9" / "results.nc").stat().st_mtime_ns
    again = run()
    assert any(text.endswith("cells-9 is finished") for text in said) and any("from step 2" in text for text in said)
    assert not steps and (tmp_path / "cells-9" / "results.nc").stat().st_mtime_ns == before
    assert again.text == found.text

    with pytest.raises(ValueError, match="ansatz.width cannot change in a run that has begun"):
        run("width=16")
    # A study says what it does to its caller alone.
    assert capsys.readouterr().out == ""
