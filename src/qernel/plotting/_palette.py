"""Colours and names of terms and phases, by their order in the table."""

import itertools
from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import order_parameters_of, phases_of, potentials_of

from ._style import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY

if TYPE_CHECKING:
    import xarray

_OF_POTENTIALS = (GREEN, BLUE, ORANGE, SKY, PURPLE)
_OF_PHASES = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY)
_NAMES = {"energy": "total"}


def term_colours(dataset: "xarray.Dataset") -> dict[str, str]:
    """A colour for every term of the energy: the total black, the kinetic energy red, then the potentials in order."""
    potentials = zip(potentials_of(dataset), itertools.cycle(_OF_POTENTIALS), strict=False)
    return {"energy": BLACK, "kinetic": RED} | dict(potentials)


def term_label(dataset: "xarray.Dataset", name: str) -> str:
    """A term of the energy in words: what a potential's label says, or its name."""
    plain = _NAMES.get(name, name.replace("_", " "))
    return str(dataset[name].attrs.get("long_name", plain)) if name in potentials_of(dataset) else plain


def phase_colours(dataset: "xarray.Dataset") -> dict[str, str]:
    """A colour for every phase of matter that the table knows, in their order."""
    known = np.atleast_1d(dataset.attrs.get("phases_of_matter", [])).tolist()
    orders = [dataset[name].attrs for name in order_parameters_of(dataset)]
    named = [str(attrs[side]) for attrs in orders for side in ("low", "high") if side in attrs]
    names = dict.fromkeys([*known, *phases_of(dataset), *named])
    return dict(zip(names, itertools.cycle(_OF_PHASES), strict=False))
