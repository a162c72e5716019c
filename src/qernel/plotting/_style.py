"""Fonts, colours and figures that all drawings share."""

import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, distinct to colour-blind readers and in grey.
BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREEN = "#009E73"
BLUE = "#0072B2"
RED = "#D55E00"
PURPLE = "#CC79A7"
# Where a transition is.
SHADE = "#f0e4c8"

STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "errorbar.capsize": 2.0,
    "axes.formatter.use_mathtext": True,
    "axes.unicode_minus": True,
    "savefig.dpi": 180,
    "figure.dpi": 100,
}

_LETTER = re.compile(r"[A-Za-z](\([A-Za-z]\))?")


def new_figure(width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained") -> "Figure":
    """A figure with its own canvas: no pyplot, no window, no global state. `compressed` suits maps."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def bare(axes: "Axes") -> None:
    """Leave of a map nothing but the picture."""
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def in_math(symbol: str) -> str:
    """A symbol as figures print it: one letter, or a letter of a letter, in italics; anything else as it is."""
    return f"${symbol}$" if _LETTER.fullmatch(symbol) else symbol


def unit_text(unit: str) -> str:
    """A unit as figures print it: powers raised, the effective Bohr radius with its subscript."""
    unit = re.sub(r"^1/(\w+)$", r"\1$^{-1}$", unit)
    unit = re.sub(r"a_B\*(?:\^(\d))?", lambda match: f"$a_B^{{*{match[1] or ''}}}$", unit)
    return re.sub(r"(\w)\^(-?\d)", r"\1$^{\2}$", unit)


def with_unit(words: str, unit: str) -> str:
    """Label of an axis: words, and the unit in brackets where there is one."""
    return words if unit in ("", "1") else f"{words} ({unit_text(unit)})"


def smooth(values: Float[np.ndarray, "steps ..."], width: int) -> Float[np.ndarray, "steps ..."]:
    """Centred rolling mean over `width` steps, shorter at the ends, of the finite entries."""
    width = max(1, width)
    finite = np.isfinite(values)
    total = np.cumsum(np.where(finite, values, 0.0), axis=0)
    count = np.cumsum(finite, axis=0)
    steps = np.arange(len(values))
    high = np.minimum(steps + width // 2, len(values) - 1)
    low = steps - (width - 1 - width // 2) - 1
    pick = lambda sums: sums[high] - np.where(_columns(low >= 0, sums), sums[np.maximum(low, 0)], 0)
    number = pick(count)
    with np.errstate(invalid="ignore"):
        return np.where(number > 0, pick(total) / np.maximum(number, 1), np.nan)


def _columns(mask, like):
    return mask.reshape(-1, *(1,) * (like.ndim - 1))
