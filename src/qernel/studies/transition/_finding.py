"""Is there a transition, where, and of which kind: all evidence together, in words."""

from typing import TYPE_CHECKING, Literal

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from qernel.evaluation import (
    Axis,
    axes_of,
    ground_state,
    in_order,
    positions_on,
    rows_of,
    single_axis,
    slope_of,
    with_error,
)
from qernel.judgement import (
    BranchCrossing,
    Jump,
    PhaseBoundary,
    branch_crossing,
    competitors,
    crossing_sentence,
    interaction_of,
    known_place_sentences,
    momenta_at_crossing,
    order_jump,
    order_parameter,
    phase_boundaries,
    phase_crossings,
    steepest_stretch,
    stretch_of,
    tangent_check,
)

from ._sides import sides_of

if TYPE_CHECKING:
    import xarray

Kind = Literal["first order", "smooth", "artefact", "undecided"]

# A branch below the model by less than this share of the energy is no other phase.
_NOTICEABLE = 4e-4
_SIGMA = 4.0
# A kink of the energy changes the slope within one step more than twice as fast as on either side. A smooth change does
# so only if the grid is too coarse for it; from 1.4 times on the rows cannot tell the two apart.
_KINK = 2.0
_NEARLY = 1.4
# Nor is a step of the slope a kink by less than this share of its whole change: a wavefunction's own error may do that,
# and rows that lie close together show it.
_SHARE = 0.1


class TransitionFinding(eqx.Module):
    """What a scan of a wavefunction and two branches of it say about the transition.

    - `kind`: `first order` (two phases exchange their order: a crossing of levels), `smooth` (no sharp transition),
      `artefact` (the wavefunction jumps, but the energies of the two sides do not cross there: a discontinuity of the
      network, or a phase that is never the lowest) or `undecided` (too few rows, or nothing that could tell).
    - `location`, `uncertainty`: of a first-order transition along one coordinate, in its unit; else NaN.
    - `trustworthy`: whether the finding is one, and the model itself follows the lower phase on both sides.
    - `sentences`: the finding and its evidence in words.
    - `boundaries`: the lines between two phases each in the plane of two coordinates.
    - `further`: places and errors of the other transitions between separate phases along one coordinate, of which
      `location` is the one with the largest step of the energy.
    """

    kind: Kind
    location: float
    uncertainty: float
    trustworthy: bool
    sentences: tuple[str, ...]
    boundaries: tuple[PhaseBoundary, ...] = ()
    further: tuple[tuple[float, float], ...] = ()


def find_transition(
    scan: "xarray.Dataset",
    branches: tuple["xarray.Dataset", "xarray.Dataset"] | None = None,
    names: tuple[str, str] = ("first", "second"),
) -> TransitionFinding:
    r"""Combine the jumps of the order parameter, of the interaction energy and of the slope, the fidelity
    susceptibility, the variational principle and the crossing of two branches.

    The energy decides: a first-order transition is where the lower of two phases changes, whatever the network does. A
    jump of the model counts only if the energies of its two sides cross there (their tangents, or better two branches
    that were trained on from either phase), and a crossing of the branches counts even if the model is stuck in one of
    them. The uncertainty adds the statistical error of the crossing and half of its distance from the place where the
    model itself changes. Without an order parameter the slope of the energy and the branches decide, and if neither was
    measured nothing does. In a plane the line on which two phases have one energy is the finding.

    **Arguments:**

    - `scan`: data set of the model, with at least four rows; `fidelity_susceptibility` and `expert_usage` are used if
      they are there.
    - `branches`: data sets of two phases at the same rows as each other, preferably among those of the scan; by default
      the first [`competitors`][qernel.judgement.competitors] of a scan that holds its phases apart.
    - `names`: what to call them.
    """
    axis = single_axis(scan)
    if axis is None:
        return _in_a_plane(scan)
    pairs = competitors(scan)
    if branches is None and pairs:
        branches, names = pairs[0]
    others = [(crossing, pair) for crossing, pair in phase_crossings(scan) if pair != names]
    scan = ground_state(scan)
    scan = scan.isel({rows_of(scan): in_order(scan)})
    words = _Words(axis, scan)
    if len(words.x) < 4:
        return _undecided("Too few rows to look for a transition: four or more.")
    jump = order_jump(scan)
    crossing = None if branches is None else branch_crossing(*branches)
    above = tangent_check(scan)
    unfit = _above_branches(scan, branches, names, words)
    if above is not None and above.above.any() and not unfit:
        unfit = [
            f"At {words.places(above.above)} another row of the same model has the lower energy, by up to "
            f"{np.max(above.excess[above.above]):.2g} {words.energy}: the model is in the wrong phase, or not trained."
        ]
    more = [crossing_sentence(scan, *one) for one in others]
    exact = known_place_sentences(scan)
    evidence = [*more, *exact, *_changes(scan, words), *_susceptibility(scan, words), *unfit]
    if crossing is not None and crossing.crosses:
        kind, place, error, first = _of_crossing(crossing, jump, names, words)
    elif jump is not None:
        kind, place, error, first = _of_jump(scan, jump, crossing, names, words)
    else:
        kind, place, error, first = _of_slope(scan, crossing, names, words)
    if crossing is not None and branches is not None and crossing.crosses:
        momenta = momenta_at_crossing(*branches, crossing, names)
        evidence += [momenta] * bool(momenta)
    if crossing is not None and crossing.distinct.any():
        both = crossing.parameter[crossing.distinct]
        evidence.append(
            f"Both branches keep their phase from {both.min():g} to {words.at(both.max())}: hysteresis."
            if len(both) > 1
            else f"The branches differ in phase at {words.at(both[0])} only."
        )
    trustworthy = not unfit and kind in ("first order", "smooth")
    further = tuple((one.location, one.error) for one, _ in others if one.crosses)
    return TransitionFinding(kind, float(place), float(error), trustworthy, (*first, *evidence), further=further)


def _undecided(sentence: str) -> TransitionFinding:
    return TransitionFinding("undecided", np.nan, np.nan, False, (sentence,))


class _Words:
    """The coordinate's name and unit, and the unit of energies."""

    def __init__(self, axis: Axis, dataset: "xarray.Dataset"):
        self.x = positions_on(dataset, axis)
        self.axis, self.name, self.unit = axis, axis.symbol, axis.suffix
        self.energy = str(dataset["energy"].attrs.get("units", "per electron"))
        name = order_parameter(dataset)
        self.order = "" if name is None else str(dataset[name].attrs.get("symbol", name))

    def at(self, value: float) -> str:
        return f"{value:.4g}{self.unit}"

    def places(self, rows: Bool[np.ndarray, " rows"], x: Float[np.ndarray, " rows"] | None = None) -> str:
        return ", ".join(f"{value:.4g}" for value in (self.x if x is None else x)[rows]) + self.unit


def _of_crossing(crossing: BranchCrossing, jump: Jump | None, names, words: _Words):
    place, error = crossing.location, crossing.error
    lower, upper = names if crossing.kink < 0 else names[::-1]
    first = [
        f"First-order transition: the energies of the {names[0]} and of the {names[1]} branch cross at "
        f"{words.name} = {with_error(place, error)}{words.unit}, the {lower} being the lower below and the {upper} "
        f"above; their slopes differ by {with_error(abs(crossing.kink), crossing.kink_error)} there."
    ]
    if np.isfinite(crossing.limit):
        at = f"{with_error(crossing.limit, crossing.limit_error)}{words.unit}"
        first.append(f"At zero variance they cross at {at}, systematic error included.")
    if jump is None:
        if words.order:
            first.append(f"{words.order} of the model itself shows no jump there.")
        return "first order", place, error, first
    offset = abs(jump.centre - place)
    inside = offset <= (jump.high - jump.low) / 2 + 3 * error
    first.append(
        f"The model changes its phase between {jump.low:g} and {words.at(jump.high)}, "
        + ("where the branches cross." if inside else f"{words.at(offset)} away from the crossing of the branches.")
    )
    return "first order", place, float(np.hypot(error, offset / 2)), first


def _of_jump(scan, jump: Jump, crossing: BranchCrossing | None, names, words: _Words):
    where = f"between {jump.low:g} and {words.at(jump.high)}"
    if crossing is None:
        kind, place, error, reason = _of_sides(scan, jump, words)
        if kind == "first order":
            text = (
                f"First-order transition at {words.name} = {words.at(place)}: the model changes its phase {where}, and "
                "the energies of its two sides cross there. No branches were trained to confirm it."
            )
            return kind, place, error, [text]
    else:
        certain, reason = _of_branches(crossing, names, words)
        kind = "artefact" if certain else "undecided"
    text = f"The model jumps {where}, but {reason}"
    text += ": a discontinuity of the network, not of the Hamiltonian." if kind == "artefact" else "."
    usage = _usage_jump(scan, jump, words.axis)
    if usage > 0.1:
        text += f" The use of its experts jumps at the same place, by {usage:.0%}."
    return kind, np.nan, np.nan, [text]


def _of_branches(crossing: BranchCrossing, names, words: _Words) -> tuple[bool, str]:
    """Whether two branches are certain not to cross as two phases do, and what is known of them, in words."""
    pair = f"the {names[0]} and the {names[1]} branch"
    if not crossing.distinct.any():
        if not crossing.resolved:
            return False, f"the order of {pair} is not known well enough to tell them apart"
        if crossing.equal:
            return True, f"{pair}, trained on, are one and the same state"
        return True, f"{pair}, trained on, have the same {'order' if words.order else 'slope'}"
    if not np.isfinite(crossing.location):
        if crossing.apart:
            return True, f"{pair} do not cross: one is the lower throughout"
        return False, f"which of {pair} is the lower cannot be told at all of their points"
    place = f"{words.name} = {with_error(crossing.location, crossing.error)}{words.unit}"
    if crossing.has_kink:
        return False, f"{pair} cross at {place}, where they are not told apart"
    return False, f"{pair} cross at {place}, with slopes that do not differ by more than their errors allow to tell"


def _of_sides(scan, jump: Jump, words: _Words) -> tuple[Kind, float, float, str]:
    """Whether the energies of the two sides of a jump cross there with different slopes: the place and its error, or
    what is known against it, in words."""
    name = slope_of(scan, words.axis)
    if name is None or not np.isfinite(scan[name].values).all():
        text = "the slope of the energy was not measured: whether the energies of its two sides cross cannot be told"
        return "undecided", np.nan, np.nan, text
    sides, width = sides_of(scan, jump), jump.high - jump.low
    if jump.low - width <= sides.place <= jump.high + width and sides.fall > _SIGMA * sides.fall_error:
        return "first order", sides.place, float(np.hypot(sides.place_error, width / 2)), ""
    absent = sides.fall + _SIGMA * sides.fall_error < _SHARE * np.ptp(scan[name].values)
    if absent or np.any(sides.gaps + _SIGMA * sides.gap_errors < 0):
        return "artefact", np.nan, np.nan, "the energies of its two sides do not cross there"
    text = (
        "whether the energies of its two sides cross there cannot be told: their slope falls by "
        f"{with_error(sides.fall, sides.fall_error)} more than its changes beside explain"
    )
    return "undecided", np.nan, np.nan, text


def _of_slope(scan, crossing: BranchCrossing | None, names, words: _Words):
    """The finding without a jump of an order parameter: a jump of the slope, or a kink of the energy, whose sides cross
    is a transition of first order."""
    undecided = lambda text: ("undecided", np.nan, np.nan, [text])
    if crossing is not None:
        certain, reason = _of_branches(crossing, names, words)
        if not certain:
            span = f"between {words.x.min():g} and {words.at(words.x.max())}"
            return undecided(f"The model changes without a jump {span}, but {reason}.")
    smooth = ("smooth", np.nan, np.nan, [_smooth(scan, crossing, names, words)])
    if crossing is not None and crossing.distinct.any():
        return smooth
    name = slope_of(scan, words.axis)
    if name is None or not np.isfinite(scan[name].values).all():
        if words.order:
            return smooth
        return undecided(
            "Neither an order parameter nor the slope of the energy was measured: nothing here could show a transition."
        )
    slope, error = scan[name].values, scan[f"{name}_error"].values
    stretch = steepest_stretch(words.x, slope, error)
    if stretch is None or not stretch.is_jump:
        stretch = _sharpest_step(words.x, slope, error)
    if stretch is None:
        # A step between two rows would have to be larger than that of the whole range to stand out of the noise.
        if not words.order and not np.ptp(slope) > np.sqrt(2) * _SIGMA * np.median(error):
            return undecided(
                "The slope of the energy does not change by more than its errors allow to tell, and no order parameter "
                "was measured: nothing here could show a transition."
            )
        return smooth
    if crossing is None and stretch.steeper >= _KINK:
        kind, place, place_error, _ = _of_sides(scan, stretch, words)
        if kind == "first order":
            text = (
                f"First-order transition at {words.name} = {words.at(place)}: the slope of the energy jumps between "
                f"{stretch.low:g} and {words.at(stretch.high)}, and the energies of the two sides cross there. "
                + (f"{words.order} shows no jump, and" if words.order else "No order parameter and")
                + " no branches confirm it."
            )
            return kind, place, place_error, [text]
    if words.order:
        return smooth
    return undecided(
        f"The slope of the energy changes fastest between {stretch.low:g} and {words.at(stretch.high)}, too gradually "
        "to tell a transition from a smooth change: no order parameter was measured."
    )


def _sharpest_step(
    x: Float[np.ndarray, " rows"], slope: Float[np.ndarray, " rows"], error: Float[np.ndarray, " rows"]
) -> Jump | None:
    """The step of the grid in which the slope changes most beyond what it does on either side, None if none stands out.

    A kink may be a small part of the whole change of the slope, the rest of which is the curvature of the energy.
    """
    width, count = np.diff(x), len(x) - 1
    # Rows of weights of the slopes: the rate of change in each step, and the mean of those of the steps beside it.
    rates = (np.eye(count, count + 1, 1) - np.eye(count, count + 1)) / width[:, None]
    beside = np.eye(count, count, 1) + np.eye(count, count, -1)
    apart = rates - (beside / beside.sum(axis=1, keepdims=True)) @ rates
    excess, sigma = np.abs(apart @ slope), np.maximum(np.sqrt(apart**2 @ error**2), 1e-300)
    rate = np.abs(rates @ slope)
    steeper = rate / np.maximum(np.max(beside * rate, axis=1), 1e-300)
    noticeable = excess * width > _SHARE * np.ptp(slope)
    found = np.flatnonzero((excess > _SIGMA * sigma) & (steeper > _NEARLY) & noticeable)
    if len(found) == 0:
        return None
    step = int(found[np.argmax((excess / sigma)[found])])
    jump = float(slope[step + 1] - slope[step])
    return Jump(
        low=float(x[step]),
        high=float(x[step + 1]),
        steps=1,
        jump=jump,
        jump_error=float(np.hypot(error[step], error[step + 1])),
        share=abs(jump) / float(np.ptp(slope)),
        steeper=float(steeper[step]),
        extent=float(width[step] / (x[-1] - x[0])),
    )


def _smooth(scan, crossing: BranchCrossing | None, names, words: _Words) -> str:
    span = f"between {words.x.min():g} and {words.at(words.x.max())}"
    name = order_parameter(scan)
    change = "the slope of the energy changes without a jump"
    if name is not None and np.isfinite(scan[name].values).all():
        order = scan[name].values
        change = f"{words.order} goes smoothly from {order[0]:.2f} to {order[-1]:.2f}"
    text = f"No sharp transition {span}: {change}."
    if crossing is None:
        return text
    if not crossing.distinct.any():
        _, reason = _of_branches(crossing, names, words)
        text = f"{text} {reason[0].upper()}{reason[1:]}."
        if crossing.equal:
            return text
    lower = names[0] if np.median(crossing.difference) > 0 else names[1]
    return f"{text} The {lower} branch is the lower{' throughout' if np.isnan(crossing.location) else ' mostly'}."


def _changes(scan, words: _Words) -> list[str]:
    """Where order parameter and interaction energy make half of their change."""
    found = []
    for name in (order_parameter(scan), interaction_of(scan)):
        if name is None:
            continue
        stretch = stretch_of(scan, name)
        if stretch is not None:
            is_order = name == order_parameter(scan)
            what = words.order if is_order else f"the {name.replace('_', ' ')} energy"
            unit = "" if is_order else f" {words.energy}"
            found.append(
                f"Half of the change of {what}, {with_error(stretch.jump, stretch.jump_error)}{unit}, "
                f"falls between {stretch.low:g} and {words.at(stretch.high)}."
            )
    return found


def _susceptibility(scan, words: _Words) -> list[str]:
    if "fidelity_susceptibility" not in scan:
        return []
    chi, error = scan["fidelity_susceptibility"].values, scan["fidelity_susceptibility_error"].values
    top = int(np.nanargmax(chi))
    ratio = chi[top] / np.nanmedian(chi)
    units = str(scan["fidelity_susceptibility"].attrs.get("units", "")).removeprefix("1 ").strip()
    edge = " (the edge of the scan)" if top in (0, len(chi) - 1) else ""
    return [
        f"The fidelity susceptibility is largest at {words.at(words.x[top])}{edge}, "
        f"{with_error(chi[top], error[top])}{'' if units == '1' else ' ' + units}, {ratio:.1f} times its median."
    ]


def _above_branches(scan, branches, names, words: _Words) -> list[str]:
    """Where a branch has a lower energy than the model: the model is stuck in the other phase."""
    if branches is None:
        return []
    order, found = order_parameter(scan), []
    noticeable = _NOTICEABLE * float(np.abs(np.median(scan["energy"].values)))
    for branch, name in zip(branches, names, strict=True):
        x = positions_on(branch, words.axis)
        same = np.array([int(np.argmin(np.abs(words.x - value))) for value in x])
        excess = scan["energy"].values[same] - branch["energy"].values
        error = np.hypot(scan["energy_error"].values[same], branch["energy_error"].values)
        lower = (np.abs(words.x[same] - x) < 1e-9) & (excess > _SIGMA * error) & (excess > noticeable)
        if lower.any():
            worst = int(np.argmax(np.where(lower, excess, -np.inf)))
            other = False
            if order is not None:
                there, here = branch[order].values[worst], scan[order].values[same[worst]]
                other = abs(here - there) > float(scan[order].attrs["smallest"])
            found.append(
                f"At {words.places(lower, x)} the {name} branch lies below the model, by up to "
                f"{with_error(excess[worst], error[worst])} {words.energy}: "
                + ("the model is stuck in another phase there." if other else "the model is not fully trained there.")
            )
    return found


def _usage_jump(scan, jump: Jump, axis: Axis) -> float:
    """Largest change of an expert's share across the jump."""
    if "expert_usage" not in scan:
        return 0.0
    x = positions_on(scan, axis)
    usage = scan["expert_usage"].values
    low, high = (int(np.argmin(np.abs(x - edge))) for edge in (jump.low, jump.high))
    return float(np.max(np.abs(usage[high] - usage[low])))


def _in_a_plane(scan) -> TransitionFinding:
    boundaries = phase_boundaries(scan)
    axes = axes_of(scan)
    evidence = []
    for axis in axes:
        name = f"fidelity_susceptibility_{axis.name}"
        if name in scan:
            top = int(np.nanargmax(scan[name].values))
            point = ", ".join(f"{a.symbol} = {positions_on(scan, a)[top]:.4g}" for a in axes)
            value = with_error(float(scan[name].values[top]), float(scan[f"{name}_error"].values[top]))
            evidence.append(f"The fidelity susceptibility along {axis.symbol} is largest at {point}, {value}.")
    if not boundaries:
        text = (
            f"A line between two phases is looked for in the plane of two coordinates, and {len(axes)} vary."
            if len(axes) != 2
            else "No line between two phases was found: the wavefunction holds no phases that were measured "
            "separately, one of them is the lowest everywhere, too few points have both of two phases, or the slopes "
            "of their energies differ by no more than their errors allow to tell."
        )
        return TransitionFinding("undecided", np.nan, np.nan, False, (text, *evidence))
    sentences = [text for boundary in boundaries for text in boundary.sentences]
    return TransitionFinding("first order", np.nan, np.nan, True, (*sentences, *evidence), boundaries)
