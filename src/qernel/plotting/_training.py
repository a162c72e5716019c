"""Curves of the training."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import axis_named, ground_state
from qernel.training import TrainingRecord

from ._style import BLACK, RED, new_figure, smooth, unit_text, with_unit

if TYPE_CHECKING:
    import xarray
    from matplotlib.figure import Figure


def training_figure(record: TrainingRecord, dataset: "xarray.Dataset | None" = None) -> "Figure":
    """Energy, variance, acceptance and step of every update, for several Hamiltonians.

    Energies are shown relative to the evaluated ones of the data set, or to the mean over the last tenth of
    the training: rolling means, with the single steps behind.
    """
    from matplotlib import colormaps

    columns = _columns(len(record.points))
    width = max(1, len(record.step) // 40)
    dataset = None if dataset is None else ground_state(dataset)
    reference, named = _reference(record, dataset)
    unit, squared = _units(dataset)
    figure = new_figure(9.0, 6.0)
    ((energy, acceptance), (variance, update)) = figure.subplots(2, 2, sharex=True)
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(columns)))
    for column, colour in zip(columns, colours, strict=True):
        above = record.energy[:, column] - reference[column]
        energy.plot(record.step, above, color=colour, lw=0.5, alpha=0.25)
        energy.plot(record.step, smooth(above, width), color=colour, label=record.labels[column])
        variance.plot(record.step, smooth(record.variance[:, column], width), color=colour)
        acceptance.plot(record.step, smooth(record.acceptance[:, column], width), color=colour)
    energy.axhline(0, color="grey", lw=0.8)
    energy.set_yscale("symlog", linthresh=_nearly_zero(record), linscale=0.8)
    energy.set_ylabel(f"energy − {named}\n({unit_text(unit)})")
    if record.names:
        energy.legend(title=_heads(record, dataset), ncols=2, loc="upper right")
    variance.set_yscale("log")
    variance.set_ylabel(f"variance of the local energy\n({unit_text(squared)})")
    acceptance.set_ylabel("acceptance")
    acceptance.set_ylim(0, 1)
    _update(update, record, width)
    for panel in (variance, update):
        panel.set_xlabel("step")
    figure.align_ylabels()
    return figure


def _units(dataset) -> tuple[str, str]:
    """Units of the energy and of the variance: the table of metrics, which has the same ones, does not name them."""
    energy, variance = "units of the results, per electron", "their square"
    if dataset is None:
        return energy, variance
    return str(dataset["energy"].attrs.get("units", energy)), str(dataset["variance"].attrs.get("units", variance))


def _heads(record: TrainingRecord, dataset) -> str:
    """What the labels of the Hamiltonians are values of."""
    known = [
        None if dataset is None or name not in dataset.coords else axis_named(dataset, name) for name in record.names
    ]
    heads = [
        name.replace("_", " ") if axis is None else with_unit(f"${axis.latex}$", axis.unit)
        for name, axis in zip(record.names, known, strict=True)
    ]
    return ", ".join(heads)


def _nearly_zero(record: TrainingRecord) -> float:
    """Differences below this are drawn on a linear scale: a power of ten, a few thousandths of the energies."""
    size = np.nanmedian(np.abs(record.energy)) if np.isfinite(record.energy).any() else 1.0
    return float(10.0 ** np.floor(np.log10(4e-3 * max(float(size), 1e-12))))


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
    refused = np.nan_to_num(record.refused) > 0
    if refused.any():
        axes.plot(
            record.step[refused], np.full(refused.sum(), 0.02), "|", color=RED, transform=axes.get_xaxis_transform()
        )
    counts = {
        "local energies were not finite": np.nansum(record.bad_walkers),
        "walkers were put elsewhere": np.nansum(record.redrawn_walkers),
        "steps were refused (marks)": refused.sum(),
    }
    words = "; ".join(f"{count:.0f} {text}" for text, count in counts.items() if count)
    if words:
        axes.set_title(words, color=RED, fontsize="small")


def _columns(count: int, most: int = 6) -> list[int]:
    return sorted({int(round(x)) for x in np.linspace(0, count - 1, min(count, most))})


def _reference(record: TrainingRecord, dataset) -> tuple[np.ndarray, str]:
    tail = max(1, len(record.step) // 10)
    with np.errstate(invalid="ignore"):
        late = np.nanmean(record.energy[-tail:], axis=0)
    if dataset is None or not record.names or any(name not in dataset.coords for name in record.names):
        return late, "its late mean"
    rows = np.stack([np.asarray(dataset[name].values, np.float64) for name in record.names], axis=1)
    scale = np.maximum(np.abs(record.points).max(axis=0), 1e-300)
    close = (np.abs(record.points[:, None] - rows) <= 1e-6 * scale).all(axis=2)
    if not close.any(axis=1).all():
        return late, "its late mean"
    return dataset["energy"].values[np.argmax(close, axis=1)], "evaluated energy"
