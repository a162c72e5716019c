"""Evaluations of a family of two coordinates without a cell: observables of one's own, tables, files, phases."""

import csv
import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from synthetic_evaluations import GRID, OMEGA, moire_phases, moire_table, trap_table

from qernel.ansatz import SlaterDeterminant
from qernel.evaluation import (
    KnownValues,
    MeanSquareRadii,
    OpenDensity,
    PairDistances,
    add_known_values,
    axes_of,
    columns,
    coordinates_of,
    evaluate,
    format_table,
    ground_state,
    in_order,
    known_at_rows,
    known_values,
    of_phase,
    phases_of,
    points_of,
    read_netcdf,
    results,
    row_text,
    rows_of,
    separate_phases,
    single_axis,
    slope_of,
    standard_observables,
    write_csv,
    write_netcdf,
)
from qernel.exact import filling_energy, filling_slopes, filling_terms, filling_widths
from qernel.hamiltonian import Coordinate, Family, Hamiltonian, Harmonic, HarmonicPair, Kinetic
from qernel.observables import AbstractObservable, Estimate, Grid, Measured, Observable, WalkerMeans
from qernel.orbitals import HarmonicOrbitals
from qernel.sampling import Sampler
from qernel.systems import OrderParameter, System
from qernel.units import Units

# ⟨r²⟩ and the like in units that are no effective atomic ones.
UNITS = Units("meV", 10.0, "nm", 2.0)
FREQUENCIES = (lambda p: p["omega_x"], lambda p: p["omega_y"])
LEVELS = ((0, 0), (1, 0), (0, 1))
POINTS = {"omega_x": [1.0, 1.5], "omega_y": [0.8, 2.0]}


# ------------------------------------------------------------------------------- observables of one's own


def mean_square(r, parameters):
    return jnp.mean(jnp.sum(r**2, axis=1))


def trap_energy(r, parameters):
    """The potential energy of the trap, which is measured as a term of the Hamiltonian as well."""
    squares = jnp.sum(r**2, axis=0)
    return 0.5 * (parameters["omega_x"] ** 2 * squares[0] + parameters["omega_y"] ** 2 * squares[1])


def moments(r, parameters):
    """Mean powers of x, as an array."""
    return jnp.mean(r[:, :1] ** jnp.arange(1, 5, dtype=r.dtype)[None], axis=0)


class Extent(AbstractObservable):
    """The mean distance from the origin and its square, from the samples as they are."""

    def measure(self, measurement):
        distance = np.linalg.norm(np.asarray(measurement.samples, np.float64), axis=-1).mean(axis=2)
        means = WalkerMeans(distance.mean(axis=1), np.full(len(distance), distance.shape[1]))
        length = means.estimate()
        scaled = Estimate(length.value * measurement.units.bohr, length.error * measurement.units.bohr)
        square = means.jackknife(lambda x: x**2)
        return {
            "extent": Measured(scaled, measurement.units.length, "mean distance from the origin", "R"),
            "extent_squared": Measured(square),
        }


class Moving(AbstractObservable):
    """A number at places that are other ones for every member."""

    def measure(self, measurement):
        places = Grid(np.arange(3) * float(measurement.parameters["omega_x"]))
        return {"moving": Measured(Estimate(np.zeros(3), np.zeros(3)), dimensions=("s",), grids={"s": places})}


POWERS = Grid(np.arange(1, 5), text="power")
OWN = (
    Observable("spread", mean_square, "nm^2", "mean square radius", "⟨r²⟩", scale=UNITS.bohr**2),
    Observable("trap_again", trap_energy, "meV", scale=UNITS.hartree / 3),
    Observable("moments", moments, dimensions=("power",), grids={"power": POWERS}),
    Extent(),
)


@pytest.fixture(scope="module")
def trap():
    """Three electrons without interaction in their ground state at four points of a plane: zero variance."""
    potentials = {"trap": Harmonic(FREQUENCIES), "interaction": HarmonicPair(lambda p: p["kappa"])}
    hamiltonian = Hamiltonian(Kinetic(), potentials, (3, 0), dim=2)
    coordinates = (Coordinate("omega_x", "omega_x", symbol="ω_x"), Coordinate("omega_y", "omega_y", symbol="ω_y"))
    parameters = {"omega_x": 1.0, "omega_y": 1.0, "kappa": 0.0}
    family = Family.of(hamiltonian, parameters, coordinates, POINTS)
    ansatz = SlaterDeterminant(HarmonicOrbitals(LEVELS, FREQUENCIES), (3, 0))
    widths = jnp.asarray(filling_widths(LEVELS, family.points, 0.0))[:, None, None, :]
    positions = widths * jax.random.normal(jax.random.key(1), (4, 64, 3, 2))
    standard = standard_observables(hamiltonian, np.asarray(positions)[:, :, None])
    # The box of the density must hold every electron, and the distances all pairs.
    chosen = (OpenDensity((7.0, 7.0), 28), PairDistances(12.0, 48), standard[-1], *OWN)
    evaluation = evaluate(
        ansatz,
        family,
        positions,
        sampler=Sampler(moves=8),
        key=jax.random.key(0),
        step_size=0.6,
        burn_in=15,
        rounds=60,
        observables=chosen,
        units=UNITS,
    )
    return SimpleNamespace(
        family=family, evaluation=evaluation, table=results(evaluation, family, UNITS), ansatz=ansatz
    )


def agrees(value, error, exact, most=4.5):
    assert (np.abs(np.asarray(value) - exact) < most * np.asarray(error)).all()
    assert (np.asarray(error) < 0.1 * np.abs(exact)).all()


def test_energies_are_exact(trap):
    table, points = trap.table, trap.family.points
    np.testing.assert_allclose(table.energy, 10 * filling_energy(LEVELS, points, 0.0) / 3, rtol=1e-10)
    assert (table.variance < 1e-15).all() and table.energy.attrs["units"] == "meV per electron"
    terms = filling_terms(LEVELS, points, 0.0)
    agrees(table.kinetic, table.kinetic_error, 10 * terms.kinetic / 3)
    agrees(table.trap, table.trap_error, 10 * terms.trap / 3)
    np.testing.assert_array_equal(table.interaction, 0.0)
    slopes = filling_slopes(LEVELS, points, 0.0).frequencies
    for axis, name in enumerate(("slope_omega_x", "slope_omega_y")):
        agrees(table[name], table[f"{name}_error"], 10 * slopes[:, axis] / 3)
    assert table.slope_omega_y.attrs["units"] == "meV per electron per unit of ω_y" and "slope" not in table


def test_density_distances_and_radii_without_a_cell(trap):
    table, nm = trap.table, UNITS.bohr
    widths = filling_widths(LEVELS, trap.family.points, 0.0)
    for axis, name in enumerate(("x_squared", "y_squared")):
        agrees(table[name], table[f"{name}_error"], widths[:, axis] ** 2 * nm**2)
        assert table[name].attrs["units"] == "nm^2"
    x, r = table.x.values, table.r.values
    assert table.x.attrs["units"] == table.r.attrs["units"] == "nm" and len(x) == 28 and len(r) == 48
    bin_area = (x[1] - x[0]) * (table.y.values[1] - table.y.values[0])
    np.testing.assert_allclose(table.density.sum(("x", "y")) * bin_area, 3, rtol=1e-10)
    np.testing.assert_allclose(table.pair_distances.sum("r") * (r[1] - r[0]), 1, rtol=1e-10)
    assert table.density.attrs["units"] == "electrons per nm^2" and table.pair_distances.attrs["units"] == "1/nm"
    # The density of the three orbitals: means over eight points along each side of a bin.
    width = x[1] - x[0]
    fine = (x[:, None] + width * ((np.arange(8) + 0.5) / 8 - 0.5)).ravel()
    omega = trap.family.points[:, :, None] / nm**2
    zero = np.sqrt(np.sqrt(omega / np.pi)) * np.exp(-omega * fine**2 / 2)
    squares = np.stack([zero**2, 2 * omega * (fine * zero) ** 2]).reshape(2, 4, 2, len(x), 8).mean(axis=-1)
    exact = sum(squares[n, :, 0, :, None] * squares[m, :, 1, None, :] for n, m in LEVELS)
    # Where a bin has a hundred electrons or more, so that their number is about normal.
    enough = exact * bin_area * trap.evaluation.samples[0, :, :, 0, 0].size > 100
    pull = (table.density.values - exact)[enough] / table.density_error.values[enough]
    assert pull.size > 100 and np.abs(pull).max() < 5 and 0.8 < np.sqrt(np.mean(pull**2)) < 1.25
    # ⟨s²⟩ of pairs: 2 N/(N-1) (⟨r²⟩ - ⟨R²⟩), with the centre of mass in its ground state.
    centre = np.sum(1 / (2 * trap.family.points), axis=1) / 3
    square = 3 * (np.sum(widths**2, axis=1) - centre) * nm**2
    measured = (table.pair_distances * table.r**2).sum("r") * (r[1] - r[0])
    np.testing.assert_allclose(measured, square, rtol=0.05)


def test_own_numbers_are_in_the_table_with_errors_from_the_walkers(trap):
    table, samples = trap.table, trap.evaluation.samples
    of_walkers = UNITS.bohr**2 * (samples**2).sum(axis=-1).mean(axis=(2, 3))
    np.testing.assert_allclose(table.spread, of_walkers.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(table.spread_error, of_walkers.std(axis=1, ddof=1) / np.sqrt(64), rtol=1e-12)
    np.testing.assert_allclose(table.spread, table.x_squared + table.y_squared, rtol=1e-12)
    # The parameters that the function is given are those of its member.
    np.testing.assert_allclose(table.trap_again, table.trap, rtol=1e-9)
    labels = table.spread.attrs
    assert (labels["units"], labels["long_name"], labels["symbol"]) == ("nm^2", "mean square radius", "⟨r²⟩")
    assert table.trap_again.attrs["symbol"] == table.trap_again.attrs["long_name"] == "trap again"
    assert (table.extent**2 / 4 - table.extent_squared < 1e-12).all() and table.extent.attrs["units"] == "nm"
    assert table.attrs["observables"] == ["x_squared", "y_squared", "spread", "trap_again", "extent", "extent_squared"]


def test_own_arrays_are_in_the_table_on_their_grid(trap):
    table = trap.table
    assert table.moments.dims == ("member", "power") and table.power.values.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(table.moments.sel(power=2) * UNITS.bohr**2, table.x_squared, rtol=1e-12)
    assert (np.abs(table.moments.sel(power=3)) < 4.5 * table.moments_error.sel(power=3)).all()
    assert "moments" not in columns(table) and table.power.attrs["long_name"] == "power"


def test_a_table_in_a_plane_as_files(trap, tmp_path):
    table = trap.table
    names = columns(table)
    assert names[:3] == ["omega_x", "omega_y", "energy"] and names[-2:] == ["extent_squared", "extent_squared_error"]
    rows = list(csv.DictReader(write_csv(table, tmp_path / "results.csv").open()))
    assert list(rows[0]) == names
    for name in names:
        np.testing.assert_allclose([float(row[name]) for row in rows], table[name], rtol=1e-9)
    again = read_netcdf(write_netcdf(table, tmp_path / "results.nc"))
    assert again.equals(table) and columns(again) == names
    for name in (*table.data_vars, *table.coords):
        assert {k: v for k, v in again[name].attrs.items() if v != ""} == {
            k: v for k, v in table[name].attrs.items() if v != ""
        }, name
    for of in (table, again):
        one = of.sel(omega_y=2.0, omega_x=1.5)
        assert one.energy.shape == () and float(one.energy) == float(table.energy[3])
        assert of.sel(omega_x=1.0).energy.shape == (2,)
        assert rows_of(of) == "member" and single_axis(of) is None
        assert [(a.name, a.symbol, a.linear) for a in axes_of(of)] == [
            ("omega_x", "ω_x", False),
            ("omega_y", "ω_y", False),
        ]
        np.testing.assert_array_equal(points_of(of), trap.family.points)
        assert row_text(of, 1) == "ω_x = 1, ω_y = 2" and in_order(of).tolist() == [0, 1, 2, 3]
    assert format_table(table).splitlines()[0].split()[:3] == ["omega_x", "omega_y", "energy"]


def bad(trap, *observables):
    positions = jnp.asarray(trap.evaluation.positions[:, :8])
    options = dict(sampler=Sampler(moves=1), key=jax.random.key(0), step_size=0.5, burn_in=0, rounds=2)
    return evaluate(trap.ansatz, trap.family, positions, observables=observables, **options)


def three(r, parameters):
    return r[:, 0]


def imaginary(r, parameters):
    return jax.lax.complex(r[0, 0], r[0, 0])


@pytest.fixture(scope="module")
def compiled(trap):
    """What every test of bad input shares."""
    return bad(trap)


@pytest.mark.filterwarnings("ignore:ω_x")
def test_no_observables_no_names(trap, compiled):
    assert compiled.observed == ({},) * 4
    assert results(compiled, trap.family).attrs["observables"] == []


@pytest.mark.parametrize(
    "observables, message",
    [
        ((Observable("a", mean_square), Observable("a", trap_energy)), "two quantities are called 'a'"),
        ((Observable("variance", mean_square),), "two quantities are called 'variance'"),
        ((Observable("trap", mean_square),), "two quantities are called 'trap'"),
        ((Observable("omega_x", mean_square),), "two quantities are called 'omega_x'"),
        ((Observable("slope_omega_y", mean_square),), "two quantities are called 'slope_omega_y'"),
        ((Observable("energy_error", mean_square),), "two quantities are called 'energy_error'"),
        ((Observable("a", mean_square), Observable("a_error", mean_square)), "two quantities are called 'a_error'"),
        ((Observable("member", mean_square),), "two quantities are called 'member'"),
        ((MeanSquareRadii(), MeanSquareRadii()), "two quantities are called 'x_squared'"),
        ((Observable("a", three),), "has the shape \\(3,\\) and the dimensions of a number: name one dimension"),
        ((Observable("a", mean_square, dimensions=("electron",)),), "has the shape \\(\\) and the dimensions electron"),
        (
            (Observable("a", three, dimensions=("n",), grids={"n": Grid(np.arange(2))}),),
            "the grid of 'a' along 'n' has 2",
        ),
        ((Observable("a", three, dimensions=("n",), grids={"m": Grid(np.arange(3))}),), "the grid of 'a' along 'm'"),
        ((Observable("a", three, dimensions=("omega_x",), grids={"omega_x": Grid(np.arange(3))}),), "called 'omega_x'"),
        ((Observable("a", imaginary),), "'a' is complex: measure its real and imaginary part"),
        (
            (
                Observable("a", three, dimensions=("n",), grids={"n": Grid(np.arange(3))}),
                Observable("b", three, dimensions=("n",), grids={"n": Grid(np.arange(1, 4))}),
            ),
            "two grids are called 'n': give the dimension of 'b' another name",
        ),
        ((Moving(),), "the grid of 'moving' is another one at member 2 than at member 0"),
    ],
)
def test_observables_that_do_not_fit_into_one_table(trap, compiled, observables, message):
    with pytest.raises(ValueError, match=message):
        bad(trap, *observables)


def test_names_that_no_table_can_hold(trap):
    with pytest.raises(ValueError, match="heads a column of the results: 'mean radius' cannot be one"):
        Observable("mean radius", mean_square)
    hamiltonian = Hamiltonian(Kinetic(), {"trap": Harmonic(1.0)}, (1, 0), dim=1)
    options = dict(sampler=Sampler(), key=jax.random.key(0), step_size=1.0)
    for name in ("variance", "energy", "r_hat", "member", "slope", "trap", "trap_error"):
        family = Family.of(hamiltonian, {name: 1.0}, name, [1.0, 2.0])
        with pytest.raises(ValueError, match=f"a coordinate cannot be called '{name}'"):
            evaluate(trap.ansatz, family, jnp.zeros((2, 2, 1, 1)), **options)
        with pytest.raises(ValueError, match=f"a coordinate cannot be called '{name}'"):
            System("trap", family)
    for name in ("kinetic_difference", "slope", "phase", "v_score"):
        other = Hamiltonian(Kinetic(), {name: Harmonic(1.0)}, (1, 0), dim=1)
        with pytest.raises(ValueError, match=f"a potential cannot be called '{name}'"):
            evaluate(trap.ansatz, Family.of(other, {"a": 1.0}, "a", [1.0]), jnp.zeros((1, 2, 1, 1)), **options)
    family = Family.of(hamiltonian, {"a": 1.0}, "a", [1.0, 2.0])
    for names in (("energy",), ("trap",), ("a",), ("drift",), ("b", "b")):
        observables = tuple(Observable(name, mean_square) for name in names)
        with pytest.raises(ValueError, match=f"an observable cannot be called '{names[0]}'"):
            System("trap", family, observables=observables)


def test_standard_observables_without_a_cell():
    of = lambda electrons, dim: standard_observables(
        Hamiltonian(Kinetic(), {}, electrons, dim=dim),
        np.random.default_rng(0).standard_normal((2, 16, 1, sum(electrons), dim)) * np.arange(1, 1 + dim),
    )
    density, distances, radii = of((2, 1), 2)
    assert isinstance(density, OpenDensity) and isinstance(distances, PairDistances) and radii == MeanSquareRadii()
    assert 1.3 < density.extent[1] / density.extent[0] < 3 and distances.longest == pytest.approx(
        2 * np.hypot(*density.extent)
    )
    assert [type(o) for o in of((1, 0), 1)] == [OpenDensity, MeanSquareRadii]
    assert [of((2, 0), dim)[0].bins ** dim for dim in (1, 2, 3)] == [80, 1600, 4096]


# ------------------------------------------------------------------------------- tables along a line


def test_rows_are_selected_by_their_coordinate(tmp_path):
    table = moire_table([0.0, 12.5, 30.0])
    again = read_netcdf(write_netcdf(table, tmp_path / "results.nc"))
    for of in (table, again):
        assert float(of.sel(depth=12.5).energy) == float(table.energy[1]) and of.energy.dims == ("depth",)
        assert of.depth_meV.values.tolist() == of.depth.values.tolist() == [0.0, 12.5, 30.0]
        axis = single_axis(of)
        assert (axis.name, axis.dimension, axis.head, axis.linear) == ("depth_meV", "depth", "V₀ (meV)", True)
        assert (
            axis.text == "moiré potential depth $V_0$ (meV)" and axis.span(np.array([0.0, 30.0])) == "V₀ = 0 to 30 meV"
        )
        assert row_text(of, 1) == "V₀ = 12.5 meV" and slope_of(of, axis) == "slope"
    with pytest.raises(KeyError):
        table.sel(depth=13.0)
    assert columns(table)[0] == "depth_meV"


def test_a_coordinate_that_does_not_vary_is_a_column_and_no_axis(tmp_path):
    table = trap_table({"omega_y": [1.5, 2.5], "kappa": [0.1]}, phases=False)
    again = read_netcdf(write_netcdf(table, tmp_path / "results.nc"))
    for of in (table, again):
        assert rows_of(of) == "omega_y" and [a.name for a in axes_of(of)] == ["omega_y"]
        assert [a.name for a in coordinates_of(of)] == ["omega_y", "kappa"] == columns(of)[:2]
        assert of.sel(omega_y=2.5).kappa == 0.1 and slope_of(of, single_axis(of)) == "slope_omega_y"
        assert np.isfinite(known_values(of).exact).all()


def test_points_that_occur_twice_stay_rows(tmp_path):
    """They have no labels of their own."""
    family_points = [(1.5, 0.1), (1.5, 0.1), (2.5, 0.2)]
    table = trap_table(family_points, phases=False)
    again = read_netcdf(write_netcdf(table, tmp_path / "results.nc"))
    np.testing.assert_array_equal(points_of(again), family_points)
    assert again.energy.values.tolist() == table.energy.values.tolist()


# ------------------------------------------------------------------------------- phases side by side


def with_gaps():
    """Two phases in a plane, each unknown at some of the points."""
    table = trap_table(GRID)
    omega = table["omega_y"].values
    for name, unknown in (("compact", omega > 2.6), ("chain", omega < 1.2)):
        for variable in table.data_vars:
            if "phase" in table[variable].dims:
                values = np.asarray(table[variable].transpose("phase", ...).values, float).copy()
                values[phases_of(table).index(name), unknown] = np.nan
                dims = ("phase", *(d for d in table[variable].dims if d != "phase"))
                table[variable] = (dims, values, table[variable].attrs)
    return table, omega


def test_the_lowest_phase_of_every_row(tmp_path):
    table, omega = with_gaps()
    table = read_netcdf(write_netcdf(table, tmp_path / "results.nc"))
    assert phases_of(table) == ["compact", "chain"] and table.energy.dims == ("phase", "member")
    lowest = ground_state(table)
    assert phases_of(lowest) == [] and ground_state(lowest).identical(lowest)
    energies = table.energy.values
    np.testing.assert_array_equal(lowest.energy, np.nanmin(energies, axis=0))
    names = np.array(phases_of(table))[np.nanargmin(energies, axis=0)]
    np.testing.assert_array_equal(lowest.phase, names)
    assert set(names) == {"compact", "chain"} and (names[omega > 2.6] == "chain").all()
    # Everything that was measured follows the energy, arrays too.
    for name in ("kinetic", "slope_kappa", "density", "anisotropy"):
        for row in range(len(omega)):
            expected = table[name].sel(phase=names[row]).isel(member=row)
            np.testing.assert_array_equal(lowest[name].isel(member=row), expected)
    assert lowest.sel(omega_y=3.0, kappa=0.0).phase == "chain"


def test_the_table_of_one_phase_has_the_rows_where_it_was_measured():
    table, omega = with_gaps()
    compact = of_phase(table, "compact")
    assert compact.sizes["member"] == np.sum(omega <= 2.6) and "phase" not in compact.coords
    assert np.isfinite(compact.energy).all() and compact.sel(omega_y=2.5, kappa=0.1).energy.shape == ()
    assert list(separate_phases(table)) == ["compact", "chain"] and separate_phases(compact) == {}


def test_phases_in_files(tmp_path):
    table, omega = with_gaps()
    rows = list(csv.DictReader(write_csv(table, tmp_path / "results.csv").open()))
    assert list(rows[0])[:2] == ["omega_y", "kappa"] and list(rows[0])[-5:] == [
        "energy_compact",
        "energy_compact_error",
        "energy_chain",
        "energy_chain_error",
        "phase",
    ]
    for row, w in zip(rows, omega, strict=True):
        energies = {name: float(row[f"energy_{name}"]) for name in phases_of(table)}
        assert np.isnan(energies["compact"]) == (w > 2.6) and np.isnan(energies["chain"]) == (w < 1.2)
        assert float(row["energy"]) == np.nanmin(list(energies.values())) == energies[row["phase"]]
    assert {line.split()[-1] for line in format_table(table).splitlines()[1:]} == {"compact", "chain"}
    depths = [0.0, 5.0, 10.0, 15.0, 20.0, 30.0]
    along = list(csv.DictReader(write_csv(moire_phases(depths), tmp_path / "along.csv").open()))
    assert [row["phase"] for row in along] == ["liquid"] * 4 + ["crystal"] * 2
    assert [float(row["depth_meV"]) for row in along] == depths


# ------------------------------------------------------------------------------- labels of a system


def test_known_values_and_boundaries_travel_with_the_table(tmp_path):
    """Lines of several points, and places of a single one, the first and the last of them too."""
    table = trap_table({"omega_y": [1.5, 2.5, 3.5]}, coordinates=(OMEGA,), phases=False)
    places = (np.array([[2.0]]), np.array([[2.5], [2.6]]), np.array([[3.0]]))
    nothing = np.full(2, np.nan)
    known = KnownValues(
        ("omega_y",),
        np.array([[1.5], [3.5]]),
        np.array([1.0, 2.0]),
        nothing,
        nothing,
        nothing,
        {},
        "Bethe",
        boundaries=places,
    )
    table = table.drop_vars([name for name in table.variables if str(name).startswith("known_")])
    again = known_values(read_netcdf(write_netcdf(add_known_values(table, known), tmp_path / "results.nc")))
    assert len(again.boundaries) == 3 and again.method == "Bethe" and again.has_exact
    for one, other in zip(again.boundaries, places, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(again.at(again.exact, np.array([[3.5], [2.5]])), [2.0, np.nan])
    assert known_values(table) is None
    with pytest.raises(ValueError, match="the coordinates of the table, omega_y, got kappa"):
        add_known_values(table, dataclasses.replace(known, names=("kappa",)))


def test_known_values_in_another_order_of_coordinates():
    table = trap_table([(2.0, 0.1), (0.5, 0.3), (0.7, 0.4)], phases=False)
    table = table.drop_vars([name for name in table.variables if str(name).startswith("known_")])
    nothing, line = np.full(1, np.nan), np.array([[0.1, 2.0], [0.2, 2.5]])
    known = KnownValues(
        ("kappa", "omega_y"), line[:1], np.array([5.0]), nothing, nothing, nothing, {}, boundaries=(line,)
    )
    again = known_values(add_known_values(table, known))
    assert again.names == ("omega_y", "kappa")
    np.testing.assert_array_equal(again.boundaries[0], line[:, ::-1])
    np.testing.assert_array_equal(known_at_rows(add_known_values(table, known), "exact"), [5.0, np.nan, np.nan])


def test_known_values_without_coordinates_are_those_of_the_members():
    labels = {"rows": "member", "coordinate_names": [], "axes": []}
    table = xarray.Dataset({"energy": ("member", [5.0, 7.0], {"units": "Ha*"})}, {"member": [0, 1]}, labels)
    nothing = np.full(2, np.nan)
    known = KnownValues((), np.zeros((2, 0)), np.array([5.0, 7.0]), nothing, nothing, nothing, {})
    np.testing.assert_array_equal(known_at_rows(add_known_values(table, known), "exact"), [5.0, 7.0])
    assert np.isnan(known_at_rows(add_known_values(table.isel(member=[0]), known), "exact")).all()


def test_an_observable_of_ones_own_is_an_order_parameter(trap, tmp_path):
    order = OrderParameter(OWN[0], "spread", "small", "large", 0.5)
    missing = OrderParameter(Observable("elsewhere", mean_square), "elsewhere", "a", "b", 0.1)
    system = System("trap", trap.family, UNITS, order_parameters=(order, missing), words="Electrons in a trap.")
    table = system.label(results(trap.evaluation, trap.family, UNITS))
    table = read_netcdf(write_netcdf(table, tmp_path / "results.nc"))
    names = columns(table)
    assert names.count("spread") == 1 and names.index("spread") < names.index("acceptance")
    assert "elsewhere" not in names and float(table.spread.attrs["smallest"]) == 0.5
    assert "⟨r²⟩" in format_table(table).splitlines()[0]
