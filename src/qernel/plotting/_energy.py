"""Energy and its terms against the coordinates of the family."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.evaluation import (
    KnownValues,
    above_exact,
    axes_of,
    bound_at_rows,
    ground_state,
    in_order,
    known_at_rows,
    known_values,
    phases_of,
    rows_of,
    separate_phases,
    single_axis,
)

from ._known import draw_above_lowest, known_branches
from ._multiples import multiples
from ._palette import phase_colours, term_colours, term_label
from ._plane import Lines, measured_boundary
from ._quantity import Quantity, Scale
from ._rows import energy_unit, known_on_line, label_axis, places, shade_transition
from ._style import BLACK, BLUE, ORANGE, RED, new_figure, with_unit

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SQUARES = {"marker": "s", "ms": 8, "mfc": "none", "ls": "none"}


def energy_figure(dataset: "xarray.Dataset", boundary: Lines | None = None) -> "Figure":
    """Total energy and terms, how far separate phases lie apart, and the energy relative to known values.

    Along one coordinate curves in panels above one another; in a plane of two, maps, with the known boundary and the
    measured one (`boundary`) drawn in; of more, points against the first coordinate.
    """
    if len(axes_of(dataset)) > 1:
        return multiples(ground_state(dataset), _quantities(dataset), boundary=measured_boundary(dataset, boundary))
    rows = ground_state(dataset)
    known = known_values(dataset)
    order = in_order(rows)
    x = places(rows)[order]
    to_mean_field = bool(np.isfinite(known_at_rows(rows, "mean_field")).any())
    to_exact = bool(np.isfinite(known_at_rows(rows, "exact")).any())
    phases = separate_phases(dataset)
    to_bound = bool(np.isfinite(bound_at_rows(rows)).any())
    ratios = [3.0] + [1.5] * (bool(phases) + to_mean_field + to_bound + to_exact)
    figure = new_figure(6.4, 1.2 + 1.15 * sum(ratios))
    axes = np.atleast_1d(figure.subplots(len(ratios), 1, sharex=True, height_ratios=ratios))
    for panel in axes:
        shade_transition(panel, rows, label=panel is axes[0])
    _terms(axes[0], rows, known, x, order)
    if phases:
        _above_lowest(axes[1], dataset, phases)
    if known is not None and to_mean_field:
        _below_mean_field(axes[1 + bool(phases)], rows, known, x, order)
    if known is not None and to_bound:
        _above_bound(axes[1 + bool(phases) + to_mean_field], rows, known, x, order)
    if known is not None and to_exact:
        _above_exact(axes[-1], rows, known, x, order)
        for name in phases:
            _phase_above_exact(axes[-1], dataset, name)
        _other_levels(axes[-1], rows, known)
        axes[-1].legend(ncols=2, loc="upper right", borderaxespad=0.2)
    label_axis(axes[-1], rows)
    figure.align_ylabels()
    return figure


def _values(dataset, name, order) -> tuple[np.ndarray, np.ndarray]:
    return dataset[name].values[order], dataset[f"{name}_error"].values[order]


def _short_unit(dataset) -> str:
    return energy_unit(dataset).split()[0]


def _terms(axes: "Axes", dataset, known: KnownValues | None, x, order) -> None:
    colours = term_colours(dataset)
    for name, colour in colours.items():
        value, error = _values(dataset, name, order)
        axes.errorbar(x, value, error, color=colour, marker="o", label=term_label(dataset, name))
    if known is not None and known.has_exact:
        here, place = known_on_line(dataset, known), _known_places(dataset, known)
        for name, values in {"energy": known.exact, **known.terms}.items():
            colour = colours.get(name, BLACK)
            label = known.method if name == "energy" else None
            axes.plot(place[here], values[here], label=label, zorder=3, mec=colour, mew=1.0, **_SQUARES)
    axes.set_ylabel(with_unit("energy", energy_unit(dataset)))
    handles, labels = axes.get_legend_handles_labels()
    # Measured quantities first, then what they are compared with.
    measured = {term_label(dataset, name) for name in colours}
    first = sorted(range(len(labels)), key=lambda i: labels[i] not in measured)
    axes.legend([handles[i] for i in first], [labels[i] for i in first], ncols=2, loc="best")


def _known_places(dataset, known: KnownValues) -> np.ndarray:
    axis = single_axis(dataset)
    # A single Hamiltonian without coordinates stands at its number.
    return np.zeros(len(known.points)) if axis is None else known.coordinate(axis.name)


def _above_lowest(axes: "Axes", dataset, phases: "dict[str, xarray.Dataset]") -> None:
    """Every phase where it was measured, less the lowest one there."""
    lowest = np.nanmin(dataset["energy"].transpose("phase", ...).values, axis=0)
    colours = phase_colours(dataset)
    position = places(dataset)
    for name in phases:
        energy, error = (dataset[variable].sel(phase=name).values for variable in ("energy", "energy_error"))
        order = np.array([row for row in in_order(dataset) if np.isfinite(energy[row])], int)
        above = energy[order] - lowest[order]
        axes.errorbar(
            position[order], above, error[order], color=colours[name], marker="o", label=name.replace("_", " ")
        )
    low, high = axes.get_ylim()
    draw_above_lowest(axes, dataset)
    # What was measured sets the scale: far from where they compete exact levels lie far apart.
    axes.set_ylim(low, high)
    axes.set_ylabel(f"above the lowest\n({_short_unit(dataset)})")
    axes.legend(loc="best")


def _below_mean_field(axes: "Axes", dataset, known: KnownValues, x, order) -> None:
    """Correlation energy: how far below the best single determinant."""
    energy, error = _values(dataset, "energy", order)
    mean_field = known_at_rows(dataset, "mean_field")[order]
    here = np.isfinite(mean_field)
    axes.axhline(0, color=ORANGE, lw=1.2, label=known.mean_field_method)
    axes.errorbar(x[here], (energy - mean_field)[here], error[here], color=BLACK, marker="o", label="this wavefunction")
    both = known_on_line(dataset, known) & np.isfinite(known.exact - known.mean_field)
    if both.any():
        correlation = (known.exact - known.mean_field)[both]
        axes.plot(_known_places(dataset, known)[both], correlation, label=known.method, mec=BLUE, mew=1.2, **_SQUARES)
    axes.set_ylabel(f"$E$ − mean field\n({_short_unit(dataset)})")
    low, high = axes.get_ylim()
    # Room for the legend below the points.
    axes.set_ylim(low - 0.22 * (high - low), high)
    axes.legend(ncols=3, loc="lower right", borderaxespad=0.2)


def _above_bound(axes: "Axes", dataset, known: KnownValues, x, order) -> None:
    """Energies less the upper bounds of another method: below them is better."""
    energy, error = _values(dataset, "energy", order)
    bound = bound_at_rows(dataset)[order]
    here = np.isfinite(bound)
    axes.axhline(0, color=BLUE, lw=1.2, label=known.bound_method)
    above = (energy - bound)[here]
    axes.errorbar(x[here], above, error[here], color=BLACK, marker="o", ls="none", label="this wavefunction")
    axes.set_ylabel(f"$E$ − bound\n({_short_unit(dataset)})")
    low, high = axes.get_ylim()
    # Room for the legend above the points.
    axes.set_ylim(low, high + 0.4 * (high - low))
    axes.legend(ncols=2, loc="upper right", borderaxespad=0.2)


def _above_exact(axes: "Axes", dataset, known: KnownValues, x, order) -> None:
    energy, error = _values(dataset, "energy", order)
    exact, uncertainty = (known_at_rows(dataset, name)[order] for name in ("exact", "exact_error"))
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
    if np.nansum(uncertainty[here]) > 0:
        axes.errorbar(
            x[here],
            0 * x[here],
            uncertainty[here],
            color=BLUE,
            ls="none",
            capsize=4,
            label="uncertainty of the exact value",
        )
    bound = np.full(len(known.points), np.nan) if known.bound_method else known.upper_bound - known.exact
    bounded = known_on_line(dataset, known) & np.isfinite(bound)
    if bounded.any():
        place = _known_places(dataset, known)[bounded]
        axes.plot(place, bound[bounded], color=BLUE, marker="_", ms=9, ls="none", label=f"bound by {known.method}")
    low, high = axes.get_ylim()
    # Room for the legend above the points, and zero in sight.
    room = (1.1 if known.branches else 0.55) * max(high - min(low, 0.0), 1e-12)
    axes.set_ylim(min(low, -0.1 * room), max(high, 0.0) + room)
    axes.set_ylabel("$E - E_{\\mathrm{exact}}$\n" + f"({_short_unit(dataset)})")


def _phase_above_exact(axes: "Axes", dataset, name: str) -> None:
    """A separate phase against the exact level of its own."""
    against, x, colour = above_exact(dataset, name), places(dataset), phase_colours(dataset)[name]
    here = [row for row in in_order(dataset) if np.isfinite(against.value[row])]
    if here:
        label = f"{name.replace('_', ' ')}, from its own exact level"
        style = {"color": colour, "marker": "D", "ms": 4, "mfc": "none", "ls": "none"}
        axes.errorbar(x[here], against.value[here], against.error[here], label=label, **style)


def _other_levels(axes: "Axes", dataset, known: KnownValues) -> None:
    """The exact levels that are not the lowest, as far as they are in sight: where a model follows one it is stuck."""
    limits = axes.get_ylim()
    for branch, colour, here, place in known_branches(dataset):
        above = (branch.exact - known.exact)[here]
        there = np.isfinite(above)
        axes.plot(place[there], above[there], color=colour, lw=1.0, ls=":", label=f"exact, {branch.words}")
    axes.set_ylim(limits)


def _quantities(dataset) -> list[Quantity]:
    """Energies of the lowest phase, their terms, and their distance from known values and from other phases."""
    rows = ground_state(dataset)
    unit = energy_unit(rows)
    energy, error = (np.asarray(rows[name].values, np.float64) for name in ("energy", "energy_error"))
    found = []
    for name, colour in term_colours(rows).items():
        title = {"energy": "total energy", "kinetic": "kinetic energy"}.get(name, term_label(rows, name))
        values, errors = (np.asarray(rows[variable].values, np.float64) for variable in (name, f"{name}_error"))
        found.append(Quantity(values, errors, unit, title, colour))
    known = known_values(rows)
    columns: tuple[tuple[str, Scale, str], ...] = (("mean_field", "linear", ORANGE), ("exact", "signed", BLUE))
    for column, scale, colour in columns:
        reference = known_at_rows(rows, column)
        if known is not None and np.isfinite(reference).any():
            method = known.mean_field_method if column == "mean_field" else known.method
            title = f"energy less {method}"
            found.append(Quantity(energy - reference, error, unit, title, colour, scale))
    return found + _between_phases(dataset, unit)


def _between_phases(dataset, unit: str) -> list[Quantity]:
    """The difference of two phases, which changes its sign at their boundary; of more, of the two lowest ones."""
    names = phases_of(dataset)
    if len(names) < 2:
        return []
    energies, errors = (
        dataset[name].transpose("phase", rows_of(dataset)).values for name in ("energy", "energy_error")
    )
    if len(names) == 2:
        title = f"energy of the {names[1].replace('_', ' ')} less that of the {names[0].replace('_', ' ')}"
        return [Quantity(energies[1] - energies[0], np.hypot(*errors), unit, title, RED, "signed")]
    low, next_one = np.argsort(np.where(np.isfinite(energies), energies, np.inf), axis=0)[:2]
    column = np.arange(energies.shape[1])
    error = np.hypot(errors[low, column], errors[next_one, column])
    gap = energies[next_one, column] - energies[low, column]
    return [Quantity(gap, error, unit, "distance of the next phase from the lowest one", RED)]
