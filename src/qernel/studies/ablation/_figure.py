"""What each variant of a wavefunction reaches, against what it costs."""

from typing import TYPE_CHECKING

import numpy as np

from ._analysis import ablation_error, ablation_seconds

from qernel.plotting import BLACK, BLUE, GREEN, ORANGE, PURPLE, RED, SKY, new_figure

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure

_LOOKS = tuple(
    (colour, marker)
    for colour, marker in zip(
        (BLACK, BLUE, RED, GREEN, SKY, ORANGE, PURPLE, "#8a6d3b", "#777777", "#a5d0a5"), "osD^v<>PX*", strict=True
    )
)


def ablation_figure(dataset: "xarray.Dataset") -> "Figure":
    """Mean error against the cost of the training, with error bars over seeds; beside it, the error at every depth.

    Takes the data set that `qernel ablate` writes. Depths in bold were held out of the family's training.
    """
    figure = new_figure(10.0, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25], sharey=True)
    names = [str(name) for name in dataset["variant"].values]
    depths = dataset["depth"].values
    held = ~dataset["family_depth"].values.astype(bool)
    shown, shift = [], np.linspace(-0.32, 0.32, len(names))
    for i, name in enumerate(names):
        colour, marker = _LOOKS[i % len(_LOOKS)]
        style = {"color": colour, "marker": marker, "ls": "none"}
        whole = ablation_error(dataset, name)
        left.errorbar(ablation_seconds(dataset, name), whole.mean, whole.error, ms=7, label=name, **style)
        each = [ablation_error(dataset, name, depths=np.arange(len(depths)) == j) for j in range(len(depths))]
        right.errorbar(np.arange(len(depths)) + shift[i], [e.mean for e in each], [e.error for e in each], **style)
        shown += [(e.mean - e.error, e.mean + e.error) for e in (whole, *each)]
    left.set_xlabel("training cost (s)")
    left.set_xlim(0, 1.1 * max(ablation_seconds(dataset, name) for name in names))
    unit = str(dataset.attrs["units"])
    exact = bool(dataset["reference_is_exact"].values.all())
    left.set_ylabel(f"{'$E - E_{exact}$' if exact else '$E - E_{reference}$'} ({unit})")
    right.set_xticks(np.arange(len(depths)), [f"{depth:g}" for depth in depths])
    for label, out in zip(right.get_xticklabels(), held, strict=True):
        label.set_weight("bold" if out else "normal")
    right.set_xlabel("moiré potential depth $V_0$ (meV)" + ("; bold: held out" if held.any() else ""))
    right.grid(axis="x", visible=False)
    for edge in np.arange(len(depths) - 1) + 0.5:
        right.axvline(edge, color="#e6e6e6", lw=0.6)
    low, high = np.nanmin(shown), np.nanmax(shown)
    if high > 1.0:
        # Errors span orders of magnitude, and small ones may be negative within their bars.
        left.set_yscale("symlog", linthresh=0.1, linscale=0.6)
        left.set_ylim(1.2 * min(low, -0.02), 1.5 * high)
    for panel in (left, right):
        panel.axhline(0, color=BLUE, lw=1.0, zorder=0)
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return figure
