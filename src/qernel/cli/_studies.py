"""What the studies of several runs say while they do what they do."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from qernel.presets import DEFAULT_PRESET
from qernel.run_directory import Problem, Step
from qernel.studies import ablation, scaling
from qernel.studies.compare import compare

from ._arguments import check_folder
from ._commands import default_directory
from ._progress import TrainingProgress, measuring

STUDIES: dict[str, Callable[..., Any]] = {"ablation": ablation.ablate, "scaling": scaling.scale}


def study(
    kind: str,
    source: str | None,
    overrides: list[str],
    out: Path | None,
    command: str,
    console: Console,
    **what: Any,
) -> None:
    """Train and measure every run of a study that is not on disk yet, and print how they compare."""
    name = source or DEFAULT_PRESET
    folder = default_directory(f"{kind}-{Path(name).stem}") if out is None else check_folder(out)
    with _watched(console) as watch:
        found = STUDIES[kind](name, **what, out=folder, overrides=overrides, command=command, **watch)
    console.print(f"\n{found.text}\n")
    for line in found.sentences:
        console.print(line)
    console.print(f"\nresults: {found.csv}\nfigure:  {found.figure}")


def sizes(runs: Sequence[Path], out: Path, console: Console) -> None:
    """Print how finished runs of several sizes compare."""
    with console.status("reading the runs"):
        found = scaling.read_sizes(runs, out=out)
    console.print(found.text + "\n")
    for line in found.sentences:
        console.print(line)
    console.print(f"\nresults: {found.csv}\nfigures: {found.figure}, {found.limit_figure}")


def comparison(runs: Sequence[Path], out: Path, error: float | None, lowest: bool, console: Console) -> None:
    """Print how the trainings of several runs compare."""
    with console.status("reading the runs"):
        found = compare(runs, out=out, error=error, lowest=lowest)
    console.print(found.text + "\n")
    for line in found.sentences:
        console.print(line)
    console.print(f"\nresults: {found.csv}\nfigure:  {found.figure}")


@contextlib.contextmanager
def _watched(console: Console) -> Iterator[dict[str, Any]]:
    """What a study tells while it runs: words, the steps of every training, how far a measurement is."""
    with contextlib.ExitStack() as stack:
        shown: dict[Any, Any] = {}

        def only(key: Any, display: Callable[[], Any]) -> Any:
            """One display at a time: the one before is over when another begins."""
            if key not in shown:
                stack.close()
                shown.clear()
                shown[key] = stack.enter_context(display())
            return shown[key]

        def each(problem: Problem, step: Step) -> None:
            begin = functools.partial(TrainingProgress, console, problem, step.number - 1, problem.settings.steps)
            only(id(problem), begin).update(step)

        def progress(text: str, done: int, total: int) -> None:
            only("measuring", functools.partial(measuring, console))(text, done, total)

        yield {"say": console.print, "each": each, "progress": progress}
