"""What a table cannot tell is not told: noise, unknown errors, missing slopes, several transitions at once."""

from pathlib import Path

import numpy as np
import pytest
import xarray

from qernel.evaluation import ground_state, indexed
from qernel.judgement import (
    branch_crossing,
    competitors,
    phase_boundaries,
    phase_crossings,
    slope_lines,
    steepest_stretch,
    tangent_check,
)
from qernel.judgement._order import phase_sentences
from qernel.plotting import order_figure
from qernel.plotting._plane import measured_boundary
from qernel.report._figures import _density, _energy
from qernel.report._record import Record
from qernel.report._tables import slope_table
from qernel.studies.transition import find_transition, transition_figure
from qernel.studies.transition._scan import rounded

UNIT = {"units": "meV per electron"}
ORDER = {"low": "liquid", "high": "crystal", "smallest": 0.2, "symbol": "S", "units": "1", "signature": "", "what": ""}
X = np.linspace(0, 7, 8)
STEP = (X > 3.5) * 1.0


def table_of(points, names, quantities, phases=(), **attributes):
    """A table with `quantities`, (values, errors) by name, at points of some coordinates, which all vary."""
    points = np.asarray(points, float).reshape(-1, len(names))
    rows = names[0] if len(names) == 1 else "member"
    attributes = {
        "rows": rows,
        "coordinate_names": list(names),
        "axes": list(names),
        "potentials": [],
        "interactions": [],
        "electrons_up": 3,
        "electrons_down": 0,
        **attributes,
    }
    label = lambda name: {"units": "1", "symbol": name, "latex": name, "long_name": name, "linear": 1}
    coordinates = {name: (rows, column, label(name)) for name, column in zip(names, points.T, strict=True)}
    shape = (len(phases), len(points)) if phases else (len(points),)
    dimensions = ("phase", rows) if phases else (rows,)
    variables = {
        name + end: (dimensions, np.broadcast_to(np.asarray(value, float), shape).copy(), dict(UNIT))
        for name, pair in quantities.items()
        for end, value in zip(("", "_error"), pair, strict=True)
    }
    if phases:
        coordinates["phase"] = ("phase", list(phases))
    if "S" in variables:
        variables["S"][2].update(ORDER)
        attributes["order_parameters"] = ["S"]
    return indexed(xarray.Dataset(variables, coordinates, attributes))


def line(energy, slope=None, order=None, phases=(), x=X, **attributes):
    """Rows along U; every quantity with its error."""
    quantities = (
        {"energy": energy} | ({} if slope is None else {"slope": slope}) | ({} if order is None else {"S": order})
    )
    return table_of(x, ("U",), quantities, phases, **attributes)


def plane(count, energies, slopes, phases, error=1e-3, noise=0.0, seed=0):
    """A square grid over a and b; energies and both slopes of every phase are functions of the points."""
    rng = np.random.default_rng(seed)
    side = np.linspace(0, 1, count)
    points = np.array([(a, b) for a in side for b in side])
    scattered = lambda f: (np.stack([g(*points.T) + 0 * points[:, 0] for g in f]), error)
    quantities = {"energy": scattered(energies)}
    quantities |= {f"slope_{name}": scattered(of) for name, of in zip("ab", slopes, strict=True)}
    quantities = {k: (v + noise * e * rng.standard_normal(v.shape), e) for k, (v, e) in quantities.items()}
    return table_of(points, ("a", "b"), quantities, phases)


def decided(scan, branches=None):
    found = find_transition(scan, branches, ("liquid", "crystal"))
    return found.kind, found.sentences[0]


# ------------------------------------------------------------------------------- noise is no transition


def test_one_state_measured_twice_has_no_line():
    """Two phases with one energy and one slope: the points at which either is the lowest are noise."""
    same = [[lambda a, b: 1 + a] * 2, [[lambda a, b: 1.0] * 2, [lambda a, b: 0.0] * 2]]
    for seed in range(20):
        table = plane(6, *same, ("liquid", "crystal"), error=0.01, noise=1.0, seed=seed)
        assert phase_boundaries(table) == ()
    kind, text = decided(table)
    assert kind == "undecided" and "no more than their errors allow to tell" in text


@pytest.mark.parametrize("seed", range(3))
def test_a_line_among_the_same_noise_is_found(seed):
    energies = [lambda a, b: a, lambda a, b: 0.45 + 0.2 * b]
    slopes = [[lambda a, b: 1.0, lambda a, b: 0.0], [lambda a, b: 0.0, lambda a, b: 0.2]]
    (found,) = phase_boundaries(plane(6, energies, slopes, ("liquid", "crystal"), error=0.01, noise=1.0, seed=seed))
    assert np.abs(found.points[:, 0] - 0.45 - 0.2 * found.points[:, 1]).max() < 0.05


def test_nothing_is_a_jump_whose_error_is_not_known():
    for seed in range(20):
        noise = np.random.default_rng(seed).standard_normal(8)
        assert not steepest_stretch(X, noise, np.full(8, np.nan)).is_jump
    # Errors elsewhere than at the two sides of a jump are of no account.
    errors = np.full(8, 0.05)
    errors[0] = np.nan
    assert steepest_stretch(X, STEP, errors).is_jump


def test_energies_that_are_equal_within_errors_are_said_to_be():
    lowest = lambda gap: phase_sentences(line((np.stack([X, X + gap]), 0.1), (1, 0.1), phases=("A", "B")), [])
    assert lowest(0.001) == [
        "The A has the lowest energy everywhere, but within errors that of another phase is equal to it."
    ]
    assert lowest(np.where(X < 2, 0.1, 1.0)) == [
        "The A has the lower energy everywhere, within errors equal to that of another phase at U = 0, 1."
    ]
    assert lowest(1.0) == ["The A has the lower energy everywhere."]


# ------------------------------------------------------------------------------- branches


def crossing_branches(energy_error=0.01, slope_error=0.01, order=(1.0, 4.0), order_error=0.05):
    """Energies λ and 3.5 of two branches, which cross at 3.5."""
    return (
        line((X, energy_error), (1, slope_error), (order[0], order_error)),
        line((np.full(8, 3.5), energy_error), (0, slope_error), (order[1], order_error)),
    )


def test_an_order_parameter_without_errors_tells_no_branches_apart_but_slopes_do():
    branches = crossing_branches(order_error=np.nan)
    assert branch_crossing(*branches).crosses
    kind, text = decided(line((np.minimum(X, 3.5), 0.01), (1 - STEP, 0.01), (1 + 3 * STEP, np.nan)), branches)
    assert kind == "first order" and "cross at U = 3.50" in text


@pytest.mark.parametrize("order", [1 + 3 * STEP, 1 + 3 * X / 7], ids=["jump", "smooth"])
def test_branches_whose_slopes_are_not_known_well_enough_decide_nothing(order):
    branches = crossing_branches(1.5, 0.5)
    found = branch_crossing(*branches)
    assert abs(found.location - 3.5) < found.error and not found.has_kink and not found.crosses
    kind, text = decided(line((np.minimum(X, 3.5), 0.3), (1 - STEP, 0.5), (order, 0.05)), branches)
    assert kind == "undecided"
    assert "cross at U = 3.50(80), with slopes that do not differ by more than their errors allow to tell" in text
    # One lies above the other, within its error at some points.
    close = branches[0], line((X + 2.0, 1.5), (1, 0.5), (4.0, 0.05))
    kind, text = decided(line((X, 0.3), (1, 0.5), (order, 0.05)), close)
    assert kind == "undecided" and "is the lower cannot be told at all of their points" in text


def test_branches_that_are_one_state_where_they_cross_decide_nothing():
    branches = crossing_branches(order=(1.0, np.where(np.abs(X - 3.5) < 1, 1.0, 4.0)))
    kind, text = decided(line((np.minimum(X, 3.5), 0.3), (1 - STEP, 0.5), (1 + 3 * STEP, 0.05)), branches)
    assert kind == "undecided" and text.endswith("cross at U = 3.5000(64), where they are not told apart.")


def test_branches_of_one_order_and_different_energies_are_not_one_state():
    model = line((X, 0.01), (1, 0.01), (1 + 3 * STEP, 0.05))
    branches = [line((X + shift, 0.01), (1, 0.01), (1.0, 0.05)) for shift in (0, 2)]
    kind, text = decided(model, branches)
    assert kind == "artefact" and "trained on, have the same order" in text and "one and the same" not in text
    # Without an order parameter it is the slope.
    curved = lambda shift: line((X - X**2 / 20 + shift, 0.01), (1 - X / 10, 0.01))
    kind, text = decided(curved(0), [curved(0), curved(1)])
    assert kind == "smooth" and "The liquid and the crystal branch, trained on, have the same slope." in text
    # And where the order is hardly known nobody can say.
    vague = [line((X, 0.01), (1, 0.01), (value, 0.5)) for value in (1.0, 2.0)]
    assert decided(model, vague)[0] == "undecided"


def test_branches_without_any_error_are_compared():
    exact = branch_crossing(line((X, 0.0), (1, 0.0)), line((7 - X, 0.0), (-1, 0.0)))
    assert exact.location == pytest.approx(3.5, abs=1e-9) and exact.crosses
    table = plane(6, [lambda a, b: a, lambda a, b: 0.5], [[lambda a, b: 1.0, lambda a, b: 0.0], [lambda a, b: 0.0] * 2],
                  ("A", "B"), error=0.0)  # fmt: skip
    (found,) = phase_boundaries(table)
    np.testing.assert_allclose(found.points[:, 0], 0.5, atol=1e-9)


def test_a_row_that_was_not_measured_is_left_out_of_the_crossing():
    first, second = crossing_branches()
    first["energy"][2] = np.nan
    found = branch_crossing(first, second)
    assert found.crosses and found.location == pytest.approx(3.5, abs=1e-6)


# ------------------------------------------------------------------------------- a jump without branches


def test_a_jump_is_no_artefact_where_nothing_could_tell():
    order = (1 + 3 * STEP, 0.05)
    kind, text = decided(line((X, 0.01), None, order))
    assert kind == "undecided" and "the slope of the energy was not measured" in text
    for energy_error, slope_error in ((0.3, 0.6), (0.01, 0.3)):
        kind, text = decided(line((np.minimum(X, 3.5), energy_error), (1 - STEP, slope_error), order))
        assert kind == "undecided" and "cannot be told: their slope falls by 1.0" in text


def test_a_jump_is_an_artefact_where_the_slope_is_seen_not_to_fall_or_one_side_is_the_lower():
    order = (1 + 3 * STEP, 0.05)
    curved = X - X**2 / 20, 1 - X / 10
    kind, text = decided(line((curved[0], 0.01), (curved[1], 0.001), order))
    assert kind == "artefact" and "do not cross there" in text
    # The slope falls, and the state below the jump would be the lower above it, too.
    kind, text = decided(line((X + 3 * STEP - X**2 / 20, 0.01), (curved[1] - 0.2 * STEP, 0.01), order))
    assert kind == "artefact" and "do not cross there" in text


def test_slopes_without_an_order_parameter_that_are_nothing_but_noise_decide_nothing():
    kind, text = decided(line((np.minimum(X, 3.5), 0.3), (1 - STEP, 0.5)))
    assert kind == "undecided" and "nothing here could show a transition" in text


# ------------------------------------------------------------------------------- several transitions


THREE = line(
    (np.stack([X, np.full(8, 1.8), 6.1 - X]), 0.01), (np.array([[1.0], [0.0], [-1.0]]), 0.01), phases=("A", "B", "C")
)


def test_every_change_of_the_lowest_phase_is_reported():
    found = phase_crossings(THREE)
    assert [names for _, names in found] == [("A", "B"), ("B", "C")]
    np.testing.assert_allclose([crossing.location for crossing, _ in found], [1.8, 4.3], atol=1e-9)
    text = " ".join(phase_sentences(THREE, []))
    assert "of the A and of the B cross at U = 1.80" in text and "of the B and of the C cross at U = 4.30" in text
    finding = find_transition(THREE)
    (main, names), _ = competitors(THREE)
    assert names == ("B", "C") and finding.location == pytest.approx(4.3, abs=1e-6)
    assert [place for place, _ in finding.further] == pytest.approx([1.8])
    assert any("of the A and of the B cross at U = 1.80" in sentence for sentence in finding.sentences)
    assert find_transition(THREE, main, names).further == finding.further


def test_a_phase_that_comes_back_is_two_transitions_and_noise_about_a_crossing_one():
    x = np.linspace(0, 7, 15)
    hump = np.stack([np.zeros(15), 1.5 - x * (7 - x) / 6])
    slopes = np.stack([np.zeros(15), (2 * x - 7) / 6])
    found = phase_crossings(line((hump, 0.01), (slopes, 0.01), phases=("A", "B"), x=x))
    assert [names for _, names in found] == [("A", "B"), ("B", "A")]
    np.testing.assert_allclose(
        [crossing.location for crossing, _ in found], 3.5 + np.sqrt(12.25 - 9) * np.array([-1, 1])
    )
    noise = np.zeros((2, 8))
    noise[0, 3:5] = 0.02, -0.02
    shifted = np.stack([0.01 * (X - 3.5), np.zeros(8)]) + noise
    to_and_fro = line((shifted, 0.02), (np.array([[0.01], [0.0]]), 0.001), phases=("A", "B"))
    assert len(set(zip(ground_state(to_and_fro)["phase"].values, X > 3.5, strict=True))) == 4
    assert [names for _, names in phase_crossings(to_and_fro)] == [("A", "B")]


def test_a_change_that_too_few_rows_have_both_phases_of_is_named():
    energies = np.where([STEP == 0, STEP == 1], X, np.nan)
    text = phase_sentences(line((energies, 0.01), (1, 0.01), phases=("A", "B")), [])
    assert text == ["The lowest phase changes (A, B), but too few points have two phases to say where."]


def three_in_a_plane():
    energies = [lambda a, b: 3 * a, lambda a, b: 1.0, lambda a, b: 3 - 3 * a]
    slopes = [[lambda a, b: 3.0, lambda a, b: 0.0, lambda a, b: -3.0], [lambda a, b: 0.0] * 3]
    return plane(8, energies, slopes, ("A", "B", "C"))


def test_all_lines_of_a_plane_are_drawn():
    table = three_in_a_plane()
    assert [found.names for found in phase_boundaries(table)] == [("A", "B"), ("B", "C")]
    assert [np.round(found[:, 0].mean(), 3) for found in measured_boundary(table, None)] == [0.333, 0.667]


def test_three_coordinates_have_no_line_and_the_reason_is_said():
    points = np.array([(a, b, c) for a in range(3) for b in range(3) for c in range(2)])
    energies = np.stack([points[:, 0], np.full(len(points), 0.5)])
    text = find_transition(table_of(points, ("a", "b", "c"), {"energy": (energies, 0.01)}, ("A", "B"))).sentences[0]
    assert text == "A line between two phases is looked for in the plane of two coordinates, and 3 vary."


# ------------------------------------------------------------------------------- rows and intervals


def test_a_row_that_was_not_measured_switches_no_tangent_off():
    energy = np.array([0, 1, 5.0, 3, 4])
    whole = line((energy, 0.01), (1, 0.01), x=np.arange(5.0))
    for name in ("energy", "slope", "energy_error", "slope_error"):
        table = whole.copy(deep=True)
        table[name][4] = np.nan
        # A state whose slope is not known has no tangent, but may lie above those of others.
        np.testing.assert_array_equal(tangent_check(table).above, [False, False, True, False, False])


def two_phases():
    energies = np.stack([X, np.full(8, 3.2)])
    return line((energies, 1e-3), (np.array([[1.0], [0.0]]), 1e-3), phases=("liquid", "crystal"))


def record_of(table):
    return Record(Path(), table, ground_state(table), None, {}, "", {}, None, ())


def test_slopes_are_not_compared_across_a_change_of_the_phase():
    table = two_phases()
    lowest = slope_lines(ground_state(table))
    assert [found.rows.tolist() for found in lowest] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert all(found.check.agrees.all() for found in lowest)
    rows = slope_table(record_of(table)).rows
    assert len(rows) == 14 and not any(cell.flagged for row in rows for cell in row)
    assert rows[0][0].text == "U = 0 to 1 in the liquid"


def test_the_slope_of_one_coordinate_of_two_is_drawn_in_the_figure_of_a_transition():
    table = two_phases().rename(slope="slope_U", slope_error="slope_U_error")
    matrix = (("U", "other_U"), np.eye(8), {"units": "1"})
    chi = ("U", np.ones(8), {"units": "1"})
    table = table.assign(fidelity=matrix, fidelity_susceptibility=chi, fidelity_susceptibility_error=chi)
    finding = {"location": 3.2, "uncertainty": 0.1, "further": [[5.0, 0.1]]}
    panels = transition_figure(table, finding).axes
    texts = [text.get_text() for panel in panels for text in panel.texts]
    assert "no slope measured" not in texts and "no order parameter" in texts
    (slope,) = (panel for panel in panels if panel.get_ylabel() == "slope per electron")
    crosses = [line for line in slope.get_lines() if line.get_marker() == "x"]
    # Three intervals within each phase, none between the two.
    assert [np.round(one.get_ydata(), 9).tolist() for one in crosses] == [[1.0] * 3, [0.0] * 3]
    # The further transition is marked as well.
    assert sum(line.get_ls() == ":" for line in slope.get_lines()) == 2


def test_the_phase_of_a_plane_without_separate_phases_has_its_colours():
    side = np.linspace(0, 1, 3)
    points = np.array([(a, b) for a in side for b in side])
    high = points[:, 0] > 0.4
    table = table_of(points, ("a", "b"), {"energy": (0, 0.1), "S": (points[:, 0], 0.01), "peak": (high, 0)})
    table["S"].attrs.update(signature="peak", what="a peak")
    legend = order_figure(table).axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["liquid", "crystal"]


def test_captions_count_panels_and_know_curves_from_maps():
    names = {
        f"known_{name}": ("known", X.copy()) for name in ("exact", "exact_error", "upper_bound", "mean_field", "at_U")
    }
    table = line((X, 0.01)).assign(names)
    table.attrs.update(known_method="exact", known_mean_field_method="Hartree-Fock", known_remark="")
    assert " Lower panels: " in _energy(record_of(table))[0]
    table["known_mean_field"][:] = np.nan
    assert " Lower panel: " in _energy(record_of(table))[0]
    density = (("U", "x"), np.ones((8, 4)))
    ring = table.assign(density=density, density_error=density, supercell=(("vector", "component"), [[1.0]]))
    caption, words = _density(record_of(ring))
    assert "bands are one standard error" in caption and "dashed" not in caption.lower() and words.startswith("Curves")


@pytest.mark.parametrize("span", [2e-6, 1.0, 30.0, 2e6])
def test_points_of_a_scan_are_rounded_to_their_range(span):
    points = np.linspace(0, span, 12)[:, None]
    found = rounded(points, np.array([span]))
    assert len(np.unique(found)) == 12 and np.abs(found - points).max() < 1e-6 * span
    # What does not vary is not touched, however small it is.
    fixed = np.concatenate([points, np.full((12, 1), 2.2e-9)], axis=1)
    np.testing.assert_array_equal(rounded(fixed, np.array([span, 0.0]))[:, 1], 2.2e-9)
