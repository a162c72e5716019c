"""Which rows are in which phase of matter, and where one turns into another, in words."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import (
    Axis,
    ground_state,
    lowest_phases,
    order_parameters_of,
    phases_of,
    positions_on,
    single_axis,
    with_error,
)

from ._jump import Jump, stretch_of
from ._phase_boundary import phase_boundaries
from ._phase_crossing import crossing_sentence, phase_crossings

if TYPE_CHECKING:
    import xarray


def order_parameter(dataset: "xarray.Dataset") -> str | None:
    """Name of the first order parameter that was measured at any row, None without one."""
    for name in order_parameters_of(dataset):
        if np.isfinite(dataset[name].values).any():
            return name
    return None


def order_jump(dataset: "xarray.Dataset") -> Jump | None:
    """The stretch of the coordinate over which the order parameter makes half of its change, if that is a jump.

    None without an order parameter, with several coordinates, or where the change is gradual or smaller than one of a
    phase.
    """
    lowest, axis, name = ground_state(dataset), single_axis(dataset), order_parameter(dataset)
    if axis is None or name is None:
        return None
    stretch = stretch_of(lowest, name)
    if stretch is None or not stretch.is_jump or abs(stretch.jump) < float(dataset[name].attrs["smallest"]):
        return None
    return stretch


def phase_sentences(dataset: "xarray.Dataset", advice: list[str]) -> list[str]:
    """Which rows are in which phase, and how sharp the change between them is."""
    axis = single_axis(dataset)
    if axis is None:
        return _in_a_plane(dataset)
    sentences = _competition(dataset, axis)
    name = order_parameter(dataset)
    if name is None:
        return sentences
    lowest = ground_state(dataset)
    jump = order_jump(dataset)
    if jump is None:
        return [*sentences, *_without_jump(lowest, axis, name, advice)]
    return [*sentences, *_across_jump(lowest, axis, name, jump, advice)]


def _symbol(dataset: "xarray.Dataset", name: str) -> str:
    return str(dataset[name].attrs.get("symbol", name))


def _across_jump(lowest: "xarray.Dataset", axis: Axis, name: str, jump: Jump, advice: list[str]) -> list[str]:
    x, order, symbol = positions_on(lowest, axis), lowest[name].values, _symbol(lowest, name)
    low, high = str(lowest[name].attrs["low"]), str(lowest[name].attrs["high"])
    sides = [(low, "up to", jump.low, x <= jump.low), (high, "from", jump.high, x >= jump.high)]
    if jump.jump < 0:
        sides = [(low, "from", jump.high, x >= jump.high), (high, "up to", jump.low, x <= jump.low)]
    parts = [f"{phase} {word} {axis.value(edge)} ({symbol} {_range(order[rows])})" for phase, word, edge, rows in sides]
    sentences = [f"By {symbol}: {', '.join(parts)}, against {axis.symbol}."]
    change = (
        f"{symbol} changes by {with_error(jump.jump, jump.jump_error)} between {jump.low:g} and {axis.value(jump.high)}"
    )
    if jump.steps == 1:
        sentences.append(f"{change}, {jump.share:.0%} of its whole variation within one step of the grid.")
        advice.append(f"evaluate near {axis.value(jump.centre)} to locate the transition closer")
    else:
        sentences.append(
            f"{change}, {jump.share:.0%} of its whole variation over {jump.steps} steps of the grid, "
            f"{jump.steeper:.1f} times as fast as elsewhere: it is resolved, a width of "
            f"{axis.value(jump.high - jump.low)}, and alone does not say whether the states jump."
        )
    return [*sentences, *_interaction(lowest, axis, jump, symbol)]


def _interaction(lowest: "xarray.Dataset", axis: Axis, jump: Jump, symbol: str) -> list[str]:
    """Where the interaction energy makes half of its change, beside the stretch of the order parameter."""
    name = interaction_of(lowest)
    if name is None:
        return []
    stretch = stretch_of(lowest, name)
    if stretch is None:
        return []
    change = f"{with_error(stretch.jump, stretch.jump_error)} {lowest[name].attrs['units']}"
    where = f"between {stretch.low:g} and {axis.value(stretch.high)}"
    text = f"Half of the change of the {name.replace('_', ' ')} energy, {change}, falls {where}"
    if stretch.low >= jump.low and stretch.high <= jump.high:
        return [f"{text}, within the stretch of {symbol}."]
    if stretch.low < jump.high and stretch.high > jump.low:
        return [
            f"{text}, which overlaps with the stretch of {symbol}: {stretch.steeper:.1f} times as fast as elsewhere."
        ]
    return [f"{text}, not where {symbol} changes: the two signs of a transition do not coincide."]


def interaction_of(dataset: "xarray.Dataset") -> str | None:
    """Name of the first potential through which electrons act on one another, None without one."""
    names = np.atleast_1d(dataset.attrs.get("interactions", [])).tolist()
    return str(names[0]) if names else None


def _competition(dataset: "xarray.Dataset", axis: Axis) -> list[str]:
    """Which of the phases that were trained separately is the ground state, and where their energies cross."""
    if not phases_of(dataset):
        return []
    phases = list(dict.fromkeys(lowest_phases(dataset)))
    if len(phases) > 1:
        found = [crossing_sentence(dataset, *crossing) for crossing in phase_crossings(dataset)]
        listed = ", ".join(phases)
        return found or [f"The lowest phase changes ({listed}), but too few points have two phases to say where."]
    (name,) = phases
    rest = dataset.sel(phase=[other for other in phases_of(dataset) if other != name])
    lowest = dataset.sel(phase=name)
    gap, error = rest["energy"] - lowest["energy"], np.hypot(rest["energy_error"], lowest["energy_error"])
    close = (gap < 2 * error).any("phase").values
    if close.all():
        return [f"The {name} has the lowest energy everywhere, but within errors that of another phase is equal to it."]
    where = ", ".join(f"{x:g}" for x in np.sort(positions_on(dataset, axis)[close]))
    equal = f", within errors equal to that of another phase at {axis.symbol} = {where}{axis.suffix}" if where else ""
    return [f"The {name} has the lower energy everywhere{equal}."]


def _in_a_plane(dataset: "xarray.Dataset") -> list[str]:
    """Phases of matter in a plane of coordinates, in words: which are lowest somewhere, and the line between two."""
    if not phases_of(dataset):
        return []
    counts = dict(zip(*np.unique(lowest_phases(dataset), return_counts=True), strict=True))
    size = sum(counts.values())
    listed = ", ".join(f"the {name} at {count} of {size} points" for name, count in counts.items())
    sentences = [f"The lowest phase is {listed}."]
    return sentences + [text for boundary in phase_boundaries(dataset) for text in boundary.sentences]


def _range(values: np.ndarray) -> str:
    low, high = float(np.min(values)), float(np.max(values))
    return f"{low:.2f}" if round(low, 2) == round(high, 2) else f"{low:.2f} to {high:.2f}"


def _without_jump(lowest: "xarray.Dataset", axis: Axis, name: str, advice: list[str]) -> list[str]:
    x, order, symbol = positions_on(lowest, axis), lowest[name].values, _symbol(lowest, name)
    if len(x) < 4:
        listed = ", ".join(f"{value:.2f} at {axis.value(place)}" for place, value in zip(x, order, strict=True))
        advice.append("evaluate at four points or more to look for a transition")
        return [f"Too few points to look for a transition; {symbol} is {listed}."]
    span = f"between {x.min():g} and {axis.value(x.max())}"
    change = f"{symbol} goes without a jump from {order[np.argmin(x)]:.2f} to {order[np.argmax(x)]:.2f}"
    signature = str(lowest[name].attrs.get("signature", ""))
    if signature not in lowest:
        return [f"No jump of {symbol} {span}: {change}."]
    shows, what = lowest[signature].values > 0.5, str(lowest[name].attrs["what"])
    low, high = str(lowest[name].attrs["low"]), str(lowest[name].attrs["high"])
    if shows.all():
        return [f"No jump of {symbol} {span}: {change}, with {what} like that of a {high} everywhere."]
    if not shows.any():
        return [f"No jump of {symbol} {span}: {change}, and nowhere {what}: {low} everywhere."]
    places = ", ".join(f"{value:g}" for value in np.sort(x[shows]))
    return [f"No jump of {symbol} {span}: {change}; there is {what} for {axis.symbol} = {places}{axis.suffix}."]
