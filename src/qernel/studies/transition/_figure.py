"""All evidence of a transition in one figure."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qernel.evaluation import (
    axes_of,
    ground_state,
    known_values,
    lowest_phases,
    phases_of,
    positions_on,
    read_netcdf,
    rows_of,
    separate_phases,
    single_axis,
    slope_of,
)
from qernel.judgement import branch_crossing, competitors, interaction_of, order_parameter, slope_lines
from qernel.plotting import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    Quantity,
    category_map,
    draw_known_branches,
    draw_known_slopes,
    energy_unit,
    exact_difference,
    in_math,
    mark_known_places,
    measured,
    multiples,
    new_figure,
    phase_colours,
    save_figure,
    with_unit,
)

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Branches = "dict[str, xarray.Dataset]"


def draw_transition(run_dir: str | os.PathLike, out: str | os.PathLike | None = None) -> Path:
    """Draw the figure of a transition study from what it left in a directory, and return its path.

    **Raises:** `ValueError` if there is no scan.
    """
    folder = Path(run_dir)
    finding = folder / "transition.json"
    if not finding.is_file():
        raise ValueError(f"{folder} holds no transition.json: run 'qernel transition {folder}' first")
    rows = read_netcdf(folder / "transition.nc")
    plain = json.loads(finding.read_text())
    branches = {}
    if "branches" in plain and not phases_of(rows):
        names = plain["branches"]["names"]
        branches = {name: read_netcdf(folder / "branches" / name / "results.nc") for name in names}
    target = folder / "figures" if out is None else Path(out)
    target.mkdir(parents=True, exist_ok=True)
    return save_figure(lambda rows: transition_figure(rows, plain, branches), rows, target / "transition.png")


def transition_figure(
    rows: "xarray.Dataset", finding: dict[str, Any], branches: "dict[str, xarray.Dataset] | None" = None
) -> "Figure":
    """Order parameter, interaction energy, branches and slope; susceptibility, overlaps, trial states and experts.

    In a plane of two coordinates maps of the lowest phase, the difference of the phases' energies and the
    susceptibilities, with the measured line, its band and the known one.

    **Arguments:** `rows`, the scan; `finding`, what `transition.json` holds; `branches`, tables of two phases that were
    trained on, by name; a scan of separate phases holds its own.
    """
    if single_axis(rows) is None:
        return _of_a_plane(rows, finding)
    apart = separate_phases(rows) or dict(branches or {})
    pairs = competitors(rows)
    compared = dict(zip(pairs[0][1], pairs[0][0], strict=True)) if pairs else dict(branches or {})
    lowest = ground_state(rows)
    axis = axes_of(rows)[0]
    figure = new_figure(13.5, 6.2)
    panels = figure.subplots(2, 4)
    order, interaction, energy, slope, susceptibility, overlaps, trials, experts = panels.ravel()
    _with_branches(order, lowest, apart, order_parameter(rows), "no order parameter")
    _with_branches(interaction, lowest, apart, interaction_of(rows), "no interaction")
    _energies(energy, lowest, compared)
    _slopes(slope, lowest)
    chi = lowest["fidelity_susceptibility"]
    value, error = chi.values, lowest["fidelity_susceptibility_error"].values
    susceptibility.errorbar(
        positions_on(lowest, axis), value, np.minimum(error, 0.9 * value), color=PURPLE, marker="o", ls="none"
    )
    susceptibility.set_yscale("log")
    susceptibility.set_ylabel(with_unit("fidelity susceptibility", str(chi.attrs["units"])))
    _overlaps(figure, overlaps, lowest)
    _trials(trials, lowest)
    _experts(experts, lowest)
    for panel in panels.ravel():
        if panel is not overlaps:
            panel.set_xlabel(_head(axis))
            _mark(panel, finding)
            mark_known_places(panel, lowest)
    return figure


def _head(axis) -> str:
    return with_unit(f"${axis.latex}$", axis.unit)


def _mark(panel: "Axes", finding: dict[str, Any]) -> None:
    for place, error in [(finding["location"], finding["uncertainty"]), *finding.get("further", [])]:
        if place is not None:
            panel.axvspan(place - error, place + error, color="#f0e4c8", lw=0, zorder=0)
            panel.axvline(place, color=BLACK, lw=0.8, ls=":", zorder=1)


def _empty(panel: "Axes", text: str) -> None:
    panel.text(0.5, 0.5, text, ha="center", va="center", transform=panel.transAxes)


def _with_branches(panel: "Axes", rows, branches, name: str | None, otherwise: str) -> None:
    if name is None:
        _empty(panel, otherwise)
        return
    colours = phase_colours(rows)
    for phase, branch in branches.items():
        style: dict[str, Any] = {"color": colours.get(phase, SKY), "marker": "s", "mfc": "none", "lw": 0.9, "ls": "--"}
        _points(panel, branch, name, label=f"{phase} branch", **style)
    _points(panel, rows, name, color=BLACK, label="model", marker="o")
    draw_known_branches(panel, rows, name)
    attrs = rows[name].attrs
    panel.set_ylabel(with_unit(in_math(str(attrs.get("symbol", name.replace("_", " ")))), str(attrs["units"])))
    panel.legend()


def _points(panel: "Axes", dataset, name: str, **style) -> None:
    x = positions_on(dataset, axes_of(dataset)[0])
    panel.errorbar(x, dataset[name].values, dataset[f"{name}_error"].values, **style)


def _energies(panel: "Axes", rows, compared) -> None:
    if len(compared) != 2:
        _empty(panel, "no branches trained")
        return
    (first, second), colours = list(compared), phase_colours(rows)
    base = compared[first]
    crossing = branch_crossing(base, compared[second])
    panel.set_ylabel(f"energy less that of the {first} ({energy_unit(rows).split(' ')[0]})")
    style: dict[str, Any] = {"color": colours.get(second, RED), "marker": "s", "mfc": "none", "ls": "--"}
    panel.axhline(0, color=colours.get(first, BLUE), lw=1, ls="--")
    panel.errorbar(crossing.parameter, crossing.difference, crossing.difference_error, label=second, **style)
    axis = axes_of(rows)[0]
    x, places = positions_on(base, axis), positions_on(rows, axis)
    same = [int(np.argmin(np.abs(places - place))) for place in x]
    difference = rows["energy"].values[same] - base["energy"].values
    error = np.hypot(rows["energy_error"].values[same], base["energy_error"].values)
    panel.errorbar(x, difference, error, color=BLACK, marker="o", label="model")
    known = known_values(rows)
    exact = None if known is None else exact_difference(known, first, second)
    if known is not None and exact is not None:
        limits, place = (panel.get_xlim(), panel.get_ylim()), known.coordinate(axis.name)
        panel.errorbar(place, *exact, color=BLACK, marker="s", mfc="none", ls=":", lw=1, label=f"{second}, exact")
        panel.set_xlim(limits[0])
        panel.set_ylim(limits[1])
    panel.legend()


def _slopes(panel: "Axes", rows) -> None:
    """Measured slopes, and those of the energy curve wherever its differences are worth drawing."""
    axis = axes_of(rows)[0]
    name, latex = slope_of(rows, axis), axis.latex
    if name is None:
        _empty(panel, "no slope measured")
        return
    _points(panel, rows, name, color=BLACK, marker="o", label=rf"$\langle\partial H/\partial {latex}\rangle$")
    # Within each phase: where the lowest one changes the energy has a kink.
    for number, line in enumerate(slope_lines(rows)):
        sharp, label = line.check.error < 0.1 * np.ptp(rows[name].values), rf"$dE/d{latex}$" if number == 0 else None
        panel.plot(line.check.middle[sharp], line.check.from_energies[sharp], "x", color=ORANGE, label=label)
    draw_known_slopes(panel, rows)
    panel.set_ylabel("slope per electron")
    panel.legend()


def _overlaps(figure: "Figure", panel: "Axes", rows) -> None:
    axis = axes_of(rows)[0]
    x = positions_on(rows, axis)
    # Each row's cell reaches half way to its neighbours: the scan is not even.
    edges = np.concatenate([[x[0]], (x[1:] + x[:-1]) / 2, [x[-1]]])
    image = panel.pcolormesh(edges, edges, np.clip(rows["fidelity"].values, 0, 1), cmap="viridis", vmin=0, vmax=1)
    panel.set_aspect("equal")
    panel.grid(False)
    panel.set_xlabel(_head(axis))
    panel.set_ylabel(with_unit(f"${axis.latex}'$", axis.unit))
    label = rf"$|\langle\psi({axis.latex})|\psi({axis.latex}')\rangle|^2$"
    figure.colorbar(image, ax=panel, label=label, shrink=0.9)


def _trials(panel: "Axes", rows) -> None:
    names = [str(name) for name in rows if f"{name}_effective_samples" in rows and name != "fidelity"]
    for number, name in enumerate(names):
        colour = (BLUE, RED, GREEN, ORANGE)[number % 4]
        _points(panel, rows, name, color=colour, marker="o", label=name.removeprefix("fidelity_").replace("_", " "))
    panel.set_ylabel(r"$|\langle\phi|\psi\rangle|^2$, $\phi$ one determinant")
    if names:
        panel.set_ylim(bottom=0)
        panel.legend()
    else:
        _empty(panel, "no named orbitals")


def _experts(panel: "Axes", rows) -> None:
    if "expert_usage" not in rows:
        _empty(panel, "no experts")
        return
    usage, x = rows["expert_usage"].transpose(rows_of(rows), ...).values, positions_on(rows, axes_of(rows)[0])
    colours, styles = (BLUE, RED, GREEN, ORANGE, SKY, PURPLE), ("-", "--", ":", "-.")
    for layer in range(usage.shape[1]):
        for expert in range(usage.shape[2]):
            label = f"expert {expert + 1}" if layer == 0 else None
            style: dict[str, Any] = {"color": colours[expert % len(colours)], "ls": styles[layer % len(styles)]}
            panel.plot(x, usage[:, layer, expert], label=label, **style)
    panel.set_ylim(bottom=0)
    panel.set_ylabel("mean gate" + ("" if usage.shape[1] == 1 else " (dashed: second layer)"))
    if usage.shape[2] <= 8:
        panel.legend(ncols=2)


def _of_a_plane(rows, finding: dict[str, Any]) -> "Figure":
    """Maps, with the lines between phases: first the lowest phase, then what the lines follow from."""
    lowest, quantities = ground_state(rows), []
    lines = finding.get("boundaries", [])
    unit = energy_unit(rows).split(" ")[0]
    for line in lines:
        first, second = (rows.sel(phase=name) for name in line["phases"])
        difference = second["energy"].values - first["energy"].values
        error = np.hypot(first["energy_error"].values, second["energy_error"].values)
        words = [name.replace("_", " ") for name in line["phases"]]
        title = f"energy of {words[1]} less {words[0]}"
        quantities.append(Quantity(difference, error, f"difference ({unit})", title, scale="signed"))
    order = order_parameter(rows)
    if order is not None:
        quantities.append(measured(lowest, order))
    for axis in axes_of(rows):
        name = f"fidelity_susceptibility_{axis.name}"
        if name in rows:
            label = with_unit("fidelity susceptibility", str(rows[name].attrs["units"]))
            title = f"fidelity susceptibility along ${axis.latex}$"
            value, error = lowest[name].values, lowest[f"{name}_error"].values
            quantities.append(Quantity(value, error, label, title, scale="log"))
    first = []
    if phases_of(rows):
        found, colours = lowest_phases(rows), phase_colours(rows)
        first = [lambda panel: category_map(panel, lowest, found, colours, "phase of the ground state")]
    boundary = [np.array(line["points"]) for line in lines]
    figure = multiples(lowest, quantities, boundary=boundary, first=first)
    names = [axis.name for axis in axes_of(rows)]
    for line in lines:
        points, error = np.array(line["points"]), np.array(line["error"])
        for panel in figure.axes:
            if panel.get_label() != "<colorbar>":
                _band(panel, points, error, names.index(line["error_along"]))
    return figure


def _band(panel: "Axes", points, error, along: int) -> None:
    """The uncertainty of a line: one error to either side."""
    (x, y), style = points.T, {"color": ORANGE, "alpha": 0.6, "lw": 0, "zorder": 3}
    if along == 0:
        panel.fill_betweenx(y, x - error, x + error, **style)
    else:
        panel.fill_between(x, y - error, y + error, **style)
