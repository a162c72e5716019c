"""Energy and its terms against the parameter of the family."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import separate_phases
from qernel.evaluation import KnownValues, known_values

from ._style import (
    BLACK,
    BLUE,
    OF_PHASE,
    OF_TERM,
    ORANGE,
    OTHERS,
    SKY,
    TRANSITION_LABEL,
    axis_text,
    energy_unit,
    in_order,
    new_figure,
    shade_transition,
)

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES = {"energy": "total", "moire": "moiré potential"}


def energy_figure(dataset: "xarray.Dataset") -> "Figure":
    """Total energy and terms; below, how far separate phases lie above the lowest one, and the energy relative to
    Hartree-Fock and to exact values where known."""
    known = known_values(dataset)
    order = in_order(dataset)
    x = dataset[str(dataset.attrs["axis"])].values[order]
    to_mean_field = known is not None and bool(np.isfinite(known.hartree_fock_at(x)).any())
    to_exact = known is not None and bool(np.isfinite(known.exact_at(x)[0]).any())
    phases = separate_phases(dataset)
    ratios = [3.0] + [1.5] * bool(phases) + [1.5] * to_mean_field + [1.5] * to_exact
    figure = new_figure(6.4, 1.2 + 1.15 * sum(ratios))
    axes = np.atleast_1d(figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios))
    for panel in axes:
        shade_transition(panel, dataset, label=panel is axes[0])
    _terms(axes[0], dataset, known, x, order)
    if phases:
        _above_lowest(axes[1], dataset, phases)
    if known is not None and to_mean_field:
        _below_mean_field(axes[1 + bool(phases)], dataset, known, x, order)
    if known is not None and to_exact:
        _above_exact(axes[-1], dataset, known, x, order)
    axes[-1].set_xlabel(axis_text(dataset))
    figure.align_ylabels()
    return figure


def _values(dataset, name, order) -> tuple[np.ndarray, np.ndarray]:
    return dataset[name].values[order], dataset[f"{name}_error"].values[order]


def _terms(axes: "Axes", dataset, known: KnownValues | None, x, order) -> None:
    others = iter(OTHERS)
    for name in ("energy", "kinetic", *np.atleast_1d(dataset.attrs["potentials"]).tolist()):
        value, error = _values(dataset, name, order)
        colour = OF_TERM.get(name) or next(others, ORANGE)
        label = _NAMES.get(name, name.replace("_", " "))
        axes.errorbar(x, value, error, color=colour, marker="o", label=label)
    if known is not None and len(known.depth):
        for name in ("exact", "kinetic", "moire", "interaction"):
            colour = OF_TERM.get(name, BLACK)
            label = "exact diagonalisation" if name == "exact" else None
            style = {"marker": "s", "ms": 8, "mfc": "none", "mec": colour, "ls": "none", "mew": 1.0}
            axes.plot(known.depth, getattr(known, name), label=label, zorder=3, **style)
    axes.set_ylabel(f"energy ({energy_unit(dataset)})")
    handles, labels = axes.get_legend_handles_labels()
    # Measured quantities first, then what they are compared with.
    first = sorted(range(len(labels)), key=lambda i: labels[i] in ("exact diagonalisation", TRANSITION_LABEL))
    axes.legend([handles[i] for i in first], [labels[i] for i in first], ncols=2, loc="lower left")


def _above_lowest(axes: "Axes", dataset, phases: "dict[str, xarray.Dataset]") -> None:
    """Every phase where it was measured, less the lowest one there."""
    axis, others = str(dataset.attrs["axis"]), iter(OTHERS)
    lowest = dict(zip(dataset[axis].values.tolist(), dataset["energy"].values, strict=True))
    for name, phase in phases.items():
        order = np.argsort(phase[axis].values)
        x = phase[axis].values[order]
        energy, error = _values(phase, "energy", order)
        above = energy - np.array([lowest[place] for place in x.tolist()])
        colour = OF_PHASE.get(name) or next(others, SKY)
        axes.errorbar(x, above, error, color=colour, marker="o", label=name.replace("_", " "))
    axes.set_ylabel(f"above the lowest\n({energy_unit(dataset).split()[0]})")
    axes.legend(loc="upper left")


def _below_mean_field(axes: "Axes", dataset, known: KnownValues, x, order) -> None:
    """Correlation energy: how far below Hartree-Fock."""
    energy, error = _values(dataset, "energy", order)
    mean_field = known.hartree_fock_at(x)
    here = np.isfinite(mean_field)
    axes.axhline(0, color=ORANGE, lw=1.2, label="Hartree-Fock")
    axes.errorbar(x[here], (energy - mean_field)[here], error[here], color=BLACK, marker="o", label="this wavefunction")
    both = known.hartree_fock_at(known.depth)
    style = {"marker": "s", "ms": 8, "mfc": "none", "mec": BLUE, "ls": "none", "mew": 1.2}
    if np.isfinite(both).any():
        axes.plot(known.depth, known.exact - both, label="exact diagonalisation", **style)
    axes.set_ylabel(f"$E - E_{{HF}}$\n({energy_unit(dataset).split()[0]})")
    low, high = axes.get_ylim()
    # Room for the legend below the points.
    axes.set_ylim(low - 0.22 * (high - low), high)
    axes.legend(ncols=3, loc="lower right", borderaxespad=0.2)


def _above_exact(axes: "Axes", dataset, known: KnownValues, x, order) -> None:
    energy, error = _values(dataset, "energy", order)
    exact, uncertainty = known.exact_at(x)
    here = np.isfinite(exact)
    axes.axhline(0, color=BLUE, lw=1.0)
    axes.errorbar(
        x[here],
        (energy - exact)[here],
        error[here],
        color=BLACK,
        marker="o",
        ls="none",
        label="this wavefunction",
    )
    axes.errorbar(
        x[here],
        0 * x[here],
        uncertainty[here],
        color=BLUE,
        ls="none",
        capsize=4,
        label="uncertainty of the exact value",
    )
    bound = known.upper_bound - known.exact
    axes.plot(known.depth, bound, color=BLUE, marker="_", ms=9, ls="none", label="bound by exact diagonalisation")
    low, high = axes.get_ylim()
    # Room for the legend above the points.
    axes.set_ylim(min(low, -0.02), max(high, 0.05) * 1.55)
    axes.set_ylabel(f"$E - E_{{exact}}$\n({energy_unit(dataset).split()[0]})")
    axes.legend(ncols=2, loc="upper right", borderaxespad=0.2)
