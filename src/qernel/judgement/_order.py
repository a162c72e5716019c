"""Liquid or crystal, and where one turns into the other, in words."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.lattice import Lattice

from qernel.evaluation import phase_crossing
from qernel.evaluation import with_error
from ._jump import Transition, steepest_stretch
from qernel.observables import zone_corners

if TYPE_CHECKING:
    import xarray

# A smaller change of S(K) is no change of order.
_SMALLEST_JUMP = 0.2


def transition(dataset: "xarray.Dataset") -> Transition | None:
    """The jump of the structure factor at the zone corner along the coordinate, None if there is none."""
    stretch = steepest_stretch(
        dataset[str(dataset.attrs["axis"])].values,
        dataset["structure_factor_K"].values,
        dataset["structure_factor_K_error"].values,
    )
    if stretch is None or not stretch.is_jump or abs(stretch.jump) < _SMALLEST_JUMP:
        return None
    return stretch


def phase_sentences(dataset: "xarray.Dataset", advice: list[str]) -> list[str]:
    """Which rows are liquid and which crystal, and how sharp the transition between them is."""
    if "structure_factor_K" not in dataset:
        return []
    order = dataset["structure_factor_K"].values
    if not np.isfinite(order).any():
        return []
    axis = str(dataset.attrs["axis"])
    unit = dataset[axis].attrs.get("units", "1")
    name, suffix = ("V0", " meV") if axis == "depth_meV" else (axis, "" if unit == "1" else f" {unit}")
    x = dataset[axis].values
    jump = transition(dataset)
    sentences = _competition(dataset, name, suffix)
    if jump is None:
        return [*sentences, *_without_transition(dataset, x, order, name, suffix, advice)]
    rising = jump.jump > 0
    below, above = x <= jump.low, x >= jump.high
    first, second = (below, above) if rising else (above, below)
    words = ("up to", "from") if rising else ("from", "up to")
    edges = (jump.low, jump.high) if rising else (jump.high, jump.low)
    sentences += [
        f"Liquid {words[0]} {name} = {edges[0]:g}{suffix} (S(K) {_range(order[first])}), crystal {words[1]} "
        f"{edges[1]:g}{suffix} (S(K) {_range(order[second])})."
    ]
    how = (
        "within one step of the grid"
        if jump.steps == 1
        else f"over {jump.steps} steps of the grid, a width of {jump.high - jump.low:g}{suffix}"
    )
    sentences.append(
        f"The transition lies between {jump.low:g} and {jump.high:g}{suffix}: S(K) changes by "
        f"{with_error(jump.jump, jump.jump_error)} there, {jump.share:.0%} of its whole variation, {how}."
    )
    sentences += _interaction(dataset, x, jump, suffix)
    if jump.steps == 1:
        advice.append(f"evaluate near {jump.centre:g}{suffix} to locate the transition closer")
    return sentences


def _competition(dataset: "xarray.Dataset", name: str, suffix: str) -> list[str]:
    """Which of the phases that were trained separately is the ground state, and where their energies cross."""
    if "phase" not in dataset:
        return []
    found = phase_crossing(dataset)
    lowest = sorted(set(dataset["phase"].values.tolist()))
    if found is None:
        return [f"The {lowest[0]} has the lower energy everywhere."] if len(lowest) == 1 else []
    crossing, (first, second) = found
    if not crossing.crosses:
        return [
            f"The lowest phase changes from {first} to {second}, but the two are not different states there: no "
            "crossing of levels."
        ]
    units = str(dataset["energy"].attrs["units"])
    return [
        f"First-order transition: the energies of the {first} and of the {second} cross at {name} = "
        f"{with_error(crossing.location, crossing.error)}{suffix}, where their slopes differ by "
        f"{with_error(abs(crossing.kink), crossing.kink_error)} {units} per{suffix or ' unit'}."
    ]


def _range(values: np.ndarray) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.2f}" if round(low, 2) == round(high, 2) else f"{low:.2f} to {high:.2f}"


def _interaction(dataset: "xarray.Dataset", x: np.ndarray, jump: Transition, suffix: str) -> list[str]:
    if "interaction" not in dataset:
        return []
    stretch = steepest_stretch(x, dataset["interaction"].values, dataset["interaction_error"].values)
    if stretch is None:
        return []
    units = str(dataset["interaction"].attrs["units"])
    change = f"{with_error(stretch.jump, stretch.jump_error)} {units}"
    # The same place if the stretches overlap.
    if stretch.low < jump.high and stretch.high > jump.low:
        return [
            f"The interaction energy changes fastest in the same place, by {change}, "
            f"{stretch.steeper:.1f} times as fast as elsewhere."
        ]
    return [
        f"The interaction energy changes fastest between {stretch.low:g} and {stretch.high:g}{suffix} "
        f"(by {change}), not where S(K) does: the two signs of the transition do not coincide."
    ]


def _without_transition(dataset, x, order, name, suffix, advice) -> list[str]:
    if len(x) < 4:
        listed = ", ".join(f"{value:.2f} at {place:g}{suffix}" for place, value in zip(x, order, strict=True))
        advice.append("evaluate at four depths or more to look for a transition")
        return [f"Too few depths to look for a transition; S(K) is {listed}."]
    sharp = np.array([has_peak_at_corner(dataset, row) for row in range(len(x))])
    span = f"between {x.min():g} and {x.max():g}{suffix}"
    change = f"S(K) goes smoothly from {order[np.argmin(x)]:.2f} to {order[np.argmax(x)]:.2f}"
    if sharp.all():
        return [f"No transition {span}: {change}, and peaks at K like a crystal's everywhere."]
    if not sharp.any():
        return [f"No transition {span}: {change}, with no peak at K: liquid everywhere."]
    places = ", ".join(f"{value:g}" for value in x[sharp])
    return [f"No sharp transition {span}: {change}; a peak stands at K for {name} = {places}{suffix}."]


def has_peak_at_corner(dataset: "xarray.Dataset", row: int) -> bool:
    """Whether S(q) at K exceeds 1 and every other S(q) but those at the potential's own Bragg peaks."""
    if "structure_factor" not in dataset or "moire_lattice" not in dataset:
        return False
    vectors = dataset["wave_vector"].values
    turns = vectors @ dataset["moire_lattice"].values.T / (2 * np.pi)
    bragg = np.all(np.abs(turns - np.round(turns)) < 1e-6, axis=1)
    corners = zone_corners(Lattice(dataset["moire_lattice"].values))
    if len(corners) == 0:
        return False
    # K, K' and what is equivalent to them.
    offsets = (vectors[:, None] - corners) @ dataset["moire_lattice"].values.T / (2 * np.pi)
    corner = np.any(np.all(np.abs(offsets - np.round(offsets)) < 1e-6, axis=-1), axis=1)
    others = dataset["structure_factor"].values[row][~bragg & ~corner]
    value = float(dataset["structure_factor_K"].values[row])
    return bool(value > 1 and (len(others) == 0 or value > np.nanmax(others)))
