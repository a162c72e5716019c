"""The same family in cells of several sizes: a run for each, one figure and a table for all."""

import csv
import io
import re
from pathlib import Path

from rich.console import Console

from qernel.lattice import triangular_index
from qernel.evaluation import read_netcdf
from ._analysis import scaling_rows, scaling_table, scaling_verdict
from qernel.presets import Config, ConfigurationError, DEFAULT_PRESET, load
from qernel.run_directory import RunDirectory, write_atomically

from . import _commands
from qernel.run_directory import Interrupted

Index = tuple[tuple[int, int], tuple[int, int]]


def cell_of(text: str) -> Index:
    """A supercell from a number of moiré cells or a matrix of whole numbers.

    **Raises:** `ConfigurationError` if it is neither, or has no zone corner K.
    """
    numbers = [int(n) for n in re.findall(r"-?\d+", text)]
    if re.fullmatch(r"-?\d+", text):
        index = triangular_index(numbers[0])
    elif re.fullmatch(r"\[\[-?\d+,-?\d+\],\[-?\d+,-?\d+\]\]", text.replace(" ", "")):
        index = (numbers[0], numbers[1]), (numbers[2], numbers[3])
    else:
        raise ConfigurationError(f"a size is a number of moiré cells or a matrix such as [[2,2],[-2,4]], got '{text}'")
    (a, b), (c, d) = index
    # K = (b1 + 2 b2)/3, whose phases along the cell's vectors must be whole turns.
    if (a + 2 * b) % 3 or (c + 2 * d) % 3:
        raise ConfigurationError(
            f"the zone corner K is no wave vector of the cell {text}, so that its crystal does not fit: "
            "take 3, 9, 12, 21, 27, 36 or another multiple of 3"
        )
    return index


def settings_of(config: Config, index: Index) -> list[str]:
    """The overrides that put the configuration's filling into another cell.

    **Raises:** `ConfigurationError` if the electrons are then no whole number.
    """
    cells, before = _cells(index), _cells(config.system.supercell)
    if cells == 0 or any((n * cells) % before for n in config.system.electrons):
        up, down = config.system.electrons
        raise ConfigurationError(
            f"{cells} moiré cells hold no whole number of electrons at the filling of {up + down} in {before}"
        )
    electrons = [n * cells // before for n in config.system.electrons]
    return [f"system.supercell={[list(row) for row in index]}", f"system.electrons={electrons}"]


def _cells(index: Index) -> int:
    (a, b), (c, d) = index
    return abs(a * d - b * c)


def scale(
    source: str | None, overrides: list[str], sizes: list[str], out: Path | None, command: str, console: Console
) -> None:
    """Train and measure in every cell whose run is not finished, then compare."""
    name = source or DEFAULT_PRESET
    config = load(name, overrides)
    cells = {_cells(index): settings_of(config, index) for index in map(cell_of, sizes)}
    if len(cells) < len(sizes):
        raise ConfigurationError(f"two of the sizes {', '.join(sizes)} have the same number of moiré cells")
    folder = _commands.default_directory(f"scaling-{Path(name).stem}") if out is None else out
    finished = []
    try:
        for number, settings in sorted(cells.items()):
            directory = RunDirectory(folder / f"cells-{number}")
            finished.append(directory)
            _run_or_resume(directory, name, [*overrides, *settings], command, console)
    except Interrupted as stop:
        raise Interrupted(f"{stop}; or all sizes with the same command and --out {folder}") from None
    compare(folder, finished, console)


def _run_or_resume(directory: RunDirectory, name: str, overrides: list[str], command: str, console: Console) -> None:
    if not directory.begun:
        _commands.run(name, overrides, directory.path, command, console)
        return
    recorded, wanted = (
        c.model_copy(update={"provenance": {}}) for c in (load(directory.config), load(name, overrides))
    )
    if recorded == wanted and directory.results.is_file():
        console.print(f"{directory.path} is finished", soft_wrap=True)
    else:
        _commands.resume(directory.path, overrides, command, console)


def compare(folder: Path, directories: list[RunDirectory], console: Console) -> None:
    """Table, figure and verdict of finished runs."""
    from qernel.plotting import save_figure
    from ._figure import scaling_figure

    datasets = [read_netcdf(directory.results) for directory in directories]
    rows = scaling_rows(datasets)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{key: f"{value:.10g}" for key, value in row.items()} for row in rows])
    write_atomically(folder / "scaling.csv", text.getvalue())
    console.print()
    console.print(scaling_table(datasets), markup=False, soft_wrap=True)
    console.print()
    for line in scaling_verdict(datasets):
        console.print(line, soft_wrap=True, markup=False)
    console.print()
    console.print(f"results: {folder / 'scaling.csv'}", soft_wrap=True)
    console.print(f"figure:  {save_figure(scaling_figure, datasets, folder / 'scaling.png')}", soft_wrap=True)
