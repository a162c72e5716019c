"""Compare several trainings: curves, a figure, a table and what they mean."""

import csv
import dataclasses
import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from qernel.evaluation import aligned, with_error
from qernel.plotting import save_figure
from qernel.run_directory import write_atomically

from ._curves import Curves, Reference, curves_of
from ._figure import comparison_figure
from ._training import AnyRun, read_run

_FORMATS = (".png", ".pdf", ".svg")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What several trainings say together.

    - `reference`, `curves`: the errors of each run along its training, in the order given.
    - `text`: a table for a terminal, the state that each run ended in; `sentences`: what its numbers are.
    - `csv`, `figure`: files with the curves.
    """

    reference: Reference
    curves: tuple[Curves, ...]
    text: str
    sentences: tuple[str, ...]
    csv: Path
    figure: Path


def compare(
    runs: "Sequence[str | os.PathLike | AnyRun]",
    *,
    out: str | os.PathLike = "compare.png",
    error: float | None = None,
    lowest: bool = False,
) -> Comparison:
    """Compare the trainings of several runs of one system: error against seconds, and against samples.

    Errors are those of running means of the energies of single steps, at the points that all runs trained at and where
    the system knows the exact energies; where it knows none, at all common points above the lowest energy that any of
    the runs reaches there. Of separate phases the one that ends lowest counts at each point. Seconds are those of the
    steps, compilation included, and without the orbitals and the burn-in before them; samples are local energies, of
    all members and phases.

    **Arguments:**

    - `runs`: directories, or [`Run`][qernel.runs.Run]s of a script.
    - `out`: the figure to write, a `.png`, `.pdf` or `.svg`; the curves lie beside as `.csv`.
    - `error`: statistical error of the running means, in the unit of energy, from which the window of each run follows;
      by default the one that the noisiest run has over a twentieth of its steps.
    - `lowest`: compare at all common points, above the lowest energy that any of the runs reaches, also where exact
      ones are known.

    **Raises:** `ValueError` that names the run, for one without a training, runs of different systems or without a
    common point, a figure of another kind, or an `error` that is not positive.

    **Example:** `compare(["runs/small", "runs/large"], out="sizes.pdf").text`
    """
    figure = Path(out)
    if figure.suffix.lower() not in _FORMATS:
        raise ValueError(f"the figure of a comparison is a {', '.join(_FORMATS)}, got {figure.name}")
    if not runs:
        raise ValueError("a comparison needs at least one run")
    trainings = [read_run(run) for run in runs]
    names = [t.name for t in trainings]
    # Runs of one name in different folders are called by their paths.
    trainings = [t if names.count(t.name) == 1 else dataclasses.replace(t, name=str(t.path)) for t in trainings]
    reference, curves = curves_of(trainings, error, lowest)
    try:
        figure.parent.mkdir(parents=True, exist_ok=True)
        save_figure(comparison_figure, (reference, curves), figure)
        table = figure.with_suffix(".csv")
        write_atomically(table, _csv(curves))
    except OSError as fault:
        raise ValueError(f"{figure} cannot be written: {(fault.strerror or str(fault)).lower()}") from None
    return Comparison(reference, curves, _table(reference, curves), _sentences(reference, curves), table, figure)


def _csv(curves: Sequence[Curves]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("step", "seconds", "samples", "largest", "mean", "v_score")
    writer.writerow(["run", *columns, "window", "statistical_error"])
    for one in curves:
        for values in zip(*(getattr(one, name) for name in columns), strict=True):
            numbers = [f"{value:.10g}" for value in (*values, one.window, one.error)]
            writer.writerow([one.training.name, *numbers])
    return text.getvalue()


def _table(reference: Reference, curves: Sequence[Curves]) -> str:
    level = _level(curves)
    heads = ["run", "steps", "seconds", "samples", "worst", "at", "mean", "V-score", "window"]
    lines = [heads + ([f"s to {level:.3g}", "samples"] if level is not None else [])]
    for one in curves:
        place = one.training.record.labels[0] if not len(reference.points) else _point(reference, int(one.where[-1]))
        line = [
            one.training.name,
            f"{one.training.record.step[-1]}",
            f"{one.training.seconds[-1]:.0f}",
            _large(one.training.samples[-1]),
            with_error(float(one.largest[-1]), one.error),
            place,
            # Independent walkers at every point.
            with_error(float(one.mean[-1]), one.error / np.sqrt(len(reference.points))),
            f"{one.v_score[-1]:.1e}",
            f"{one.window}",
        ]
        if level is not None:
            first = one.reaches(level)
            line += ["-", "-"] if first is None else [f"{one.seconds[first]:.0f}", _large(one.samples[first])]
        lines.append(line)
    return aligned(lines)


def _level(curves: Sequence[Curves]) -> float | None:
    """The largest error that every run has come down to by its end; None for one run alone."""
    last = [float(one.largest[-1]) for one in curves]
    return max(last) if len(last) > 1 and np.isfinite(last).all() else None


def _large(number: float) -> str:
    return f"{number:.3g}".replace("e+0", "e").replace("e+", "e") if np.isfinite(number) else "-"


def _point(reference: Reference, row: int) -> str:
    return ", ".join(f"{value:g}" for value in reference.points[row]) or f"{row}"


def _sentences(reference: Reference, curves: Sequence[Curves]) -> tuple[str, ...]:
    unit, count = curves[0].training.physics.unit, len(reference.points)
    names = ", ".join(curves[0].training.record.names)
    points = f"{count} point{'s' if count != 1 else ''}" + (f" of {names}" if names else "")
    against = f"the exact energies ({reference.method})"
    if not reference.exact:
        against = "the lowest energy that any of the runs reaches at its end: all may lie above the exact one"
    low, high = min(one.error for one in curves), max(one.error for one in curves)
    errors = _span(low, high)
    found = [
        f"Errors in {unit} at {points}, from {against}.",
        f"Running means over the window's steps, with a statistical error of {errors} at one point (from naive errors "
        "of the steps, which correlated walkers make too small); V-score: the largest.",
        "Seconds of the steps, compilation included; samples are local energies of all members and phases.",
    ]
    if len(reference.left_out):
        listed = "; ".join(", ".join(f"{value:g}" for value in point) for point in reference.left_out)
        found.append(f"No exact energy is known at {listed}, trained by all: left out (--lowest compares there too).")
    common = count + len(reference.left_out)
    dropped = [one.training for one in curves if len(one.training.record.points) > common]
    if dropped:
        found.append(f"Points that not all runs have are left out: of {', '.join(t.name for t in dropped)}.")
    return tuple(found)


def _span(low: float, high: float) -> str:
    """`0.02`, or `0.02 to 0.03`."""
    texts = dict.fromkeys(f"{value:.2g}" for value in (low, high))
    return " to ".join(texts)
