"""Where the exact ground state changes its phase along a coordinate, in words."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import known_values, positions_on, single_axis, with_error

if TYPE_CHECKING:
    import xarray


def known_places(dataset: "xarray.Dataset") -> list[tuple[float, float]]:
    """Places and errors within the range of a table along a single coordinate; none in a plane or where not known."""
    axis, known = single_axis(dataset), known_values(dataset)
    if axis is None or known is None or axis.name not in known.names:
        return []
    x = positions_on(dataset, axis)
    return [(place, error) for place, error in known.places(axis.name) if x.min() <= place <= x.max()]


def known_place_sentences(dataset: "xarray.Dataset") -> list[str]:
    """One sentence for all of the [`known_places`][qernel.judgement.known_places], none without any."""
    axis, known, places = single_axis(dataset), known_values(dataset), known_places(dataset)
    if axis is None or known is None or not places:
        return []
    unit = axis.suffix
    listed = [with_error(place, error if np.isfinite(error) else 0.0) for place, error in places]
    text = listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
    return [f"The exact ground state changes its phase at {axis.symbol} = {text}{unit} ({known.method})."]
