"""What a table says: tangents, slopes, crossings of branches and of phases, lines in a plane, and the words for it."""

import re

import numpy as np
import pytest
import xarray
from synthetic_evaluations import FILLINGS, GRID, KAPPA, OMEGA, TILT, moire_phases, moire_table, trap_family, trap_table

from qernel.evaluation import ground_state, indexed, known_at_rows, labelled_rows, read_netcdf, write_netcdf
from qernel.exact import filling_boundary, filling_energy, filling_slopes
from qernel.judgement import (
    Jump,
    branch_crossing,
    order_jump,
    phase_boundaries,
    phase_crossings,
    slope_lines,
    steepest_stretch,
    tangent_check,
    verdict,
)
from qernel.observables import jackknife
from qernel.studies.transition import find_transition
from qernel.studies.transition._sides import sides_of

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
    variables |= more
    order_attributes = {"symbol": "S(K)", "low": "liquid", "high": "crystal", "smallest": 0.2, "signature": ""}
    variables["structure_factor_K"][2].update(order_attributes)
    label = ("depth", x, {"units": "meV", "symbol": "V₀", "latex": "V_0", "long_name": "depth", "linear": 1})
    attributes = {"rows": "depth", "coordinate_names": ["depth_meV"], "axes": ["depth_meV"], "doubts": ""}
    attributes |= {"order_parameters": ["structure_factor_K"], "interactions": ["interaction"]}
    return xarray.Dataset(variables, {"depth_meV": label, "depth": label}, attributes)


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


def jump_between(low, high):
    return Jump(low, high, 1, 1.0, 0.1, 1.0, 3.0, 0.1)


def test_the_sides_of_a_jump_over_the_whole_table_tell_nothing():
    """No row lies beside them, so that nothing says how a slope changes by itself."""
    x = np.array([14.0, 16.0, 17.0, 18.5])
    table = dataset_of(x, *lower(x), error=1e-9)
    assert np.isnan(np.hstack(sides_of(table, jump_between(x[0], x[-1])))).all()


def test_the_sides_of_a_jump_cross_where_the_energies_do():
    """Their curvature beside the jump is taken along: the tangents alone would meet 0.02 meV from there."""
    x = np.array([14.0, 16.0, 17.0, 18.5])
    energy, slope, order = lower(x)
    exact = sides_of(dataset_of(x, energy, slope, order, error=1e-9), jump_between(16.0, 17.0))
    assert exact.place == pytest.approx(CROSSING, abs=1e-6) and exact.fall == pytest.approx(-KINK, abs=1e-6)
    np.testing.assert_allclose(exact.gaps, [-KINK * 0.4, -KINK * 0.6], atol=1e-6)
    found = [sides_of(dataset_of(x, energy, slope, order, seed=s), jump_between(16.0, 17.0)) for s in range(200)]
    pull = np.array([(f.fall + KINK) / f.fall_error for f in found])
    assert pull.std() == pytest.approx(1.0, abs=0.25)
    distance = np.array([(f.gaps - exact.gaps) / f.gap_errors for f in found])
    assert distance.std() == pytest.approx(1.0, abs=0.25)


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


def decided(scan, branches=None):
    return find_transition(scan, branches, ("liquid", "crystal"))


def test_a_crossing_is_found_by_a_model_that_follows_the_lower_phase():
    finding = decided(dataset_of(DEPTHS, *lower(DEPTHS)), branches())
    assert finding.kind == "first order" and finding.trustworthy
    assert abs(finding.location - CROSSING) < 3 * finding.uncertainty < 3.0
    assert "First-order transition" in finding.sentences[0] and "liquid being the lower below" in finding.sentences[0]


def test_without_branches_the_tangents_of_the_two_sides_must_meet():
    finding = decided(dataset_of(DEPTHS, *lower(DEPTHS)))
    assert finding.kind == "first order" and abs(finding.location - CROSSING) < 2


def test_a_stuck_model_is_named_and_the_transition_found_all_the_same():
    finding = decided(dataset_of(DEPTHS, *liquid(DEPTHS)), branches())
    assert finding.kind == "first order" and not finding.trustworthy
    assert abs(finding.location - CROSSING) < 0.5
    # Depths that are not in the scan are not compared.
    inside = dataset_of(np.union1d(DEPTHS, BRANCH_DEPTHS), *liquid(np.union1d(DEPTHS, BRANCH_DEPTHS)))
    text = " ".join(decided(inside, branches()).sentences)
    assert "the crystal branch lies below the model" in text and "stuck in another phase" in text


def test_a_model_that_changes_late_says_where_it_is_wrong():
    x = np.union1d(DEPTHS, BRANCH_DEPTHS)
    finding = decided(dataset_of(x, *lower(x, at=19.5)), branches())
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
    finding = decided(dataset, branches(second=liquid) if with_branches else None)
    assert finding.kind == "artefact" and np.isnan(finding.location) and not finding.trustworthy
    assert "not of the Hamiltonian" in finding.sentences[0] and "experts jumps" in finding.sentences[0]


def test_a_crossover_is_not_a_transition():
    order = 1.4 + DEPTHS / 40
    energy, slope, _ = liquid(DEPTHS)
    scan = dataset_of(DEPTHS, energy, slope, order, interaction=-55 - DEPTHS / 30)
    finding = decided(scan, branches(second=liquid))
    assert finding.kind == "smooth" and finding.trustworthy
    assert "No sharp transition" in finding.sentences[0] and "one and the same state" in finding.sentences[0]


def without_order(x, energy, slope, seed=0):
    """A table whose order parameter is a variable that was measured nowhere: the cell does not hold its waves."""
    dataset = dataset_of(x, energy, slope, np.full_like(x, 0.65), seed=seed)
    for name in ("structure_factor_K", "structure_factor_K_error"):
        dataset[name][:] = np.nan
    return dataset


@pytest.mark.parametrize("seed", range(5))
def test_a_kink_of_the_energy_is_found_without_an_order_parameter(seed):
    """The kink is a seventh of the whole change of the slope, the rest of which is curvature."""
    scan = without_order(DEPTHS, *lower(DEPTHS)[:2], seed=seed)
    finding = decided(scan)
    assert finding.kind == "first order" and abs(finding.location - CROSSING) < 3 * finding.uncertainty < 6
    assert "No order parameter and no branches confirm it" in finding.sentences[0]
    blind = decided(scan.drop_vars(["slope", "slope_error"]))
    assert blind.kind == "undecided" and not blind.trustworthy and "Neither an order parameter" in blind.sentences[0]


@pytest.mark.parametrize("seed", range(5))
def test_without_an_order_parameter_a_curve_without_a_kink_has_none(seed):
    energy, slope, _ = liquid(DEPTHS)
    finding = decided(without_order(DEPTHS, energy, slope, seed=seed))
    assert finding.kind == "smooth" and np.isnan(finding.location)
    # A slope that turns within two steps of the grid, whose energy is its integral: nobody can say at this resolution.
    turn = -0.1 - 0.4 * (1 + np.tanh((DEPTHS - 15) / 2.5)) / 2
    integral = -0.3 * DEPTHS - 0.2 * 2.5 * np.log(np.cosh((DEPTHS - 15) / 2.5)) + 0.2 * 2.5 * np.log(np.cosh(6))
    assert decided(without_order(DEPTHS, integral, turn, seed=seed)).kind in ("undecided", "first order")


def test_small_errors_of_a_wavefunction_between_close_rows_are_no_kink():
    """Rows that a scan put close together, with slopes wrong by little and by more than the statistics."""
    x = np.union1d(DEPTHS, 15 + np.linspace(-0.4, 0.4, 5))
    energy, slope, _ = liquid(x)
    wrong = slope - 0.02 * (x > 15.1)
    finding = decided(dataset_of(x, energy, wrong, np.full_like(x, 0.65), error=1e-3))
    assert finding.kind == "smooth" and "S(K) goes smoothly" in finding.sentences[0]


def test_an_order_parameter_that_does_not_change_hides_no_kink():
    energy, slope, _ = lower(DEPTHS)
    finding = decided(dataset_of(DEPTHS, energy, slope, np.full_like(DEPTHS, 0.65)))
    assert finding.kind == "first order" and "S(K) shows no jump" in finding.sentences[0]


def test_the_upper_of_two_crossing_energies_is_no_transition():
    """The slope rises where a model takes the higher of two energies on either side: no ground state does that."""
    upper = [np.where(DEPTHS < CROSSING, b, a) for a, b in zip(liquid(DEPTHS), crystal(DEPTHS), strict=True)]
    for scan in (dataset_of(DEPTHS, *upper), without_order(DEPTHS, *upper[:2])):
        finding = decided(scan)
        assert finding.kind != "first order" and not finding.trustworthy


def test_three_rows_decide_nothing():
    x = DEPTHS[:3]
    assert decided(dataset_of(x, *liquid(x))).kind == "undecided"


# ------------------------------------------------------------------------------- several coordinates


def exact_trap(points, coordinates=(OMEGA, KAPPA)):
    """Three electrons in a trap along a family, exactly: the table of each filling, side by side. No noise but
    errors."""
    return noisy_trap(points, coordinates, error=1e-4, noise=0.0)


def noisy_trap(points, coordinates=(OMEGA, KAPPA), *, error, noise=1.0, seed=0):
    family = trap_family(points, coordinates)
    labels, attributes, rows = labelled_rows(family)
    omega, kappa = (np.asarray(family.parameters[name], np.float64) for name in ("omega_y", "kappa"))
    frequencies = np.stack([np.ones_like(omega), omega], axis=-1)
    rng = np.random.default_rng(seed)
    quantities = {"energy": [], "slope_omega_y": [], "slope_kappa": []}
    for filling in FILLINGS.values():
        slopes = filling_slopes(filling, frequencies, kappa)
        quantities["energy"].append(filling_energy(filling, frequencies, kappa) / 3)
        quantities["slope_omega_y"].append(slopes.frequencies[:, 1] / 3)
        quantities["slope_kappa"].append(slopes.kappa / 3)
    names = {"energy": "energy"} | {f"slope_{c.name}": f"slope_{c.name}" for c in family.coordinates}
    if len(family.coordinates) == 1:
        names[f"slope_{family.coordinates[0].name}"] = "slope"
    variables = {}
    for quantity, name in names.items():
        values = np.stack(quantities[quantity])
        scatter = error * noise * rng.standard_normal(values.shape)
        variables[name] = (("phase", rows), values + scatter, {"units": "Ha* per electron"})
        variables[f"{name}_error"] = (("phase", rows), np.full(values.shape, error))
    labels |= {"phase": ("phase", list(FILLINGS))}
    return indexed(xarray.Dataset(variables, labels, attributes | {"doubts": ""}))


def test_rows_that_differ_in_another_coordinate_are_not_compared_by_tangents():
    """The energy of a trap is not linear in its frequency: its tangents are no bounds."""
    table = ground_state(exact_trap(GRID))
    found = tangent_check(table)
    assert not found.above.any()
    omega = table["omega_y"].values
    np.testing.assert_array_equal(omega[found.witness], omega)
    # Exact energies lie below the tangents of the same line, and beyond them by much if all rows are compared.
    table["omega_y"].attrs["linear"] = 1
    assert not np.array_equal(omega[tangent_check(table).witness], omega)


def test_a_row_in_the_wrong_phase_of_a_plane_is_found_by_its_own_line():
    table = exact_trap({"omega_y": [1.8, 2.1], "kappa": np.linspace(-0.1, 0.3, 9)})
    lowest = ground_state(table)
    wrong = int(np.flatnonzero((lowest["omega_y"].values == 2.1) & (lowest["kappa"].values == 0.3))[0])
    other = next(name for name in FILLINGS if name != str(lowest["phase"].values[wrong]))
    for name in ("energy", "slope_omega_y", "slope_kappa"):
        values = lowest[name].values.copy()
        values[wrong] = float(table[name].sel(phase=other).values[wrong])
        lowest[name] = (lowest[name].dims, values, lowest[name].attrs)
    found = tangent_check(lowest)
    assert np.flatnonzero(found.above).tolist() == [wrong]
    assert float(lowest["omega_y"].values[found.witness[wrong]]) == 2.1


def test_tangents_need_two_rows_on_a_line():
    assert tangent_check(ground_state(exact_trap([(1.0, 0.1), (1.5, 0.2), (2.0, 0.3)]))) is None
    along = {"omega_y": [1.0, 2.0, 3.0], "kappa": [0.1]}
    # H is not linear in the one that varies.
    assert tangent_check(ground_state(exact_trap(along))) is None


def test_slopes_are_checked_along_lines_and_never_across():
    table = noisy_trap(GRID, error=1e-4)
    lines = slope_lines(table.sel(phase="compact"))
    sizes = {name: len(values) for name, values in GRID.items()}
    assert {name: sum(line.axis.name == name for line in lines) for name in sizes} == {"omega_y": 4, "kappa": 6}
    points = np.stack([table["omega_y"].values, table["kappa"].values], axis=1)
    for line in lines:
        along = 0 if line.axis.name == "omega_y" else 1
        assert np.ptp(points[line.rows, 1 - along]) == 0 and (np.diff(points[line.rows, along]) > 0).all()
        other = ("κ", "ω_y")[along]
        assert line.where == f" at {other} = {points[line.rows[0], 1 - along]:g}"
        assert len(line.check.middle) == sizes[line.axis.name] - 1 and line.check.agrees.all()
    # A wrong slope is found on the lines of its own coordinate alone.
    wrong = table.sel(phase="compact").copy(deep=True)
    wrong["slope_kappa"][5] += 0.1
    bad = [line for line in slope_lines(wrong) if not line.check.agrees.all()]
    assert [line.axis.name for line in bad] == ["kappa"] and 5 in bad[0].rows
    # Scattered points lie on no line.
    assert slope_lines(exact_trap(np.random.default_rng(0).random((20, 2)) + 1)) == []


def test_lines_of_a_phase_hold_the_rows_of_the_table_where_it_was_measured():
    table = noisy_trap({"omega_y": np.linspace(1.0, 3.0, 9), "kappa": [0.0, 0.2]}, error=1e-4)
    omega = table["omega_y"].values
    values = table["energy"].values.copy()
    values[0, omega > 2.5], values[1, omega < 1.5] = np.nan, np.nan
    table["energy"] = (table["energy"].dims, values, table["energy"].attrs)
    lines = [line for line in slope_lines(table) if line.axis.name == "omega_y"]
    assert [line.phase for line in lines] == ["compact"] * 2 + ["chain"] * 2
    for line in lines:
        inside = omega[line.rows]
        assert inside.tolist() == [w for w in np.unique(omega) if (w <= 2.5 if line.phase == "compact" else w >= 1.5)]
        assert line.check.agrees.all()


def test_one_coordinate_of_two_is_a_line_with_everything_that_belongs_to_it(tmp_path):
    """A family of two coordinates at one value of the second: its slope has the name of the first."""
    x = np.linspace(1.6, 2.6, 11)
    table = noisy_trap({"omega_y": x, "kappa": [0.05]}, error=2e-4)
    table = read_netcdf(write_netcdf(table, tmp_path / "table.nc"))
    assert "slope" not in table and table["energy"].dims == ("phase", "omega_y")
    place = float(filling_boundary(*FILLINGS.values(), (1.0, 1.0), np.array(0.05)))
    ((crossing, names),) = phase_crossings(table)
    assert names == ("compact", "chain") and crossing.crosses
    assert abs(crossing.location - place) < 4 * crossing.error < 0.01
    # Within each phase alone: where the lowest one changes the energy has a kink.
    assert [line.where for line in slope_lines(table)] == [" in the compact", " in the chain"]
    assert all(line.check.agrees.all() and len(line.rows) == 11 for line in slope_lines(table))
    finding = find_transition(table)
    assert finding.kind == "first order" and abs(finding.location - place) < 0.1


def test_the_line_between_two_phases_and_its_error():
    """ω_y* = sqrt(4 + 9 κ) of three electrons, within the error band as often as an error should be right."""
    inside, misfits = [], []
    for seed in range(80):
        (line,) = phase_boundaries(noisy_trap(GRID, error=0.02, seed=seed))
        assert line.names == ("compact", "chain") and line.axes == ("ω_y", "κ") and line.along == 0
        exact = filling_boundary(*FILLINGS.values(), np.ones((len(line.points), 2)), line.points[:, 1])
        np.testing.assert_allclose(exact, np.sqrt(4 + 9 * line.points[:, 1]))
        places = np.linspace(0, len(line.points) - 1, 5).astype(int)[1:-1]
        inside += (np.abs(line.points[places, 0] - exact[places]) < line.error[places]).tolist()
        misfits.append(line.misfit)
    # 240 places, three to a line.
    assert 0.58 < np.mean(inside) < 0.78 and 0.8 < np.mean(misfits) < 1.2


def test_the_line_is_exact_without_noise_and_is_found_among_scattered_points():
    rng = np.random.default_rng(3)
    points = np.stack([rng.uniform(1.5, 3.0, 40), rng.uniform(0.0, 0.4, 40)], axis=1)
    (line,) = phase_boundaries(exact_trap(points))
    exact = np.sqrt(4 + 9 * line.points[:, 1])
    # Where the fit extrapolates beyond the points its error says so.
    assert np.median(np.abs(line.points[:, 0] - exact)) < 1e-3 and len(line.used) == 24
    assert (np.abs(line.points[:, 0] - exact) < np.maximum(5 * line.error, 2e-3)).all()
    finding = find_transition(exact_trap(points))
    assert finding.kind == "first order" and finding.boundaries and np.isnan(finding.location)
    assert finding.sentences[0].startswith("First-order line: the energies of the compact and of the chain")


def test_no_line_where_a_third_phase_lies_lower():
    table = exact_trap({"omega_y": np.linspace(1.2, 4.0, 12), "kappa": np.linspace(0.0, 0.3, 6)})
    between = table.mean("phase").assign_coords(phase="between")
    between["energy"] = between["energy"] - 0.1
    lines = phase_boundaries(xarray.concat([table, between.expand_dims("phase")], "phase"))
    assert {line.names for line in lines} == {("compact", "between"), ("chain", "between")}
    (alone,) = phase_boundaries(table)
    assert alone.names == ("compact", "chain")


def test_no_line_where_one_phase_is_the_lowest_or_phases_were_not_told_apart():
    high = {"omega_y": [4.0, 4.5, 5.0], "kappa": [0.0, 0.1, 0.2]}
    assert phase_boundaries(exact_trap(high)) == ()
    assert phase_boundaries(ground_state(exact_trap(GRID))) == ()
    assert phase_boundaries(exact_trap({"omega_y": np.linspace(1.5, 2.5, 9), "kappa": [0.1]})) == ()
    finding = find_transition(exact_trap(high))
    assert finding.kind == "undecided" and not finding.trustworthy


# ------------------------------------------------------------------------------- the words


ROWS = np.array([0.0, 5.0, 10.0, 12.5, 15.0, 17.5, 20.0, 25.0, 30.0])


def words(**options):
    return " ".join(verdict(moire_table(ROWS, **options)))


def test_signs_that_only_overlap_are_not_said_to_be_in_one_place():
    order = np.where(ROWS > 16, 1.25, 0.7)
    inside = words(corner=order, interaction=np.where(ROWS > 16, -57.0, -54.5))
    assert "within the stretch of S(K)" in inside
    # Half of the change from 12.5 to 17.5 meV: more than the stretch of S(K).
    gradual = np.interp(ROWS, [10.0, 12.5, 17.5, 20.0], [-54.0, -54.6, -57.0, -57.6])
    overlapping = words(corner=order, interaction=gradual)
    assert "falls between 12.5 and 17.5 meV, which overlaps with the stretch of S(K)" in overlapping
    assert "within the stretch" not in overlapping and "coincide" not in overlapping
    elsewhere = words(corner=order, interaction=np.where(ROWS > 22, -57.0, -54.5))
    assert "not where S(K) changes: the two signs of a transition do not coincide" in elsewhere
    for text in (inside, overlapping, elsewhere):
        assert "same place" not in text


def test_a_change_over_several_steps_is_not_called_a_jump_within_one():
    flat = lambda values: np.concatenate([[0.72, 0.73, 0.74], values, [1.18, 1.19]])
    x = np.arange(9.0) * 2.5
    table = moire_table(x, corner=flat([0.76, 0.92, 1.09, 1.17]))
    text = " ".join(verdict(table))
    assert "within one step" not in text
    found = order_jump(table)
    assert found is None or (found.steps > 1 and "it is resolved" in text and "alone does not say" in text)
    four = moire_table(x[:4], corner=np.array([0.76, 0.92, 1.09, 1.17]))
    assert order_jump(four) is None and "No jump of S(K)" in " ".join(verdict(four))


def test_energies_above_the_exact_ones_are_named_where_no_check_fails():
    """0.15(2) meV above: no check fails, and nobody is told that nothing stands in the way."""
    depths = np.array([0.0, 5.0, 10.0, 20.0, 30.0])
    exact = known_at_rows(moire_table(depths), "exact")

    def last(**options):
        table = moire_table(depths, sigma=0.6, **options)
        found = verdict(table.drop_vars(["slope", "slope_error"]))
        assert not any("nothing stands in the way" in sentence for sentence in found)
        return found[-1]

    above = last(energy=exact + [0.02, 0.15, 0.02, 0.02, 0.02])
    assert above.startswith("Next: no check found a reason not to use these numbers; they lie up to 0.1")
    assert re.search(r"up to 0\.1\d+\(\d+\) meV per electron above the exact ones where these are known", above)
    # Energies of five electrons are not known.
    assert last(electrons=5) == (
        "Next: no check found a reason not to use these numbers; how far they lie above the ground state, no check can "
        "tell."
    )


def test_the_verdict_of_phases_side_by_side():
    text = " ".join(verdict(moire_phases(ROWS)))
    assert "First-order transition: the energies of the liquid and of the crystal cross at V₀ = 16." in text
    plane = " ".join(verdict(trap_table(GRID)))
    assert "The lowest phase is" in plane and "First-order line" in plane and "ω_y = " in plane
    assert "on all" in plane or "differ around" in plane


def test_the_verdict_of_a_plane_names_points_and_no_lines_of_neighbours():
    table = trap_table(GRID, phases=False)
    table["kinetic_difference"][3] = 10 * table["kinetic_difference_error"][3]
    omega, kappa = float(table["omega_y"][3]), float(table["kappa"][3])
    found = verdict(table)
    assert any(f"differ by more than 4 sigma at ({omega:g}, {kappa:g}):" in sentence for sentence in found)
    assert all("No jump" not in sentence and "Too few" not in sentence for sentence in found)
    line = trap_table({"omega_y": np.linspace(1, 2, 6)}, coordinates=(OMEGA,), phases=False)
    assert any("Hellmann-Feynman" in sentence for sentence in verdict(line))
    tilted = trap_family({"omega_y": [1.0, 2.0], "kappa": [0.1], "tilt": [0.0]}, (OMEGA, KAPPA, TILT))
    assert [c.name for c in tilted.varying] == ["omega_y"]
