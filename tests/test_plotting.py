"""Figures: every one is drawn, of every kind of system, without pyplot; looked at by people, counted here."""

import subprocess
import sys

import numpy as np
import pytest
import xarray
from matplotlib.image import imread
from synthetic_evaluations import MATERIAL, evaluation_of, family_of
from test_observables import record_file

from qernel.evaluation import results, write_netcdf
from qernel.plotting import (
    density_figure,
    draw,
    energy_figure,
    interaction_figure,
    slope_figure,
    structure_factor_figure,
)
from qernel.plotting._density import legible, wigner_seitz
from qernel.plotting._style import chosen_rows, smooth

DEPTHS = np.array([0.0, 5.0, 10.0, 15.0, 20.0, 30.0])


def dataset_of(depths=DEPTHS, size=3, electrons=6, **options):
    family = family_of(depths, size, electrons)
    varying = {k: options.pop(k) for k in list(options) if k in ("dielectric", "phi_degrees")}
    if varying:
        family = family_of(depths, size, electrons, **varying)
    energy = -44.6 - 0.05 * np.asarray(depths) ** 2
    corner = np.where(np.asarray(depths) > 16, 1.3, 0.7)
    return results(
        evaluation_of(family, **(dict(energy=energy, slope=-0.1 * np.asarray(depths), corner=corner) | options)),
        family,
        MATERIAL,
    )


def drawn(path):
    """Share of the pixels that are not the background."""
    image = imread(path)[..., :3]
    return float(np.mean(np.any(np.abs(image - image[0, 0]) > 0.02, axis=-1)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_netcdf(dataset_of(), folder / "results.nc")
    record_file(folder / "metrics.csv")
    return folder


def test_all_figures_of_a_run(run):
    paths = draw(run)
    assert [p.name for p in paths] == [
        f"{name}.png" for name in ("energy", "interaction", "density", "structure_factor", "slope", "training")
    ]
    assert all(p.parent == run / "figures" and drawn(p) > 0.03 for p in paths)


def test_drawing_loads_no_window_system(run, tmp_path):
    code = (
        "import sys; from qernel.plotting import draw; import matplotlib\n"
        # not dict(): to look up the backend would load pyplot
        f"before = matplotlib.rcParams.copy(); paths = draw({str(run)!r}, {str(tmp_path)!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert matplotlib.rcParams.copy() == before; print(len(paths))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == "6" and len(list(tmp_path.glob("*.png"))) == 6


def test_what_is_missing_is_left_out(tmp_path):
    with pytest.raises(ValueError, match="nothing to draw"):
        draw(tmp_path)
    record_file(tmp_path / "metrics.csv", steps=3)
    assert [p.name for p in draw(tmp_path)] == ["training.png"]
    one = dataset_of(depths=[12.5])
    write_netcdf(one, tmp_path / "results.nc")
    names = [p.name for p in draw(tmp_path, tmp_path / "elsewhere")]
    assert names == [f"{name}.png" for name in ("energy", "interaction", "density", "structure_factor", "training")]


def test_known_energies_are_shown_for_their_system_only():
    panels = lambda dataset: len(energy_figure(dataset).axes)
    assert panels(dataset_of()) == 3
    assert panels(dataset_of([7.5, 12.5])) == 1
    assert panels(dataset_of([15.0, 16.0])) == 2
    assert panels(dataset_of(dielectric=10.0)) == 1
    assert panels(dataset_of(electrons=5)) == 1
    text = [t.get_text() for t in interaction_figure(dataset_of(electrons=5)).axes[0].get_legend().get_texts()]
    assert "exact diagonalisation" not in text


@pytest.mark.parametrize("size", [(3, 6), ((1, 1), (-1, 2)), ((0, 3), (3, 0)), ((2, 0), (0, 5)), 2])
def test_maps_of_any_supercell(size):
    dataset = dataset_of([0.0, 20.0], size, 2)
    for figure in (density_figure(dataset), structure_factor_figure(dataset)):
        figure.canvas.draw()
    density = density_figure(dataset)
    assert len(density.axes) == 3 and density.axes[0].get_title() == "$V_0$ = 0 meV"
    assert any("nm" in text.get_text() for text in density.axes[0].texts)
    # The window is covered: no hole between the copies of the cell.
    points = np.concatenate([mesh.get_coordinates().reshape(-1, 2) for mesh in density.axes[0].collections[:-1]])
    (left, right), (low, high) = density.axes[0].get_xlim(), density.axes[0].get_ylim()
    assert points[:, 0].min() <= left and points[:, 0].max() >= right
    assert points[:, 1].min() <= low and points[:, 1].max() >= high


def test_density_is_drawn_where_it_is():
    """A single full bin lands where its fractional coordinates say, at every copy of the cell."""
    dataset = dataset_of([0.0])
    dataset["density"].values[:] = 0.0
    dataset["density"].values[0, 5, 17] = 1.0
    dataset["density_error"].values[:] = 0.0
    figure = density_figure(dataset)
    meshes = [m for m in figure.axes[0].collections if hasattr(m, "get_coordinates")]
    centre = np.array([5.5, 17.5]) / 24
    inverse = np.linalg.inv(dataset["supercell"].values)
    for mesh in meshes:
        full = np.argwhere(mesh.get_array().reshape(24, 24) == 1.0)
        assert len(full) == 1
        i, j = full[0]
        corners = mesh.get_coordinates()
        middle = (corners[i, j] + corners[i + 1, j + 1]) / 2
        offset = middle @ inverse - centre
        np.testing.assert_allclose(offset, np.round(offset), atol=1e-9)


def test_noisy_bins_are_merged_for_the_picture():
    exact = np.ones((1, 48, 48)) + np.cos(2 * np.pi * np.arange(48) / 48)[:, None]
    assert legible(exact, np.full_like(exact, 0.01)) is exact
    noisy = exact + np.random.default_rng(0).standard_normal(exact.shape)
    merged = legible(noisy, np.ones_like(exact))
    assert merged.shape == (1, 12, 12) and merged.mean() == pytest.approx(noisy.mean())


def test_rows_to_show():
    assert chosen_rows(dataset_of([5.0, 0.0])) == [1, 0]
    rows = chosen_rows(dataset_of())
    assert [DEPTHS[row] for row in rows] == [0.0, 15.0, 20.0, 30.0]
    smooth_ones = chosen_rows(dataset_of(corner=0.7))
    assert len(smooth_ones) == 4 and {DEPTHS[row] for row in smooth_ones} >= {0.0, 30.0}


def test_slope_figure_needs_a_curve():
    assert slope_figure(dataset_of()) is not None
    assert slope_figure(dataset_of([0.0, 10.0])) is None
    assert slope_figure(dataset_of(dielectric=np.linspace(5, 10, 6))) is None


def test_families_of_another_parameter():
    dataset = dataset_of(np.full(4, 15.0), dielectric=np.linspace(5, 8, 4), corner=0.7)
    assert dataset.attrs["axis"] == "depth_meV" or "dielectric" in energy_figure(dataset).axes[-1].get_xlabel()
    density_figure(dataset).canvas.draw()


def test_other_potentials_and_open_boundaries():
    values = {name: ("frequency", [1.0, 2.0]) for name in ("energy", "kinetic", "trap", "structure_factor_K")}
    errors = {f"{name}_error": ("frequency", [0.1, 0.1]) for name in values}
    dataset = xarray.Dataset(
        values | errors,
        {"frequency": [0.5, 1.0]},
        {"axis": "frequency", "potentials": ["trap"], "electrons_up": 1, "electrons_down": 1},
    )
    dataset["energy"].attrs["units"] = "Ha* per electron"
    figure = energy_figure(dataset)
    assert figure.axes[0].get_xlabel() == "frequency" and "Ha*" in figure.axes[0].get_ylabel()
    assert density_figure(dataset) is None and structure_factor_figure(dataset) is None


def test_wigner_seitz_cell():
    hexagon = wigner_seitz(np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]]))
    np.testing.assert_allclose(np.linalg.norm(hexagon, axis=1), 1 / np.sqrt(3))
    assert len(hexagon) == 6 and len(wigner_seitz(np.diag([1.0, 5.0]))) == 4
    area = lambda p: abs(np.sum(p[:, 0] * np.roll(p[:, 1], 1) - p[:, 1] * np.roll(p[:, 0], 1))) / 2
    for lattice in ([[1.0, 0.0], [0.4, 3.0]], [[1.0, 0.2], [4.3, 1.0]]):
        assert area(wigner_seitz(np.array(lattice))) == pytest.approx(abs(np.linalg.det(lattice)))


def test_rolling_mean():
    values = np.arange(10.0)[:, None]
    np.testing.assert_allclose(smooth(values, 1), values)
    np.testing.assert_allclose(smooth(values, 3)[1:-1], values[1:-1])
    values[4] = np.nan
    np.testing.assert_allclose(smooth(values, 3)[4], 4.0)
    assert smooth(np.full((4, 1), np.nan), 2).shape == (4, 1)
