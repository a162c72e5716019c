"""Is there a transition, where, and of which kind: all evidence together, in words."""

from typing import TYPE_CHECKING, Literal

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from qernel.judgement import BranchCrossing, branch_crossing
from qernel.judgement import transition
from qernel.evaluation import with_error
from qernel.judgement import tangent_check, tangents_meet
from qernel.judgement import Transition, steepest_stretch

if TYPE_CHECKING:
    import xarray

Kind = Literal["first order", "smooth", "artefact", "undecided"]

# A branch below the model by less than this, in meV per electron, is no other phase.
_NOTICEABLE = 0.02
_SIGMA = 4.0


class TransitionFinding(eqx.Module):
    """What a scan of a wavefunction and two branches of it say about the transition.

    - `kind`: `first order` (two phases exchange their order: a crossing of levels), `smooth` (no sharp transition),
      `artefact` (the wavefunction jumps, but the energies of the two sides do not cross there: a discontinuity of the
      network, or a phase that is never the lowest) or `undecided` (too few rows).
    - `location`, `uncertainty`: of a first-order transition, in the unit of the family's coordinate; else NaN.
    - `trustworthy`: whether the model itself follows the lower phase on both sides.
    - `sentences`: the finding and its evidence in words.
    """

    kind: Kind
    location: float
    uncertainty: float
    trustworthy: bool
    sentences: tuple[str, ...]


def find_transition(
    scan: "xarray.Dataset",
    branches: tuple["xarray.Dataset", "xarray.Dataset"] | None = None,
    names: tuple[str, str] = ("liquid", "crystal"),
) -> TransitionFinding:
    r"""Combine the jumps of S(K) and of the interaction energy, the fidelity susceptibility, the variational principle
    and the crossing of two branches.

    The energy decides: a first-order transition is where the lower of two phases changes, whatever the network does. A
    jump of the model counts only if the energies of its two sides cross there (their tangents, or better two branches
    that were trained on from either phase), and a crossing of the branches counts even if the model is stuck in one of
    them. The uncertainty adds the statistical error of the crossing and half of its distance from the place where the
    model itself changes.

    **Arguments:**

    - `scan`: data set of the model, with at least four rows; `fidelity_susceptibility` and `expert_usage` are used if
      they are there.
    - `branches`: data sets of two phases at the same rows as each other, preferably among those of the scan.
    - `names`: what to call them.
    """
    axis = str(scan.attrs["axis"])
    scan = scan.isel({scan["energy"].dims[0]: np.argsort(scan[axis].values, kind="stable")})
    words = _Words(axis, scan)
    jump = transition(scan)
    if scan["energy"].size < 4:
        return TransitionFinding(
            "undecided", np.nan, np.nan, False, ("Too few rows to look for a transition: four or more.",)
        )
    crossing = None if branches is None else branch_crossing(*branches)
    above = tangent_check(scan)
    unfit = _above_branches(scan, branches, names, words)
    if above is not None and above.above.any() and not unfit:
        unfit = [
            f"At {words.places(above.above)} another row of the same model has the lower energy, by up to "
            f"{np.max(above.excess[above.above]):.2g} {words.energy}: the model is in the wrong phase, or not trained."
        ]
    evidence = [*_jumps(scan, jump, words), *_susceptibility(scan, words), *unfit]
    if crossing is not None and crossing.crosses:
        kind, place, error, first = _of_crossing(crossing, jump, names, words)
    elif jump is not None:
        kind, place, error, first = _of_jump(scan, jump, crossing, names, words)
    else:
        kind, place, error, first = "smooth", np.nan, np.nan, [_smooth(scan, crossing, names, words)]
    if crossing is not None and crossing.distinct.any():
        both = crossing.parameter[crossing.distinct]
        evidence.append(
            f"Both branches keep their phase from {both.min():g} to {words.at(both.max())}: hysteresis."
            if len(both) > 1
            else f"The branches differ in phase at {words.at(both[0])} only."
        )
    return TransitionFinding(kind, float(place), float(error), not unfit and kind != "artefact", (*first, *evidence))


class _Words:
    """The coordinate's name and unit, and the unit of energies."""

    def __init__(self, axis: str, dataset: "xarray.Dataset"):
        unit = str(dataset[axis].attrs.get("units", "1"))
        self.x = np.asarray(dataset[axis].values, np.float64)
        self.name = "V0" if axis == "depth_meV" else axis
        self.unit = "" if unit == "1" else f" {unit}"
        self.energy = str(dataset["energy"].attrs.get("units", "per electron"))

    def at(self, value: float) -> str:
        return f"{value:.4g}{self.unit}"

    def places(self, rows: Bool[np.ndarray, " rows"], x: Float[np.ndarray, " rows"] | None = None) -> str:
        return ", ".join(f"{value:.4g}" for value in (self.x if x is None else x)[rows]) + self.unit


def _of_crossing(crossing: BranchCrossing, jump: Transition | None, names, words: _Words):
    place, error = crossing.location, crossing.error
    lower, upper = names if crossing.kink < 0 else names[::-1]
    first = [
        f"First-order transition: the energies of the {names[0]} and of the {names[1]} branch cross at "
        f"{words.name} = {with_error(place, error)}{words.unit}, the {lower} being the lower below and the {upper} "
        f"above; their slopes differ by {with_error(abs(crossing.kink), crossing.kink_error)} there."
    ]
    if jump is None:
        return "first order", place, error, [*first, "The model itself shows no jump there."]
    offset = abs(jump.centre - place)
    inside = offset <= (jump.high - jump.low) / 2 + 3 * error
    first.append(
        f"The model changes its phase between {jump.low:g} and {words.at(jump.high)}, "
        + ("where the branches cross." if inside else f"{words.at(offset)} away from the crossing of the branches.")
    )
    return "first order", place, float(np.hypot(error, offset / 2)), first


def _of_jump(scan, jump: Transition, crossing: BranchCrossing | None, names, words: _Words):
    rows = [int(np.argmin(np.abs(words.x - edge))) for edge in (jump.low, jump.high)]
    meet, error = tangents_meet(scan, *rows)
    width = jump.high - jump.low
    where = f"between {jump.low:g} and {words.at(jump.high)}"
    if crossing is None and jump.low - width <= meet <= jump.high + width and _has_kink(scan, *rows):
        text = (
            f"First-order transition at {words.name} = {words.at(meet)}: the model changes its phase {where}, and the "
            "energies of its two sides cross there. No branches were trained to confirm it."
        )
        return "first order", meet, float(np.hypot(error, width / 2)), [text]
    reason = "the energies of its two sides do not cross there"
    if crossing is not None:
        reason = (
            f"the {names[0]} and the {names[1]} branch do not cross: one is the lower throughout"
            if crossing.distinct.any()
            else f"the {names[0]} and the {names[1]} branch, trained on, are one and the same state"
        )
    usage = _usage_jump(scan, jump)
    return (
        "artefact",
        np.nan,
        np.nan,
        [
            f"The model jumps {where}, but {reason}: a discontinuity of the network, not of the Hamiltonian."
            + (f" The use of its experts jumps at the same place, by {usage:.0%}." if usage > 0.1 else "")
        ],
    )


def _has_kink(scan, first: int, last: int) -> bool:
    """Whether the slope of the energy changes by more between two rows than its curvature on either side explains."""
    x = np.asarray(scan[str(scan.attrs["axis"])].values, np.float64)
    slope, error = scan["slope"].values, scan["slope_error"].values
    sides = [(a, b) for a, b in ((first - 1, first), (last, last + 1)) if a >= 0 and b < len(x)]
    if not sides:
        return False
    width = x[last] - x[first]
    smooth = np.mean([width * (slope[b] - slope[a]) / (x[b] - x[a]) for a, b in sides])
    # Every slope enters with its own weight; those of the inner rows twice.
    inner = sum(np.hypot(error[a], error[b]) * width / (x[b] - x[a]) for a, b in sides) / len(sides)
    return bool(
        abs(slope[last] - slope[first] - smooth) > _SIGMA * np.hypot(np.hypot(error[first], error[last]), inner)
    )


def _smooth(scan, crossing: BranchCrossing | None, names, words: _Words) -> str:
    order = scan["structure_factor_K"].values
    span = f"between {words.x.min():g} and {words.at(words.x.max())}"
    change = (
        f"S(K) goes smoothly from {order[0]:.2f} to {order[-1]:.2f}"
        if np.isfinite(order).all()
        else "no quantity jumps"
    )
    text = f"No sharp transition {span}: {change}."
    if crossing is None:
        return text
    pair = f"The {names[0]} and the {names[1]} branch, trained on,"
    if (np.abs(crossing.difference) < _SIGMA * crossing.difference_error).all() and not crossing.distinct.any():
        return f"{text} {pair} are one and the same state."
    lower = names[0] if np.median(crossing.difference) > 0 else names[1]
    same = "" if crossing.distinct.any() else f" {pair} have the same order, S(K) within 0.2."
    return f"{text}{same} The {lower} branch is the lower{' throughout' if np.isnan(crossing.location) else ' mostly'}."


def _jumps(scan, jump: Transition | None, words: _Words) -> list[str]:
    found = []
    if jump is not None:
        found.append(
            f"S(K) changes by {with_error(jump.jump, jump.jump_error)} between {jump.low:g} and {words.at(jump.high)}."
        )
    if "interaction" in scan:
        stretch = steepest_stretch(words.x, scan["interaction"].values, scan["interaction_error"].values)
        if stretch is not None:
            found.append(
                f"Half of the change of the interaction energy, {with_error(stretch.jump, stretch.jump_error)} "
                f"{words.energy}, falls between {stretch.low:g} and {words.at(stretch.high)}."
            )
    return found


def _susceptibility(scan, words: _Words) -> list[str]:
    if "fidelity_susceptibility" not in scan:
        return []
    chi, error = scan["fidelity_susceptibility"].values, scan["fidelity_susceptibility_error"].values
    top = int(np.nanargmax(chi))
    ratio = chi[top] / np.nanmedian(chi)
    units = str(scan["fidelity_susceptibility"].attrs.get("units", ""))
    edge = " (the edge of the scan)" if top in (0, len(chi) - 1) else ""
    return [
        f"The fidelity susceptibility is largest at {words.at(words.x[top])}{edge}, "
        f"{with_error(chi[top], error[top])} {units}, {ratio:.1f} times its median."
    ]


def _above_branches(scan, branches, names, words: _Words) -> list[str]:
    """Where a branch has a lower energy than the model: the model is stuck in the other phase."""
    if branches is None:
        return []
    axis = str(scan.attrs["axis"])
    found = []
    for branch, name in zip(branches, names, strict=True):
        x = np.asarray(branch[axis].values, np.float64)
        same = np.array([int(np.argmin(np.abs(words.x - value))) for value in x])
        excess = scan["energy"].values[same] - branch["energy"].values
        error = np.hypot(scan["energy_error"].values[same], branch["energy_error"].values)
        lower = (np.abs(words.x[same] - x) < 1e-9) & (excess > _SIGMA * error) & (excess > _NOTICEABLE)
        if lower.any():
            worst = int(np.argmax(np.where(lower, excess, -np.inf)))
            order = [data["structure_factor_K"].values for data in (scan, branch)]
            other = abs(order[0][same[worst]] - order[1][worst]) > 0.2
            found.append(
                f"At {words.places(lower, x)} the {name} branch lies below the model, by up to "
                f"{with_error(excess[worst], error[worst])} {words.energy}: "
                + ("the model is stuck in another phase there." if other else "the model is not fully trained there.")
            )
    return found


def _usage_jump(scan, jump: Transition) -> float:
    """Largest change of an expert's share across the jump."""
    if "expert_usage" not in scan:
        return 0.0
    x = np.asarray(scan[str(scan.attrs["axis"])].values)
    usage = scan["expert_usage"].values
    low, high = (int(np.argmin(np.abs(x - edge))) for edge in (jump.low, jump.high))
    return float(np.max(np.abs(usage[high] - usage[low])))
