"""Figures: every one is drawn, of every kind of table, without pyplot; looked at by people, counted here."""

import subprocess
import sys

import numpy as np
import pytest
import xarray
from matplotlib.image import imread
from synthetic_evaluations import (
    GRID,
    KAPPA,
    MATERIAL,
    OMEGA,
    TILT,
    evaluation_of,
    family_of,
    moire_phases,
    moire_table,
    scattered,
    trap_table,
)

from qernel.evaluation import (
    axes_of,
    ground_state,
    known_values,
    points_of,
    positions_on,
    read_netcdf,
    results,
    single_axis,
    write_netcdf,
)
from qernel.plotting import (
    BLACK,
    BLUE,
    GREEN,
    RED,
    density_figure,
    draw,
    energy_figure,
    in_math,
    interaction_figure,
    observables_figure,
    order_figure,
    pair_distances_figure,
    phase_colours,
    scalar_observables,
    slope_figure,
    structure_factor_figure,
    term_colours,
    training_figure,
    unit_text,
)
from qernel.plotting._density import wigner_seitz
from qernel.plotting._legible import legible
from qernel.plotting._plane import cell_edges, grid_of
from qernel.plotting._rows import chosen_rows
from qernel.plotting._style import smooth
from qernel.run_directory import read_training

DEPTHS = np.array([0.0, 5.0, 10.0, 15.0, 20.0, 30.0])
LINE = {"omega_y": [1.0, 1.4, 1.8, 2.1, 2.5, 3.0]}
SPACE = {"omega_y": [1.0, 1.5, 2.5], "kappa": [0.0, 0.6], "tilt": [0.0, 1.0]}


def dataset_of(depths=DEPTHS, size=3, electrons=6, **options):
    depths = np.asarray(depths, float)
    energy = -44.6 - 0.05 * depths**2
    corner = np.where(depths > 16, 1.3, 0.7)
    return moire_table(depths, size, electrons, **(dict(energy=energy, slope=-0.1 * depths, corner=corner) | options))


def record_file(path, names=("depth_meV",), points=((0.0,), (10.0,)), steps=200, phases=("",)):
    rng = np.random.default_rng(0)
    lines = [",".join(("step", *names, "energy,error,variance,acceptance,bad_walkers,step_norm,distance,phase"))]
    for step in range(steps):
        for point in points:
            for number, phase in enumerate(phases):
                energy = -50 + number + np.exp(-step / 20) + 0.05 * rng.standard_normal()
                lines.append(",".join(map(str, (step, *point, energy, 0.05, 1.0, 0.5, 0, 0.1, 0.01, phase))))
    path.write_text("\n".join(lines) + "\n")
    return path


def drawn(path):
    """Share of the pixels that are not the background."""
    image = imread(path)[..., :3]
    return float(np.mean(np.any(np.abs(image - image[0, 0]) > 0.02, axis=-1)))


def texts(figure):
    """Everything that is written in the legends of a figure."""
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_netcdf(dataset_of(observed={"binder_ratio": DEPTHS / 30}), folder / "results.nc")
    record_file(folder / "metrics.csv")
    return folder


@pytest.fixture(scope="module")
def grid():
    return trap_table(GRID)


@pytest.fixture(scope="module")
def space():
    return trap_table(SPACE, coordinates=(OMEGA, KAPPA, TILT))


# ------------------------------------------------------------------------------- a whole run

ONE_LINE = ("energy", "interaction", "order", "observables", "density", "structure_factor", "slope", "training")


def test_all_figures_of_a_run(run):
    paths = draw(run)
    assert [p.name for p in paths] == [f"{name}.png" for name in ONE_LINE]
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
    count = len(ONE_LINE)
    assert done.stdout.split()[-1] == str(count) and len(list(tmp_path.glob("*.png"))) == count


def test_what_is_missing_is_left_out(tmp_path):
    with pytest.raises(ValueError, match="nothing to draw"):
        draw(tmp_path)
    record_file(tmp_path / "metrics.csv", steps=3)
    assert [p.name for p in draw(tmp_path)] == ["training.png"]
    write_netcdf(dataset_of(depths=[12.5]), tmp_path / "results.nc")
    names = [p.name for p in draw(tmp_path, tmp_path / "elsewhere")]
    expected = ("energy", "interaction", "order", "density", "structure_factor", "training")
    assert names == [f"{name}.png" for name in expected]


OPEN = ["energy", "order", "observables", "density", "pair_distances"]


def test_all_figures_of_a_plane(tmp_path):
    """Of points that lie on no grid; those of a grid have tests of their own."""
    write_netcdf(trap_table(scattered(20)), tmp_path / "results.nc")
    known = known_values(read_netcdf(tmp_path / "results.nc"))
    assert len(known.boundaries) == 1 and known.boundaries[0].shape[1] == 2
    paths = draw(tmp_path)
    assert [p.stem for p in paths] == OPEN and all(drawn(p) > 0.03 for p in paths)


# ------------------------------------------------------------------------------- one coordinate


def test_known_energies_are_shown_for_their_system_only():
    panels = lambda dataset: len(energy_figure(dataset).axes)
    assert panels(dataset_of()) == 3
    assert panels(dataset_of([6.5, 13.5])) == 1
    assert panels(dataset_of([2.0, 13.5])) == panels(dataset_of([16.0, 13.5])) == 2
    assert panels(dataset_of(electrons=5)) == 1
    assert "exact diagonalisation" in texts(interaction_figure(dataset_of(electrons=3)))
    assert {"exact, liquid, X(0,1)", "exact, crystal, K"} <= set(texts(interaction_figure(dataset_of())))
    assert not any("exact" in text for text in texts(interaction_figure(dataset_of(electrons=5))))


def test_colours_and_names_follow_the_order_of_the_table(grid):
    dataset = dataset_of()
    assert term_colours(dataset) == {"energy": BLACK, "kinetic": RED, "moire": GREEN, "interaction": BLUE}
    assert phase_colours(dataset) == {"liquid": BLUE, "crystal": RED}
    assert phase_colours(grid) == {"compact": BLUE, "chain": RED}
    assert {"total", "kinetic", "moiré potential", "interaction"} < set(texts(energy_figure(dataset)))
    assert {"trap", "interaction"} < set(texts(energy_figure(trap_table(LINE, coordinates=(OMEGA,)))))
    unnamed = dataset_of().drop_attrs(deep=False)
    unnamed.attrs = dataset.attrs | {"phases_of_matter": [f"p{i}" for i in range(9)], "order_parameters": []}
    assert len(phase_colours(unnamed)) == 9


def test_symbols_and_units_are_set_as_mathematics():
    assert in_math("S(K)") == "$S(K)$" and in_math("crystal order") == "crystal order"
    assert unit_text("1/nm") == "nm$^{-1}$" and unit_text("meV^2 per electron^2") == "meV$^{2}$ per electron$^{2}$"
    assert unit_text("electrons per a_B*^2") == "electrons per $a_B^{*2}$" and unit_text("Ha*") == "Ha*"


def test_the_order_figure_is_of_whatever_the_system_calls_its_order():
    figure = order_figure(dataset_of())
    (panel,) = figure.axes
    assert panel.get_ylabel() == "$S(K)$" and panel.get_xlabel() == r"moiré potential depth $V_0$ (meV)"
    assert {"$S(K)$ jumps", "a peak at K", "this wavefunction"} <= set(texts(figure))
    renamed = dataset_of().rename(structure_factor_K="tilt", structure_factor_K_error="tilt_error")
    renamed.attrs["order_parameters"] = "tilt"
    renamed["tilt"].attrs |= {"symbol": "P", "long_name": "how far the chain leans"}
    figure = order_figure(renamed)
    assert figure.axes[0].get_title() == "how far the chain leans" and "$P$ jumps" in texts(figure)
    assert "$P$ jumps" in texts(energy_figure(renamed))
    # A cell that does not hold the waves measures it as NaN everywhere: like none at all.
    assert order_figure(dataset_of(size=2, electrons=2, corner=np.nan)) is None
    without = dataset_of()
    without.attrs["order_parameters"] = []
    assert order_figure(without) is None


def test_phases_apart_are_shown_beside_the_lowest():
    dataset = moire_phases([0.0, 10.0, 15.0, 16.0, 17.0, 20.0, 30.0])
    figure = energy_figure(dataset)
    assert len(figure.axes) == 4 and figure.axes[1].get_ylabel().startswith("above the lowest")
    above = {line.get_label(): line for line in figure.axes[1].containers}
    of_crystal = above["crystal"].lines[0].get_ydata()
    # 0.2 meV for each meV of distance from the crossing at 16.2 meV.
    np.testing.assert_allclose(
        of_crystal, np.maximum(-0.2 * (positions_on(dataset, single_axis(dataset)) - 16.2), 0), atol=0.1
    )
    assert {"liquid", "crystal", "lowest phase"} <= set(texts(order_figure(dataset)))
    titles = [axes.get_title() for axes in density_figure(dataset).axes[:4]]
    assert titles[0] == "$V_0$ = 0 meV\nliquid" and titles[-1] == "$V_0$ = 30 meV\ncrystal"


def test_a_users_own_number_has_a_panel():
    dataset = dataset_of(observed={"binder_ratio": DEPTHS / 30, "mine": 3 - DEPTHS})
    assert scalar_observables(dataset) == ["binder_ratio", "mine"]
    panels = [axes for axes in observables_figure(dataset).axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["binder ratio", "mine"]
    np.testing.assert_allclose(panels[1].containers[0].lines[0].get_ydata(), 3 - DEPTHS)
    dataset["mine"].values[:] = np.nan
    assert scalar_observables(dataset) == ["binder_ratio"]
    assert observables_figure(dataset_of()) is None


def test_slopes_of_phases_are_those_of_each_phase():
    """Not those of the lowest one, at the rows where each was measured alone."""
    table = moire_phases([0.0, 5.0, 10.0, 15.0, 20.0, 30.0])
    for name, unknown in (("liquid", [5]), ("crystal", [0])):
        for variable in ("energy", "slope"):
            table[variable][table["phase"].values.tolist().index(name), unknown] = np.nan
    above = slope_figure(table).axes[0]
    drawn = {tuple(line.get_xdata()): line.get_ydata() for line in above.get_lines() if len(line.get_xdata()) == 5}
    for name, rows in (("liquid", slice(0, 5)), ("crystal", slice(1, 6))):
        x = tuple(table["depth_meV"].values[rows])
        np.testing.assert_array_equal(drawn[x], table["slope"].sel(phase=name).values[rows])
    shown = [text.get_text() for text in above.get_legend().get_texts()]
    assert [text for text in shown if "exact" not in text] == ["liquid", "crystal"]


def test_slope_figure_needs_a_curve():
    assert slope_figure(dataset_of()) is not None
    assert slope_figure(dataset_of([0.0, 10.0])) is None


# ------------------------------------------------------------------------------- maps in real space


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


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_density_with_open_boundaries_is_drawn_where_it_is(dim):
    """A single full bin, in a box that is no square, stands at its own x and y; in space it is integrated along z."""
    dataset = trap_table({"omega_y": [1.0, 2.0]}, coordinates=(OMEGA,), dim=dim, phases=False)
    dataset = dataset.assign_coords(x=2 * dataset["x"])
    place = (3, 12, 7)[:dim]
    dataset["density"].values[:] = 0.0
    dataset["density"].values[(0, *place)] = 1.0
    dataset["density_error"].values[:] = 0.0
    figure = density_figure(dataset)
    figure.canvas.draw()
    if dim == 1:
        line = figure.axes[0].lines[0]
        assert line.get_xdata()[np.argmax(line.get_ydata())] == pytest.approx(float(dataset["x"][3]))
        assert figure.axes[0].get_xlabel() == "position x ($a_B^{*}$)"
        return
    mesh = figure.axes[0].collections[0]
    values, corners = (
        np.asarray(mesh.get_array()).reshape(*(n - 1 for n in mesh.get_coordinates().shape[:2])),
        mesh.get_coordinates(),
    )
    ((j, i),) = np.argwhere(values > 0)
    middle = (corners[j, i] + corners[j + 1, i + 1]) / 2
    np.testing.assert_allclose(middle, [dataset["x"][3], dataset["y"][12]])
    if dim == 3:
        assert values[j, i] == pytest.approx(float(dataset["z"][1] - dataset["z"][0]))
        assert "integrated along z" in figure.axes[-1].get_ylabel()


def test_density_of_a_cell_in_space_is_seen_along_its_third_vector():
    """A bin that is full all along the third vector of a skewed cell is one bin of the map, across that vector."""
    values = np.zeros((1, 24, 24, 4))
    values[0, 5, 17] = 1.0
    cell = np.array([[3.0, 0.0, 1.0], [1.0, 4.0, 0.0], [0.0, 0.0, 2.0]])
    dataset = dataset_of([0.0]).drop_vars(["density", "density_error", "supercell", "primitive_lattice", "x", "y"])
    dataset = dataset.drop_dims(["component", "vector"], errors="ignore")
    dataset["density"] = ("depth", "x", "y", "z"), values, {"units": "electrons per nm^3"}
    dataset["density_error"] = ("depth", "x", "y", "z"), 0 * values
    dataset["supercell"] = ("vector", "component"), cell, {"units": "nm"}
    figure = density_figure(dataset)
    meshes = [m for m in figure.axes[0].collections if hasattr(m, "get_coordinates")]
    # The third vector is along z: what is seen are the first two components.
    inverse = np.linalg.inv(cell[:2, :2])
    for mesh in meshes:
        ((i, j),) = np.argwhere(mesh.get_array().reshape(24, 24) == 1.0)
        corners = mesh.get_coordinates()
        offset = (corners[i, j] + corners[i + 1, j + 1]) / 2 @ inverse - np.array([5.5, 17.5]) / 24
        np.testing.assert_allclose(offset, np.round(offset), atol=1e-9)
    assert figure.axes[-1].get_ylabel().startswith("mean density")


def test_noisy_bins_are_merged_for_the_picture():
    exact = np.ones((1, 48, 48)) + np.cos(2 * np.pi * np.arange(48) / 48)[:, None]
    assert legible(exact, np.full_like(exact, 0.01)) is exact
    noisy = exact + np.random.default_rng(0).standard_normal(exact.shape)
    merged = legible(noisy, np.ones_like(exact))
    assert merged.shape == (1, 12, 12) and merged.mean() == pytest.approx(noisy.mean())


def test_pair_distances_have_their_curves(grid):
    figure = pair_distances_figure(grid)
    assert len(figure.axes[0].lines) == 5 and figure.axes[0].get_xlabel() == "distance r ($a_B^{*}$)"
    assert pair_distances_figure(dataset_of()) is None


def test_rows_to_show(grid):
    assert chosen_rows(dataset_of([5.0, 0.0])) == [1, 0]
    rows = chosen_rows(dataset_of())
    assert [DEPTHS[row] for row in rows] == [0.0, 15.0, 20.0, 30.0]
    smooth_ones = chosen_rows(dataset_of(corner=0.7))
    assert len(smooth_ones) == 4 and {DEPTHS[row] for row in smooth_ones} >= {0.0, 30.0}
    # Where the ground state changes its phase, if nothing else tells.
    line = trap_table(LINE, coordinates=(OMEGA,))
    assert {LINE["omega_y"][row] for row in chosen_rows(line)} >= {1.0, 2.1, 2.5, 3.0}
    shown = points_of(grid)[chosen_rows(grid)].tolist()
    assert {(1.0, 0.0), (1.0, 0.6), (3.0, 0.0), (3.0, 0.6)} < set(map(tuple, shown)) and len(shown) == 5


# ------------------------------------------------------------------------------- several coordinates


def test_no_line_joins_points_that_differ_in_two_coordinates(grid, space):
    """Of all figures: every drawn line of measured points stays on a line of rows, but for the boundaries."""
    rng = np.random.default_rng(0)
    for dataset in (grid, trap_table(scattered(12)), space):
        shuffled = dataset.isel(member=rng.permutation(dataset.sizes["member"]))
        for figure in (energy_figure(shuffled), observables_figure(shuffled), order_figure(shuffled)):
            for axes in figure.axes if figure is not None else ():
                for container in axes.containers:
                    assert container.lines[0].get_linestyle() == "None" or len(container.lines[0].get_xdata()) == 1
                joined = [line for line in axes.lines if line.get_linestyle() != "None" and line.get_marker() != "."]
                assert all(line.get_label().startswith("_") for line in joined)
                allowed = len(known_values(shuffled).boundaries) + 1 if len(axes_of(shuffled)) == 2 else 0
                assert len(joined) <= allowed


def test_cells_of_a_grid_are_where_they_are(grid):
    """The value at a point is the colour of the cell that the point lies in, whatever the order of the rows."""
    rows = np.random.default_rng(1).permutation(24)
    dataset = grid.isel(member=rows)
    panel = energy_figure(dataset).axes[0]
    mesh = panel.collections[0]
    corners, lowest = mesh.get_coordinates(), ground_state(dataset)
    values = mesh.get_array().reshape(np.array(corners.shape[:2]) - 1)
    for (x, y), energy in zip(points_of(dataset), lowest["energy"].values, strict=True):
        i = np.searchsorted(corners[0, :, 0], x) - 1
        j = np.searchsorted(corners[:, 0, 1], y) - 1
        assert values[j, i] == pytest.approx(float(energy))
    assert panel.get_xlabel() == r"$\omega_y$" and panel.get_ylabel() == r"$\kappa$"


def test_edges_lie_half_way_between_values():
    np.testing.assert_allclose(cell_edges(np.array([0.0, 1.0, 3.0])), [-0.5, 0.5, 2.0, 4.0])
    x, y, place = grid_of(np.array([[1.0, 5.0], [2.0, 5.0], [2.0, 7.0]]))
    assert x.tolist() == [1.0, 2.0] and y.tolist() == [5.0, 7.0] and place.tolist() == [[0, 0], [1, 0], [1, 1]]
    assert grid_of(scattered(9)) is None and grid_of(np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])) is None


def test_a_missing_point_leaves_its_cell_empty(grid):
    panel = energy_figure(grid.isel(member=np.arange(23))).axes[0]
    assert np.ma.getmaskarray(panel.collections[0].get_array()).sum() == 1


def test_the_plane_shows_the_phase_and_both_boundaries(grid):
    figure = order_figure(grid)
    assert {"compact", "chain", "known boundary", "measured boundary"} == set(texts(figure))
    (panel,) = figure.axes
    numbers = panel.collections[0].get_array().reshape(4, 6)
    chain = (ground_state(grid)["phase"].values == "chain").reshape(6, 4).T
    assert (numbers == chain).all()
    lines = [line for line in panel.lines if line.get_marker() != "."]
    known = known_values(grid).boundaries[0]
    measured, exact = (line.get_xydata() for line in lines)
    np.testing.assert_allclose(exact, known)
    # The measured one is found from the noisy energies.
    across = np.interp(measured[:, 1], known[:, 1], known[:, 0])
    np.testing.assert_allclose(measured[:, 0], across, atol=0.05)
    given = order_figure(grid, boundary=())
    assert "measured boundary" not in texts(given)
    assert any("energy of the chain less" in axes.get_title().replace("\n", " ") for axes in energy_figure(grid).axes)


def test_without_phases_the_signature_names_the_phase():
    dataset = trap_table(GRID, phases=False)
    assert order_figure(dataset) is None
    x = points_of(dataset)[:, 0]
    attrs = {"symbol": "A", "low": "round", "high": "long", "smallest": 0.1, "signature": "is_long", "what": "a tail"}
    dataset["order"], dataset["order_error"] = ("member", x, attrs), ("member", 0 * x + 0.1)
    dataset["is_long"] = "member", (x > 2.3).astype(float)
    dataset.attrs |= {"order_parameters": "order", "phases_of_matter": ["round", "long"]}
    figure = order_figure(dataset)
    assert {"round", "long"} <= set(texts(figure)) and len(figure.axes) == 3


def test_more_than_two_coordinates_have_a_colour_for_each_point_of_the_others(space):
    figure = energy_figure(space)
    panel = figure.axes[0]
    assert len(panel.containers) == 4 and panel.get_xlabel() == r"frequency across the trap $\omega_y$"
    assert r"$\kappa$ = 0.6, $\theta$ = 1" in texts(figure)
    colours = {tuple(container.lines[0].get_color()) for container in panel.containers}
    assert len(colours) == 4


def test_slopes_of_a_plane_are_compared_along_its_lines(grid):
    figure = slope_figure(grid)
    assert len(figure.axes) == 4
    assert r"$\kappa$ = 0.3, chain" in texts(figure) and r"$\kappa$ = 0.1, compact" in texts(figure)
    assert any(text.startswith(r"$\omega_y$ = 3, ") for text in texts(figure))
    assert slope_figure(trap_table(scattered(12))) is None


def test_the_place_of_a_known_boundary_is_marked_on_a_line():
    figure = energy_figure(trap_table(LINE, coordinates=(OMEGA,)))
    assert "known boundary" in texts(figure)


# ------------------------------------------------------------------------------- other tables


def test_families_of_another_parameter():
    """A coordinate that is not the system's usual one heads the axis, and no reference value is claimed for it."""
    family = family_of(np.full(4, 15.0), dielectric=np.linspace(5, 8, 4))
    dataset = results(evaluation_of(family, slope=-1.5), family, MATERIAL.units)
    figure = energy_figure(dataset)
    assert figure.axes[-1].get_xlabel() == r"dielectric constant $\varepsilon_r$" and len(figure.axes) == 1
    assert slope_figure(dataset) is not None
    assert density_figure(dataset).axes[0].get_title() == r"$\varepsilon_r$ = 5"


def test_other_potentials_and_nothing_else():
    values = {name: ("frequency", [1.0, 2.0]) for name in ("energy", "kinetic", "trap")}
    errors = {f"{name}_error": ("frequency", [0.1, 0.1]) for name in values}
    labels = {"rows": "frequency", "axes": ["frequency"], "coordinate_names": ["frequency"]}
    dataset = xarray.Dataset(values | errors, {"frequency": [0.5, 1.0]}, labels | {"potentials": ["trap"]})
    dataset["energy"].attrs["units"] = "Ha* per electron"
    figure = energy_figure(dataset)
    assert figure.axes[0].get_xlabel() == "$frequency$" and "Ha*" in figure.axes[0].get_ylabel()
    for missing in (density_figure, structure_factor_figure, order_figure, interaction_figure, observables_figure):
        assert missing(dataset) is None


def test_one_hamiltonian_without_a_coordinate():
    dataset = trap_table([[]], coordinates=(), phases=False)
    figure = energy_figure(dataset)
    figure.canvas.draw()
    assert axes_of(dataset) == () and figure.axes[-1].get_xlabel() == "Hamiltonian"
    assert density_figure(dataset).axes[0].get_title() == "Hamiltonian 0"


def test_training_is_labelled_by_the_points(tmp_path, grid):
    record = read_training(record_file(tmp_path / "metrics.csv"))
    figure = training_figure(record, dataset_of())
    assert figure.axes[0].get_legend().get_title().get_text() == "$V_0$ (meV)" and texts(figure)[:2] == ["0", "10"]
    assert figure.axes[0].get_ylabel() == "energy − evaluated energy\n(meV per electron)"
    assert "meV$^{2}$" in figure.axes[2].get_ylabel()
    names, points = ("omega_y", "kappa"), ((1.0, 0.1), (3.0, 0.6))
    record = read_training(record_file(tmp_path / "plane.csv", names, points, phases=("compact", "chain")))
    figure = training_figure(record, grid)
    assert figure.axes[0].get_legend().get_title().get_text() == r"$\omega_y$, $\kappa$"
    assert texts(figure)[:2] == ["1, 0.1", "3, 0.6"] and "evaluated" in figure.axes[0].get_ylabel()
    alone = training_figure(record)
    assert "late mean" in alone.axes[0].get_ylabel() and alone.axes[0].get_legend() is not None
    elsewhere = read_training(record_file(tmp_path / "elsewhere.csv", names, ((1.1, 0.1),)))
    assert "late mean" in training_figure(elsewhere, grid).axes[0].get_ylabel()


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


def test_both_exact_branches_are_drawn_beside_separate_phases(tmp_path):
    table = moire_phases([10.0, 12.0, 14.0, 16.0, 17.0, 18.0])
    for make in (energy_figure, slope_figure, order_figure, interaction_figure):
        shown = {text for text in texts(make(table)) if text.startswith("exact, ")}
        assert shown == {"exact, liquid, X(0,1)", "exact, crystal, K"}, make
    assert "known boundary" in texts(energy_figure(table))
    assert "liquid, from its own exact level" in texts(energy_figure(table))
    # A run in one sum is compared with the lower of the two.
    assert "uncertainty of the exact value" in texts(energy_figure(moire_table([10.0, 14.0, 18.0])))
