"""All evidence of a transition in one figure."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qernel.evaluation import read_netcdf, separate_phases
from qernel.judgement import competitors
from qernel.judgement import branch_crossing, slope_check

from qernel.plotting import (
    BLACK,
    BLUE,
    GREEN,
    OF_PHASE,
    ORANGE,
    OTHERS,
    PURPLE,
    RED,
    SKY,
    STYLE,
    energy_unit,
    new_figure,
)

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_transition(run_dir: str | os.PathLike, out: str | os.PathLike | None = None) -> Path:
    """Draw the figure of `qernel transition` from what it left in a directory, and return its path.

    Raises `ValueError` if there is no scan.
    """
    import matplotlib

    folder = Path(run_dir)
    finding = folder / "transition.json"
    if not finding.is_file():
        raise ValueError(f"{folder} holds no transition.json: run 'qernel transition {folder}' first")
    rows = read_netcdf(folder / "transition.nc")
    plain = json.loads(finding.read_text())
    branches = None
    if "branches" in plain and "phase" not in rows:
        liquid, crystal = (read_netcdf(folder / "branches" / phase / "results.nc") for phase in OF_PHASE)
        branches = (liquid, crystal)
    target = folder / "figures" if out is None else Path(out)
    target.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):  # pyright: ignore[reportArgumentType]
        figure = transition_figure(rows, plain, branches)
        path = target / "transition.png"
        figure.savefig(path)
    return path


def transition_figure(
    rows: "xarray.Dataset", finding: dict[str, Any], branches: tuple["xarray.Dataset", "xarray.Dataset"] | None = None
) -> "Figure":
    """Order parameter, interaction energy, branches and slope; susceptibility, overlaps, trial states and experts.

    `rows` is the scan, `finding` what `transition.json` holds, `branches` the data sets of liquid and crystal, which a
    scan of separate phases holds itself.
    """
    apart = separate_phases(rows) or dict(zip(OF_PHASE, branches or (), strict=False))
    if found := competitors(rows):
        branches, _ = found
    figure = new_figure(13.5, 6.2)
    panels = figure.subplots(2, 4)
    x = rows["depth_meV"].values
    order, interaction, energy, slope, susceptibility, overlaps, trials, experts = panels.ravel()
    _with_branches(order, rows, apart, "structure_factor_K")
    order.set_ylabel("structure factor S(K)")
    order.legend()
    _with_branches(interaction, rows, apart, "interaction")
    unit = energy_unit(rows).split(" ")[0]
    interaction.set_ylabel(f"interaction per electron ({unit})")
    _energies(energy, rows, branches)
    _slopes(slope, rows)
    value, error = rows["fidelity_susceptibility"].values, rows["fidelity_susceptibility_error"].values
    susceptibility.errorbar(x, value, np.minimum(error, 0.9 * value), color=PURPLE, marker="o")
    susceptibility.set_yscale("log")
    susceptibility.set_ylabel(r"fidelity susceptibility (meV$^{-2}$)")
    _overlaps(figure, overlaps, rows)
    _trials(trials, rows)
    _experts(experts, rows)
    for axes in panels.ravel():
        if axes is not overlaps:
            axes.set_xlabel(r"$V_0$ (meV)")
            _mark(axes, finding)
    return figure


def _mark(axes: "Axes", finding: dict[str, Any]) -> None:
    place, error = finding["location_meV"], finding["uncertainty_meV"]
    if place is not None:
        axes.axvspan(place - error, place + error, color="#f0e4c8", lw=0, zorder=0)
        axes.axvline(place, color=BLACK, lw=0.8, ls=":", zorder=1)


def _with_branches(axes: "Axes", rows, branches, name: str) -> None:
    for phase, branch in branches.items():
        style: dict[str, Any] = {"color": OF_PHASE.get(phase, SKY), "marker": "s", "mfc": "none", "lw": 0.9, "ls": "--"}
        _points(axes, branch, name, label=f"{phase} branch", **style)
    _points(axes, rows, name, color=BLACK, label="model", marker="o")


def _points(axes: "Axes", dataset, name: str, **style) -> None:
    axes.errorbar(dataset["depth_meV"].values, dataset[name].values, dataset[f"{name}_error"].values, **style)


def _energies(axes: "Axes", rows, branches) -> None:
    axes.set_ylabel(f"energy less the liquid's ({energy_unit(rows).split(' ')[0]})")
    if branches is None:
        axes.text(0.5, 0.5, "no branches trained", ha="center", va="center", transform=axes.transAxes)
        return
    liquid, crossing = branches[0], branch_crossing(*branches)
    style: dict[str, Any] = {"color": RED, "marker": "s", "mfc": "none", "ls": "--"}
    axes.axhline(0, color=BLUE, lw=1, ls="--")
    axes.errorbar(crossing.parameter, crossing.difference, crossing.difference_error, **style)
    x = liquid["depth_meV"].values
    same = [int(np.argmin(np.abs(rows["depth_meV"].values - place))) for place in x]
    difference = rows["energy"].values[same] - liquid["energy"].values
    error = np.hypot(rows["energy_error"].values[same], liquid["energy_error"].values)
    axes.errorbar(x, difference, error, color=BLACK, marker="o")


def _slopes(axes: "Axes", rows) -> None:
    """Measured slopes, and those of the energy curve wherever its differences are worth drawing."""
    _points(axes, rows, "slope", color=BLACK, marker="o", label=r"$\langle\partial H/\partial V_0\rangle$")
    check = slope_check(rows)
    if check is not None:
        sharp = check.error < 0.1 * np.ptp(rows["slope"].values)
        axes.plot(check.middle[sharp], check.from_energies[sharp], "x", color=ORANGE, label=r"$dE/dV_0$")
    axes.set_ylabel("slope per electron")
    axes.legend()


def _overlaps(figure: "Figure", axes: "Axes", rows) -> None:
    x = rows["depth_meV"].values
    # Each row's cell reaches half way to its neighbours: the scan is not even.
    edges = np.concatenate([[x[0]], (x[1:] + x[:-1]) / 2, [x[-1]]])
    image = axes.pcolormesh(edges, edges, np.clip(rows["fidelity"].values, 0, 1), cmap="viridis", vmin=0, vmax=1)
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_xlabel(r"$V_0$ (meV)")
    axes.set_ylabel(r"$V_0'$ (meV)")
    figure.colorbar(image, ax=axes, label=r"$|\langle\psi(V_0)|\psi(V_0')\rangle|^2$", shrink=0.9)


def _trials(axes: "Axes", rows) -> None:
    names = [str(name) for name in rows if f"{name}_effective_samples" in rows and name != "fidelity"]
    colours = {"fidelity_liquid": BLUE, "fidelity_crystal": RED}
    for number, name in enumerate(names):
        colour = colours.get(name, (*OTHERS, GREEN)[number % 4])
        _points(axes, rows, name, color=colour, marker="o", label=name.removeprefix("fidelity_"))
    axes.set_ylim(bottom=0)
    axes.set_ylabel(r"$|\langle\phi|\psi\rangle|^2$, $\phi$ one determinant")
    if names:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no reference orbitals", ha="center", va="center", transform=axes.transAxes)


def _experts(axes: "Axes", rows) -> None:
    if "expert_usage" not in rows:
        axes.text(0.5, 0.5, "no experts", ha="center", va="center", transform=axes.transAxes)
        return
    usage = rows["expert_usage"].values
    colours = (BLUE, RED, GREEN, ORANGE, *OTHERS, SKY)
    styles = ("-", "--", ":", "-.")
    for layer in range(usage.shape[1]):
        for expert in range(usage.shape[2]):
            axes.plot(
                rows["depth_meV"].values,
                usage[:, layer, expert],
                color=colours[expert % len(colours)],
                ls=styles[layer % len(styles)],
                label=f"expert {expert + 1}" if layer == 0 else None,
            )
    axes.set_ylim(bottom=0)
    axes.set_ylabel("mean gate" + ("" if usage.shape[1] == 1 else " (dashed: second layer)"))
    if usage.shape[2] <= 8:
        axes.legend(ncols=2)
