"""The table of a training's steps: written while it runs, read as arrays afterwards."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
import pandas
from jaxtyping import Float

from qernel import hosts
from qernel.training import StepReport, TrainingRecord

from ._files import write_atomically

_MEASURED = ("energy", "error", "variance", "acceptance", "bad_walkers")
_OF_STEP = ("step_norm", "distance")


class MetricsWriter:
    """Appends the rows of each step to `metrics.csv` and flushes them; use as a context manager.

    A row is a step and a member: the coordinates of the member, energy and error per electron in the system's unit,
    `variance` of the local energy per electron in its square, acceptance, walkers with an energy that was not finite,
    norm of the step, distance that the wavefunction moved, and the phase of the member, if there are several.

    **Arguments:**

    - `path`: of the table. Rows after `after_step` are dropped first: a resumed run repeats those steps.
    - `names`, `points`: the coordinates, and their values at each member.
    - `scale`: from effective Hartree, in total, to the table's unit, per electron.
    """

    def __init__(
        self,
        path: str | Path,
        names: Sequence[str],
        points: Float[np.ndarray, "members coordinates"],
        *,
        scale: float,
        after_step: int = 0,
    ):
        self.path = Path(path)
        self.columns = ("step", *names, *_MEASURED, *_OF_STEP, "phase")
        self.names, self.points, self.scale = tuple(names), points, scale
        self._file: TextIO | None = None
        if not hosts.first():
            return
        rows = [row for row in read_metrics(self.path) if int(row["step"]) <= after_step]
        lines = [",".join(self.columns)] + [",".join(row.get(name, "") for name in self.columns) for row in rows]
        write_atomically(self.path, "\n".join(lines) + "\n")
        self._file = self.path.open("a", encoding="utf-8", newline="")

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, step: int, report: StepReport, phases: Sequence[str]) -> None:
        """Append the rows of one step, with the name of each member's phase; of several processes the first writes."""
        if self._file is None:
            return
        report = jax.device_get(report)
        statistics, scale = report.statistics, self.scale
        for i, (point, phase) in enumerate(zip(self.points, phases, strict=True)):
            row: dict[str, Any] = {
                "step": step,
                **{name: f"{value:.12g}" for name, value in zip(self.names, point, strict=True)},
                "energy": f"{statistics.energy[i] * scale:.9g}",
                "error": f"{statistics.error[i] * scale:.6g}",
                "variance": f"{statistics.variance[i] * scale**2:.6g}",
                "acceptance": f"{report.acceptance[i]:.4f}",
                "bad_walkers": int(statistics.bad[i]),
                "step_norm": f"{np.asarray(report.step_norm):.6g}",
                "distance": f"{np.asarray(report.distance):.6g}",
                "phase": phase,
            }
            self._file.write(",".join(str(row[name]) for name in self.columns) + "\n")
        self._file.flush()


def read_metrics(path: str | Path) -> Iterator[dict[str, str]]:
    """The whole rows of a table of metrics; a last line cut off by a kill is left out."""
    for row in csv.DictReader(io.StringIO(_whole_lines(Path(path)))):
        if all(row.get(name) for name in row if name != "phase"):
            yield row


def _whole_lines(path: Path) -> str:
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return text[: text.rfind("\n") + 1]


def read_training(path: str | os.PathLike) -> TrainingRecord:
    """Read a run's `metrics.csv`.

    A last line that a kill cut short is left out. Of several phases the one that ends lowest is kept at each point,
    with the bad walkers of all; members in one phase are averaged.

    **Raises:** `ValueError` if there is no file, no row, or a column is missing.
    """
    if not Path(path).is_file():
        raise ValueError(f"there is no record of the training at {path}")
    text = _whole_lines(Path(path))
    # A column of empty names would be read as numbers.
    table = pandas.read_csv(io.StringIO(text), dtype={"phase": str}) if text else pandas.DataFrame()
    missing = [name for name in ("step", *_MEASURED, *_OF_STEP, "phase") if name not in table]
    if missing and text:
        raise ValueError(f"{path} has no column {', '.join(missing)}")
    if table.empty:
        raise ValueError(f"{path} has no rows yet")
    names = [str(name) for name in table.columns[1 : table.columns.get_loc("energy")]]
    table["phase"] = table["phase"].fillna("")
    with_phases = bool((table["phase"] != "").any())
    if not with_phases:
        table = table.drop_duplicates(["step", *names], keep="last")
    rows = table.groupby(["phase", "step", *names], sort=True)
    means: Any = rows[list(_MEASURED)].mean()
    means["bad_walkers"] = rows["bad_walkers"].sum()
    of_phases = {
        name: means.loc[name].unstack(list(range(1, 1 + len(names)))) for name in dict.fromkeys(table["phase"])
    }
    return _record(table, names, of_phases, with_phases)


def _record(table, names: list[str], of_phases: dict[str, Any], with_phases: bool) -> TrainingRecord:
    """Arrays over steps and points: of several phases the one of lowest mean energy over the last fifth of the
    steps."""
    step = np.unique(table["step"].values)
    points = np.unique(table[names].values.astype(np.float64), axis=0) if names else np.zeros((1, 0))
    keys = [tuple(point) if len(names) > 1 else point[0] for point in points.tolist()] if names else None

    def array(quantity: str) -> Float[np.ndarray, "phases steps points"]:
        of = lambda wide: (wide[quantity] if keys is None else wide[quantity].reindex(columns=keys)).reindex(step)
        return np.stack([np.asarray(of(wide), np.float64).reshape(len(step), -1) for wide in of_phases.values()])

    energy = array("energy")
    late = energy[:, -max(1, len(step) // 5) :]
    known = np.isfinite(late)
    total = np.sum(np.where(known, late, 0.0), axis=1) / np.maximum(known.sum(axis=1), 1)
    lowest = np.argmin(np.where(known.any(axis=1), total, np.inf), axis=0)
    pick = lambda values: values[lowest, :, np.arange(len(points))].T
    bad = array("bad_walkers")
    bad = np.where(np.isfinite(bad).any(axis=0), np.nansum(bad, axis=0), np.nan)
    per_step = table.groupby("step")[list(_OF_STEP)].first().reindex(step)
    phases = list(of_phases)
    return TrainingRecord(
        step=step.astype(np.int64),
        names=tuple(names),
        points=points,
        energy=pick(energy),
        error=pick(array("error")),
        variance=pick(array("variance")),
        acceptance=pick(array("acceptance")),
        bad_walkers=bad,
        step_norm=per_step["step_norm"].values.astype(np.float64),
        distance=per_step["distance"].values.astype(np.float64),
        phase=tuple(phases[index] for index in lowest) if with_phases else (),
    )
