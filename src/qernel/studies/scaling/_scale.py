"""The same family in several sizes: a run for each, one figure and a table for all."""

import csv
import dataclasses
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from qernel.evaluation import read_netcdf
from qernel.plotting import save_figure
from qernel.presets import DEFAULT_PRESET, Config, check_memory, load
from qernel.run_directory import Interrupted, RunDirectory, Say, nothing_said, write_atomically
from qernel.studies._callbacks import Each, Progress, unmeasured, unwatched
from qernel.studies._run_or_resume import run_or_resume
from qernel.systems import SizedSection, complex_references, sized

from ._analysis import line_of, scaling_rows, scaling_table, scaling_verdict
from ._figure import scaling_figure
from ._limit import limit_verdict
from ._limit_figure import limit_figure
from ._quantity import electrons_of

if TYPE_CHECKING:
    import xarray


@dataclasses.dataclass(frozen=True)
class Scaling:
    """What several sizes say together.

    - `directories`: of the runs, by increasing size; `tables`: their results.
    - `text`: the comparison as a table for a terminal; `sentences`: what it means.
    - `csv`, `figure`: files with the comparison; `limit_figure`: what it says of the infinite system.
    """

    directories: tuple[RunDirectory, ...]
    tables: "tuple[xarray.Dataset, ...]"
    text: str
    sentences: tuple[str, ...]
    csv: Path
    figure: Path
    limit_figure: Path


def scale(
    source: Config | str | Path = DEFAULT_PRESET,
    sizes: Sequence[str] = (),
    *,
    out: str | os.PathLike,
    overrides: Sequence[str] = (),
    command: str = "",
    say: Say = nothing_said,
    each: Each = unwatched,
    progress: Progress = unmeasured,
) -> Scaling:
    """Train and measure in every size whose run is not finished, then compare.

    **Arguments:**

    - `source`: a preset, a file or a configuration, with `overrides` as on the command line.
    - `sizes`: as the system names them, by default those that it suggests.
    - `out`: a folder. Each size is a run of its own in a folder below, named by
      [`size_label`][qernel.systems.SizedSection]; `scaling.csv`, `scaling.png` and
      `sizes.png` lie beside.
    - `command`: for the record; `say` hears what is going on, `each(problem, step)` every step of a training, and
      `progress(text, done, total)` how far a measurement is.

    **Raises:** `ValueError` before anything is trained if the system has no sizes, a size cannot be used, or its rows
    do not lie along one coordinate; `Interrupted` after Ctrl-C: called again, it goes on.
    """
    config = load(source, overrides)
    section = sized(config.system)
    named = tuple(sizes) or section.sizes
    configs: dict[str, Config] = {}
    for size in named:
        one = section.resized(size)
        if one.size_label in configs:
            raise ValueError(f"two of the sizes {', '.join(named)} are one size: {one.size_label}")
        configs[one.size_label] = _of_size(config, one)
        _check_line(configs[one.size_label])
    folder, finished = Path(out), []
    for label, one in sorted(configs.items(), key=lambda item: (sum(item[1].system.electrons), item[0])):
        directory = RunDirectory(folder / label)
        finished.append(directory)
        try:
            run_or_resume(one, directory, command, say, each, progress)
        except Interrupted as stop:
            raise Interrupted(f"{stop}; or all sizes with the same command and --out {folder}") from None
    return compare_sizes(folder, finished)


def read_sizes(runs: Sequence[str | os.PathLike | RunDirectory], *, out: str | os.PathLike) -> Scaling:
    """Compare finished runs of one system in several sizes, however they were made.

    **Arguments:** `runs`, directories; `out`, the folder that `scaling.csv`, `scaling.png` and `sizes.png` are written
    to.

    **Raises:** `ValueError` that names the run, for one without results, of another system or another size that is
    there already, or along several coordinates; or for a single run.

    **Example:** `read_sizes(["runs/6", "runs/24", "runs/54"], out="sizes").sentences`
    """
    directories = [run if isinstance(run, RunDirectory) else RunDirectory(Path(run)) for run in runs]
    if len(directories) < 2:
        raise ValueError(f"sizes are compared between two runs or more, got {len(directories)}")
    tables = []
    for directory in directories:
        if not directory.results.exists():
            raise ValueError(f"{directory.path} has no results: measure it with `qernel evaluate {directory.path}`")
        tables.append(read_netcdf(directory.results))
        _check_alike(directory, tables[-1], directories[0], tables[0])
    sizes = [electrons_of(table) for table in tables]
    for directory, size in zip(directories, sizes, strict=True):
        if sizes.count(size) > 1:
            raise ValueError(
                f"{directory.path} is one of {sizes.count(size)} runs of {size} electrons: take one of them"
            )
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    return compare_sizes(folder, [directories[i] for i in np.argsort(sizes)])


def _check_alike(directory, table, first_directory, first) -> None:
    if (axis := line_of(table).name) != (wanted := line_of(first).name):
        raise ValueError(f"{directory.path} was measured along {axis}, and {first_directory.path} along {wanted}")
    for key in ("system", "facts"):
        if table.attrs.get(key) != first.attrs.get(key):
            raise ValueError(f"{directory.path} is a run of another system than {first_directory.path}: {key} differs")


def compare_sizes(folder: Path, directories: Sequence[RunDirectory]) -> Scaling:
    """Table, figures and sentences of finished runs, in the order given; writes `scaling.csv`, `scaling.png` and
    `sizes.png`."""
    tables = tuple(read_netcdf(directory.results) for directory in directories)
    rows = scaling_rows(tables)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{key: f"{value:.10g}" for key, value in row.items()} for row in rows])
    write_atomically(folder / "scaling.csv", text.getvalue())
    figure = save_figure(scaling_figure, tables, folder / "scaling.png")
    limit = save_figure(limit_figure, tables, folder / "sizes.png")
    sentences = (*scaling_verdict(tables), *limit_verdict(tables))
    return Scaling(tuple(directories), tables, scaling_table(tables), sentences, folder / "scaling.csv", figure, limit)


def _of_size(config: Config, section: SizedSection) -> Config:
    """The configuration of another size: complex where its orbitals are, whatever those of the first one are."""
    needed = config.ansatz.complex or bool(complex_references(section, config.ansatz.references))
    ansatz = config.ansatz.model_copy(update={"complex": needed})
    return config.model_copy(update={"system": section, "ansatz": ansatz})


def _check_line(config: Config) -> None:
    """A run that could not be compared is not worth its training. Building the system also refuses a cell too small
    for its electrons, and a size that the memory here cannot hold."""
    with jax.enable_x64(True):
        system = config.system.system()
        family = system.family
        points = (family.at(config.evaluation.at) if config.evaluation.at else family).points
    names = [coordinate.name for coordinate in family.coordinates]
    varying = [name for name, values in zip(names, points.T, strict=True) if np.ptp(values) > 0]
    if len(varying) != 1:
        raise ValueError(
            f"sizes are compared along one coordinate, and {', '.join(varying) or 'none'} vary in this configuration: "
            "give one of them several values, all others a single one"
        )
    if (count := len(np.unique(points, axis=0))) < 4:
        raise ValueError(f"a jump cannot be told from a slope at {count} points: evaluate each size at four or more")
    check_memory(config, system)
