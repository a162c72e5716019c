"""All figures of a run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qernel.evaluation import axes_of, read_netcdf
from qernel.run_directory import read_training, read_training_so_far

from ._curves import pair_correlation_figure, pair_distances_figure
from ._density import density_figure
from ._energy import energy_figure
from ._interaction import interaction_figure
from ._momentum_distribution import momentum_distribution_figure
from ._observables import observables_figure
from ._order import order_figure
from ._profiles import maps_figure, profiles_figure
from ._slope import slope_figure
from ._structure_factor import structure_factor_figure
from ._style import STYLE
from ._training import training_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(run_dir: str | os.PathLike, out: str | os.PathLike | None = None) -> list[Path]:
    """Draw the figures of a run directory, and return their paths.

    Reads `results.nc` (energies, order parameters, observables, densities, structure factors) and `metrics.csv`
    (training), whichever exist, and writes PNG files to `out`, by default the directory's `figures`. What the
    results do not hold is left out.

    **Raises:** `ValueError` if neither file exists, or there are no results and no steps yet.
    """
    import matplotlib

    folder = Path(run_dir)
    results, metrics = folder / "results.nc", folder / "metrics.csv"
    if not results.is_file() and not metrics.is_file():
        raise ValueError(f"{folder} holds neither results.nc nor metrics.csv: there is nothing to draw")
    dataset = read_netcdf(results) if results.is_file() else None
    target = folder / "figures" if out is None else Path(out)
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    with matplotlib.rc_context(STYLE):  # pyright: ignore[reportArgumentType]
        figures = {}
        if dataset is not None:
            figures["energy"] = energy_figure(dataset)
            # With several coordinates the panels of the energy's terms show it at a scale of its own.
            if len(axes_of(dataset)) < 2:
                figures["interaction"] = interaction_figure(dataset)
            figures["order"] = order_figure(dataset)
            figures["observables"] = observables_figure(dataset)
            figures["density"] = density_figure(dataset)
            figures["structure_factor"] = structure_factor_figure(dataset)
            figures["pair_correlation"] = pair_correlation_figure(dataset)
            figures["pair_distances"] = pair_distances_figure(dataset)
            figures["momentum_distribution"] = momentum_distribution_figure(dataset)
            figures["profiles"] = profiles_figure(dataset)
            figures["maps"] = maps_figure(dataset)
            figures["slope"] = slope_figure(dataset)
        training = read_training(metrics) if dataset is None else read_training_so_far(metrics)
        if training is not None:
            figures["training"] = training_figure(training, dataset)
        for name, figure in figures.items():
            if figure is not None:
                path = target / f"{name}.png"
                figure.savefig(path)
                paths.append(path)
    return paths


def save_figure(figure: "Callable[[Any], Figure]", results: Any, path: Path) -> Path:
    """Draw one figure of `results` in the style of all the others, write it and return its path."""
    import matplotlib

    with matplotlib.rc_context(STYLE):  # pyright: ignore[reportArgumentType]
        figure(results).savefig(path)
    return path
