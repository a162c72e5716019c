"""All finished runs of an ablation as one labelled table, and what it says."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
import pandas

from qernel.evaluation import indexed, known_at_rows, labelled_rows, read_netcdf, rows_of, same_points, write_netcdf
from qernel.plotting import save_figure
from qernel.presets import Config
from qernel.run_directory import write_atomically

from ._analysis import ablation_table, ablation_verdict
from ._figure import ablation_figure
from ._variants import variants

if TYPE_CHECKING:
    import xarray

# Two points are one if they differ by less than this share of the largest coordinate.
_SAME = 1e-9


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What variants of a wavefunction say together.

    - `table`: labelled results, see [`collect`][qernel.studies.ablation.collect].
    - `text`: the comparison as a table for a terminal; `sentences`: what it means.
    - `csv`, `netcdf`, `figure`: files with the comparison.
    """

    table: "xarray.Dataset"
    text: str
    sentences: tuple[str, ...]
    csv: Path
    netcdf: Path
    figure: Path


def path_of(folder: Path, variant: str, seed: int) -> Path:
    """The file of one variant with one seed."""
    return folder / variant / f"seed-{seed}.nc"


def compare_variants(folder: Path, config: Config) -> Ablation:
    """Table, figure and sentences of all finished runs in a folder; writes `ablation.csv`, `.nc` and `.png`."""
    dataset = collect(folder, config)
    csv, netcdf = folder / "ablation.csv", folder / "ablation.nc"
    write_atomically(csv, _rows(dataset).to_csv(index=False))
    write_netcdf(dataset, netcdf)
    figure = save_figure(ablation_figure, dataset, folder / "ablation.png")
    sentences = tuple(ablation_verdict(dataset))
    return Ablation(dataset, ablation_table(dataset), sentences, csv, netcdf, figure)


def collect(folder: Path, config: Config) -> "xarray.Dataset":
    """All finished runs in a folder as one table over `variant`, `seed` and the rows; NaN where one is missing.

    The rows are those of any labelled table: the coordinate that varies, or `member`. `energy`, `energy_error` and
    `error`, the energy minus `reference`: the exact energy where it is known (`reference_is_exact`), the lowest of all
    variants elsewhere. `trained` is 1 where the family was trained. `seconds`, `seconds_per_step` of (variant, seed),
    `parameters`, `local_energies` and `meaning` of the variant are what it costs and is.

    **Raises:** `ValueError` if there is no finished run.
    """
    import xarray

    with jax.enable_x64(True):
        family = config.system.system().family
        trained = family.points
        points = family.at(config.evaluation.at).points if config.evaluation.at else trained
        labels, attributes, rows = labelled_rows(family.at(points))
    known = variants(config)
    runs = {(path.parent.name, int(path.stem[5:])): read_netcdf(path) for path in folder.glob("*/seed-*.nc")}
    runs = {pair: run for pair, run in runs.items() if pair[0] in known}
    if not runs:
        raise ValueError(f"{folder} holds no finished run of an ablation")
    names = [name for name in known if any(name == variant for variant, _ in runs)]
    seeds = sorted({seed for _, seed in runs})
    energy, error = (np.full((len(names), len(seeds), len(points)), np.nan) for _ in range(2))
    cost, per_step = (np.full((len(names), len(seeds)), np.nan) for _ in range(2))
    sizes = {key: np.zeros(len(names), np.int64) for key in ("parameters", "local_energies")}
    for (name, seed), run in runs.items():
        place = names.index(name), seeds.index(seed)
        energy[place], error[place] = run["energy"].values, run["energy_error"].values
        cost[place], per_step[place] = run.attrs["seconds"], run.attrs["seconds_per_step"]
        for key, values in sizes.items():
            values[place[0]] = run.attrs[key]
    some = next(iter(runs.values()))
    unit = {"units": str(some["energy"].attrs["units"])}
    exact = known_at_rows(some, "exact")
    is_exact = np.isfinite(exact)
    # Means and minima of what there is: a seed may be missing.
    lowest = xarray.DataArray(energy, dims=("variant", "seed", rows)).mean("seed").min("variant").values
    reference = np.where(is_exact, exact, lowest)
    each, pairs = ("variant", "seed", rows), ("variant", "seed")
    dataset = xarray.Dataset(
        {
            "energy": (each, energy, unit),
            "energy_error": (each, error, unit),
            "error": (each, energy - reference, unit | {"long_name": "energy minus the reference"}),
            "seconds": (pairs, cost, {"units": "s", "long_name": "cost of the training, compilation apart"}),
            "seconds_per_step": (pairs, per_step, {"units": "s"}),
            **{key: ("variant", values) for key, values in sizes.items()},
            "trained": (rows, same_points(points, trained, _SAME).any(axis=1).astype(np.int8)),
            "reference": (rows, reference, unit),
            "reference_is_exact": (rows, is_exact.astype(np.int8)),
        },
        labels | {"variant": names, "seed": seeds, "meaning": ("variant", [known[name].meaning for name in names])},
        attributes | {"reference_method": str(some.attrs.get("known_method", "exact"))},
    )
    return indexed(dataset)


def _rows(dataset: "xarray.Dataset") -> pandas.DataFrame:
    """One row for each variant, seed and point, under the coordinates' own names."""
    rows = rows_of(dataset)
    flat = dataset.reset_index(rows) if isinstance(dataset.indexes.get(rows), pandas.MultiIndex) else dataset
    frame = flat.drop_vars("meaning").to_dataframe().reset_index()
    first = ["variant", "seed", *np.atleast_1d(dataset.attrs["coordinate_names"]).tolist()]
    rest = [name for name in frame.columns if name not in first and name != rows]
    return frame.reindex(columns=[*dict.fromkeys(first), *rest])
