"""Curves of the training."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.training import TrainingRecord

from ._style import BLACK, RED, new_figure, smooth

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def training_figure(record: TrainingRecord, dataset: "xarray.Dataset | None" = None) -> "Figure":
    """Energy, variance, acceptance and step of every update, for several Hamiltonians.

    Energies are shown relative to the evaluated ones of the data set, or to the mean over the last tenth of
    the training: rolling means, with the single steps behind.
    """
    from matplotlib import colormaps

    columns = _columns(len(record.label))
    width = max(1, len(record.step) // 40)
    reference, named = _reference(record, dataset)
    figure = new_figure(9.0, 6.0)
    ((energy, acceptance), (variance, update)) = figure.subplots(2, 2, sharex=True)
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(columns)))
    for column, colour in zip(columns, colours, strict=True):
        above = record.energy[:, column] - reference[column]
        label = f"{record.label[column]:g}"
        energy.plot(record.step, above, color=colour, lw=0.5, alpha=0.25)
        energy.plot(record.step, smooth(above, width), color=colour, label=label)
        variance.plot(record.step, smooth(record.variance[:, column], width), color=colour)
        acceptance.plot(record.step, smooth(record.acceptance[:, column], width), color=colour)
    energy.axhline(0, color="grey", lw=0.8)
    energy.set_yscale("symlog", linthresh=0.1, linscale=0.8)
    energy.set_ylabel(f"energy − {named}\n(meV per electron)")
    energy.legend(title=r"$V_0$ (meV)", ncols=2, loc="upper right")
    variance.set_yscale("log")
    variance.set_ylabel(r"variance of the local energy" + "\n(meV² per electron²)")
    acceptance.set_ylabel("acceptance")
    acceptance.set_ylim(0, 1)
    _update(update, record, width)
    for panel in (variance, update):
        panel.set_xlabel("step")
    figure.align_ylabels()
    return figure


def _update(axes, record: TrainingRecord, width: int) -> None:
    axes.plot(record.step, record.step_norm, color=BLACK, lw=0.5, alpha=0.25)
    axes.plot(record.step, smooth(record.step_norm, width), color=BLACK, label="norm of the step")
    if np.isfinite(record.distance).any():
        axes.plot(record.step, smooth(record.distance, width), color=RED, label="distance moved by ψ")
    positive = np.concatenate([record.step_norm, record.distance])
    if np.any(positive > 0):
        axes.set_yscale("log")
    axes.set_ylabel("update")
    axes.legend()
    bad = np.nansum(record.bad_walkers, axis=1)
    if bad.any():
        axes.set_title(f"{bad.sum():.0f} local energies were not finite", color=RED)


def _columns(count: int, most: int = 6) -> list[int]:
    return sorted({int(round(x)) for x in np.linspace(0, count - 1, min(count, most))})


def _reference(record: TrainingRecord, dataset) -> tuple[np.ndarray, str]:
    tail = max(1, len(record.step) // 10)
    with np.errstate(invalid="ignore"):
        late = np.nanmean(record.energy[-tail:], axis=0)
    if dataset is None or "depth_meV" not in dataset.coords:
        return late, "its late mean"
    depth = dataset["depth_meV"].values
    close = np.abs(record.label[:, None] - depth) < 1e-6
    if not close.any(axis=1).all():
        return late, "its late mean"
    return dataset["energy"].values[np.argmax(close, axis=1)], "evaluated energy"
