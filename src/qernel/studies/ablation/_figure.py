"""What each variant of a wavefunction reaches, against what it costs."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import axes_of, in_order, positions_on
from qernel.plotting import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY, new_figure, unit_text

from ._analysis import ablation_error, ablation_seconds

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

_COLOURS = (BLACK, BLUE, RED, GREEN, SKY, ORANGE, PURPLE, "#8a6d3b", "#777777", "#a5d0a5")
_MARKERS = "osD^v<>PX*hp"


def ablation_figure(dataset: "xarray.Dataset") -> "Figure":
    """Mean error against the cost of the training, with error bars over seeds; beside it, the error at every point.

    Takes the table of [`collect`][qernel.studies.ablation.collect]. Points in bold were held out of the training.
    """
    names = [str(name) for name in dataset["variant"].values]
    order, axes = in_order(dataset), axes_of(dataset)
    held = ~dataset["trained"].values.astype(bool)[order]
    places = np.arange(len(order))
    # Points in a plane have longer names.
    figure = new_figure(10.0 if len(axes) < 2 else max(10.0, 6.0 + 0.5 * len(order)), 4.2)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25], sharey=True)
    shown, shift = [], np.linspace(-0.32, 0.32, len(names))
    for i, name in enumerate(names):
        style = {"color": _COLOURS[i % len(_COLOURS)], "marker": _MARKERS[i % len(_MARKERS)], "ls": "none"}
        whole = ablation_error(dataset, name)
        left.errorbar(ablation_seconds(dataset, name), whole.mean, whole.error, ms=7, label=name, **style)
        each = [ablation_error(dataset, name, rows=np.arange(len(order)) == row) for row in order]
        right.errorbar(places + shift[i], [e.mean for e in each], [e.error for e in each], **style)
        shown += [(e.mean - e.error, e.mean + e.error) for e in (whole, *each)]
    left.set_xlabel("training cost (s)")
    left.set_xlim(0, 1.1 * max(ablation_seconds(dataset, name) for name in names))
    unit = unit_text(str(dataset["energy"].attrs["units"]))
    exact = bool(dataset["reference_is_exact"].values.all())
    left.set_ylabel(f"{'$E - E_{exact}$' if exact else '$E - E_{reference}$'} ({unit})")
    values = [positions_on(dataset, axis)[order] for axis in axes]
    texts = [", ".join(f"{value:g}" for value in point) for point in zip(*values, strict=True)] or [""] * len(order)
    right.set_xticks(places, texts, rotation=0 if len(axes) < 2 else 60)
    for label, out in zip(right.get_xticklabels(), held, strict=True):
        label.set_weight("bold" if out else "normal")
    text = axes[0].text if len(axes) == 1 else ", ".join(f"${axis.latex}$" for axis in axes)
    right.set_xlabel(text + ("; bold: held out" if held.any() else ""))
    right.grid(axis="x", visible=False)
    for edge in places[:-1] + 0.5:
        right.axvline(edge, color="#e6e6e6", lw=0.6)
    low, high = np.nanmin(shown), np.nanmax(shown)
    # Errors span orders of magnitude, and small ones, within a few of their bars, may be negative.
    small = 3 * float(np.nanmedian([(b - a) / 2 for a, b in shown]))
    if high > 10 * small > 0:
        left.set_yscale("symlog", linthresh=small, linscale=0.6)
        left.set_ylim(1.2 * min(low, -small / 5), 1.5 * high)
    for panel in (left, right):
        panel.axhline(0, color=BLUE, lw=1.0, zorder=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure
