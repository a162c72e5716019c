"""The end of a run: a table, a verdict, the paths of the figures."""

from typing import Any

from rich.console import Console

from qernel.evaluation import format_table
from qernel.judgement import verdict
from qernel.run_directory import read_training
from qernel.training import TrainingRecord
from qernel.run_directory import RunDirectory, read_metrics


def finish(
    dataset: Any | None, directory: RunDirectory, console: Console, trained_in: RunDirectory | None = None
) -> None:
    """Print the table and the verdict of a data set, draw the figures and print where everything is.

    Without a data set the stored results are drawn, and nothing but the paths is printed. `trained_in` is the
    run that was evaluated, if its results go elsewhere.
    """
    from qernel.plotting import draw

    if dataset is not None:
        console.print(f"\nenergies in {dataset['energy'].attrs['units']}")
        console.print(format_table(dataset), markup=False, soft_wrap=True)
        console.print()
        for line in verdict(dataset, _record(trained_in or directory)):
            console.print(line, soft_wrap=True, markup=False)
    with console.status("drawing the figures"):
        figures = draw(directory.path)
    console.print()
    if dataset is not None:
        console.print(f"results: {directory.results.with_suffix('.csv')}", soft_wrap=True)
    for figure in figures:
        console.print(f"figure:  {figure}", soft_wrap=True)
    if dataset is not None:
        console.print(f"all of it as one page: qernel report {directory.path}", soft_wrap=True)


def _record(directory: RunDirectory) -> TrainingRecord | None:
    return read_training(directory.metrics) if next(read_metrics(directory.metrics), None) else None
