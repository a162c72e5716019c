"""Fonts, colours and labels that all figures share."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int

from qernel.judgement import transition

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, distinct to colour-blind readers and in grey.
BLACK, ORANGE, SKY, GREEN, BLUE, RED, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
OF_TERM = {"energy": BLACK, "kinetic": RED, "moire": GREEN, "interaction": BLUE}
OF_PHASE = {"liquid": BLUE, "crystal": RED}
OTHERS = (ORANGE, SKY, PURPLE)
TRANSITION_LABEL = r"$S(K)$ jumps"

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

_AXIS_TEXT = {
    "depth_meV": r"moiré potential depth $V_0$ (meV)",
    "phase_degrees": r"moiré phase $\varphi$ (degrees)",
    "effective_mass": r"effective mass $m^*$ ($m_e$)",
    "dielectric": r"dielectric constant $\varepsilon_r$",
    "lattice_constant_nm": r"moiré lattice constant $a_M$ (nm)",
}


def new_figure(width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained") -> "Figure":
    """A figure with its own canvas: no pyplot, no window, no global state. `compressed` suits maps."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout=layout)


def axis_text(dataset: "xarray.Dataset") -> str:
    """Label of the horizontal axis."""
    axis = str(dataset.attrs["axis"])
    return _AXIS_TEXT.get(axis, axis.replace("_", " "))


def row_text(dataset: "xarray.Dataset", row: int) -> str:
    """Title of one row, such as V₀ = 12.5 meV."""
    axis = str(dataset.attrs["axis"])
    value = float(dataset[axis].values[row])
    if axis == "depth_meV":
        return rf"$V_0$ = {value:g} meV"
    return f"{axis.replace('_', ' ')} = {value:g}"


def energy_unit(dataset: "xarray.Dataset") -> str:
    """Unit of energies per electron, for labels: `meV per electron`."""
    return str(dataset["energy"].attrs.get("units", "per electron"))


def in_order(dataset: "xarray.Dataset") -> Int[np.ndarray, " rows"]:
    """Rows by increasing coordinate."""
    return np.argsort(dataset[str(dataset.attrs["axis"])].values, kind="stable")


def shade_transition(axes: "Axes", dataset: "xarray.Dataset", label: bool = False) -> None:
    """Mark the interval in which the structure factor jumps, if it does."""
    found = transition(dataset)
    if found is not None:
        text = TRANSITION_LABEL if label else None
        axes.axvspan(found.low, found.high, color="#f0e4c8", lw=0, zorder=0, label=text)


def chosen_rows(dataset: "xarray.Dataset", count: int = 4) -> list[int]:
    """About `count` rows to show as maps: the ends, both sides of a transition, and evenly between."""
    order = in_order(dataset)
    if len(order) <= count:
        return [int(row) for row in order]
    x = dataset[str(dataset.attrs["axis"])].values[order]
    places = [0, len(order) - 1]
    found = transition(dataset)
    if found is not None:
        places += [int(np.searchsorted(x, found.low)), int(np.searchsorted(x, found.high))]
    places = sorted(set(places))
    while len(places) < count:
        # Halve the widest gap.
        gaps = [(x[b] - x[a], a, b) for a, b in zip(places, places[1:], strict=False) if b - a > 1]
        if not gaps:
            break
        _, a, b = max(gaps)
        middle = a + 1 + int(np.argmin(np.abs(x[a + 1 : b] - (x[a] + x[b]) / 2)))
        places = sorted({*places, middle})
    return [int(order[place]) for place in places[:count]]


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
