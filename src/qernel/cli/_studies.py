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

from ._commands import default_directory
from ._progress import TrainingProgress, measuring


def ablate(
    source: str | None,
    overrides: list[str],
    out: Path | None,
    seeds: int,
    only: Sequence[str],
    command: str,
    console: Console,
) -> None:
    """Train every variant with every seed that is not on disk yet, and print how they compare."""
    with _watched(console) as watch:
        found = ablation.ablate(
            source or DEFAULT_PRESET,
            only,
            out=_folder("ablation", source, out),
            seeds=seeds,
            overrides=overrides,
            command=command,
            **watch,
        )
    _print(found, console)


def scale(
    source: str | None, overrides: list[str], sizes: Sequence[str], out: Path | None, command: str, console: Console
) -> None:
    """Train and measure every size whose run is not finished, and print how they compare."""
    with _watched(console) as watch:
        found = scaling.scale(
            source or DEFAULT_PRESET,
            sizes,
            out=_folder("scaling", source, out),
            overrides=overrides,
            command=command,
            **watch,
        )
    _print(found, console)


def _folder(kind: str, source: str | None, out: Path | None) -> Path:
    return default_directory(f"{kind}-{Path(source or DEFAULT_PRESET).stem}") if out is None else out


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

        say = functools.partial(console.print, soft_wrap=True, markup=False)
        yield {"say": say, "each": each, "progress": progress}


def _print(found: Any, console: Console) -> None:
    console.print(f"\n{found.text}\n", markup=False, soft_wrap=True)
    for line in found.sentences:
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"\nresults: {found.csv}\nfigure:  {found.figure}", soft_wrap=True)
