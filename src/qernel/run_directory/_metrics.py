"""The table of a training's steps: written while it runs, read as arrays afterwards."""

import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np
import pandas
from jaxtyping import Float, Int

from qernel import hosts
from qernel.training import StepReport, TrainingRecord, effective_share

from ._files import write_atomically

# Of each member. The first ones every table has; those that came later are missing in older tables.
_MEASURED = ("energy", "error", "variance", "acceptance", "bad_walkers")
_HEALTH = ("stuck_walkers", "redrawn_walkers", "clipped", "kinetic_difference", "kinetic_difference_error")
# Of the step: the same in the rows of all members.
_OF_STEP = ("step_norm", "distance")
_OF_STEP_LATER = ("shrink", "refused")
# What no repetition of a run gives again.
_OF_MACHINE = ("effective_per_second", "seconds", "sampling_seconds", "memory_MB")


class MetricsWriter:
    """Appends the rows of each step to `metrics.csv` and flushes them; use as a context manager.

    A row is a step and a row of walkers: those of a member, or one of several of it. Energies are per electron in the
    system's unit.

    | column | meaning |
    |---|---|
    | `step` | its number, from 1; what it measured belongs to the parameters before its update |
    | coordinates | those of the member, each under its own name |
    | `energy`, `error` | mean local energy and its naive error; `nan` if no walker had a finite one |
    | `variance` | of the local energy, in the unit squared |
    | `acceptance` | accepted share of the moves |
    | `bad_walkers` | walkers whose local energy was not finite |
    | `step_norm`, `distance` | norm of the update; change of log ψ by it; `nan` if the update was not finite |
    | `phase` | of the member, if there are several |
    | `stuck_walkers` | walkers that accepted no move |
    | `redrawn_walkers` | walkers lost where nothing is finite, put where others of the member are |
    | `clipped` | share of the walkers whose local energy the gradient saw clipped |
    | `kinetic_difference`, `..._error` | of the two kinetic estimators: zero within its error |
    | `shrink` | factor of the trust region: it bound the step where this is less than 1 |
    | `refused` | 1 if the update was not finite and therefore not made |
    | `effective_per_second` | independent samples, see [`effective_share`][qernel.training.effective_share] |
    | `seconds`, `sampling_seconds` | of the step, and of its moves; the first one's include compiling |
    | `memory_MB` | resident memory of this process |

    Local energies and update are one compiled program, whose parts cannot be timed apart without slowing it down.

    **Arguments:**

    - `path`: of the table. Rows after `after_step` are dropped first: a resumed run repeats those steps. A table with
      lines that cannot be read is kept as `metrics.damaged.csv`, with a warning.
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
        # The later ones behind the phase: who reads columns by number finds the earlier ones where they were.
        later = (*_HEALTH, *_OF_STEP_LATER, *_OF_MACHINE)
        self.columns = ("step", *names, *_MEASURED, *_OF_STEP, "phase", *later)
        self.names, self.points, self.scale = tuple(names), points, scale
        self._residuals: np.ndarray | None = None
        self._file: TextIO | None = None
        if not hosts.first():
            return
        rows = list(read_metrics(self.path))
        self._keep_damaged(len(rows))
        kept = [row for row in rows if int(row["step"]) <= after_step]
        lines = [",".join(self.columns), *(",".join(map(row.get, self.columns, self._missing())) for row in kept)]
        write_atomically(self.path, "\n".join(lines) + "\n")
        self._file = self.path.open("a", encoding="utf-8", newline="")

    def _missing(self) -> list[str]:
        """What stands where a table written by an earlier version has no column."""
        return ["" if name == "phase" else "nan" for name in self.columns]

    def _keep_damaged(self, rows: int) -> None:
        # Less the head, and what is behind the last end of a line.
        lines = max(_whole_lines(self.path).count("\n") - 1, 0)
        if lines > rows:
            aside = self.path.with_name("metrics.damaged.csv")
            shutil.copyfile(self.path, aside)
            warnings.warn(
                f"{self.path} has {lines - rows} lines that cannot be read: they are left out, and the file "
                f"as it was is kept as {aside.name}",
                stacklevel=3,
            )

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(
        self, step: int, report: StepReport, phases: Sequence[str], members: Int[np.ndarray, " rows"] | None = None
    ) -> None:
        """Append the rows of one step, with the name of each one's phase, and the number of its member where they are
        not the members in their order; of several processes the first writes."""
        if self._file is None:
            return
        report = jax.device_get(report)
        points = self.points if members is None else self.points[members]
        for row in self._rows(step, report, phases, points):
            self._file.write(",".join(str(row[name]) for name in self.columns) + "\n")
        self._file.flush()

    def _rows(
        self, step: int, report: StepReport, phases: Sequence[str], points: Float[np.ndarray, "rows coordinates"]
    ) -> Iterator[dict[str, Any]]:
        statistics, scale = report.statistics, self.scale
        walkers = report.residuals.shape[1]
        before, self._residuals = self._residuals, np.asarray(report.residuals)
        independent = np.nan if before is None else walkers * effective_share(before, self._residuals)
        rate = np.broadcast_to(independent / report.seconds, len(phases))
        of_step = {
            "step": step,
            "step_norm": f"{np.asarray(report.step_norm):.6g}",
            "distance": f"{np.asarray(report.distance):.6g}",
            "shrink": f"{np.asarray(report.shrink):.6g}",
            "refused": int(report.refused),
            "seconds": f"{report.seconds:.5g}",
            "sampling_seconds": f"{report.sampling_seconds:.5g}",
            "memory_MB": f"{resident_memory() / 1e6:.0f}",
        }
        for i, (point, phase) in enumerate(zip(points, phases, strict=True)):
            yield of_step | {
                **{name: f"{value:.12g}" for name, value in zip(self.names, point, strict=True)},
                "energy": f"{statistics.energy[i] * scale:.9g}",
                "error": f"{statistics.error[i] * scale:.6g}",
                "variance": f"{statistics.variance[i] * scale**2:.6g}",
                "acceptance": f"{report.acceptance[i]:.4f}",
                "bad_walkers": int(statistics.bad[i]),
                "phase": phase,
                "stuck_walkers": int(report.stuck[i]),
                "redrawn_walkers": int(report.redrawn[i]),
                "clipped": f"{statistics.clipped[i] / walkers:.4g}",
                "kinetic_difference": f"{report.kinetic_difference[i] * scale:.6g}",
                "kinetic_difference_error": f"{report.kinetic_difference_error[i] * scale:.6g}",
                "effective_per_second": f"{rate[i]:.5g}",
            }

    def sync(self) -> None:
        """Wait until the rows are on the disk, and not in the memory of a host that may fail."""
        if self._file is not None:
            os.fsync(self._file.fileno())


def resident_memory() -> int:
    """Memory of this process, in bytes: what is resident now, on other systems than Linux the most that it was."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        # Windows.
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes but on a Mac.
    return peak if sys.platform == "darwin" else peak * 1024


def read_metrics(path: str | Path, *, repeatable: bool = False) -> Iterator[dict[str, str]]:
    """The whole rows of a table of metrics: a last line cut off by a kill is left out, and lines that are none.

    With `repeatable`, without the columns of clocks and memory, which no repetition of a run gives again.
    """
    # Not by a reader of CSV: one stray quotation mark would take all lines behind it for one field.
    head, *lines = _whole_lines(Path(path)).split("\n")
    names = head.split(",")
    for line in lines:
        fields = line.split(",")
        row = dict(zip(names, fields, strict=False))
        if len(fields) != len(names) or not row.get("step", "").isdecimal():
            continue
        if all(_is_number(row[name]) for name in row if name != "phase"):
            yield {name: text for name, text in row.items() if name not in _OF_MACHINE} if repeatable else row


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _whole_lines(path: Path) -> str:
    # Bytes that are no text make lines that are no rows.
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    return text[: text.rfind("\n") + 1]


def read_training(path: str | os.PathLike) -> TrainingRecord:
    """Read a run's `metrics.csv`.

    A last line that a kill cut short is left out. Of several phases the one that ends lowest is kept at each point,
    with the bad walkers of all; members in one phase are averaged.

    **Raises:** `ValueError` if there is no file, no row, or a column is missing.
    """
    return _record(*_read(path))


def _read(path: str | os.PathLike) -> tuple[Any, list[str], dict[str, Any], bool]:
    """The table, the names of its coordinates, the means of every phase at every step, whether it has phases."""
    if not Path(path).is_file():
        raise ValueError(f"there is no record of the training at {path}")
    head, rows = _head(Path(path)), list(read_metrics(Path(path)))
    missing = [name for name in ("step", *_MEASURED, *_OF_STEP, "phase") if name not in head]
    if missing and head:
        raise ValueError(f"{path} has no column {', '.join(missing)}")
    if not rows:
        raise ValueError(f"{path} has no rows yet")
    table = pandas.DataFrame(rows, columns=head)
    numbers = [name for name in head if name != "phase"]
    table[numbers] = table[numbers].astype(np.float64)
    for name in (*_HEALTH, *_OF_STEP_LATER, *_OF_MACHINE):
        if name not in table:
            # Written by an earlier version.
            table[name] = np.nan
    names = [str(name) for name in table.columns[1 : table.columns.get_loc("energy")]]
    table["phase"] = table["phase"].fillna("")
    with_phases = bool((table["phase"] != "").any())
    if not with_phases:
        table = table.drop_duplicates(["step", *names], keep="last")
    rows = table.groupby(["phase", "step", *names], sort=True)
    means: Any = rows[[*_MEASURED, *_HEALTH, "effective_per_second"]].mean()
    for name in ("bad_walkers", "stuck_walkers", "redrawn_walkers"):
        means[name] = rows[name].sum(min_count=1)
    of_phases = {
        name: means.loc[name].unstack(list(range(1, 1 + len(names)))) for name in dict.fromkeys(table["phase"])
    }
    return table, names, of_phases, with_phases


def read_training_of_phases(path: str | os.PathLike) -> dict[str, TrainingRecord]:
    """Read a run's `metrics.csv` as one record for each phase, NaN where it was not trained; of a run without phases
    its only one, named "". Empty if no row is left.

    **Raises:** `ValueError` as [`read_training`][qernel.run_directory.read_training] does.
    """
    if next(read_metrics(Path(path)), None) is None:
        return {}
    table, names, of_phases, _ = _read(path)
    return {phase: _record(table, names, {phase: wide}, bool(phase)) for phase, wide in of_phases.items()}


def read_training_so_far(path: str | os.PathLike) -> TrainingRecord | None:
    """Read a run's `metrics.csv` like [`read_training`][qernel.run_directory.read_training]; None if no row is left."""
    return read_training(path) if next(read_metrics(Path(path)), None) else None


def _head(path: Path) -> list[str]:
    text = _whole_lines(path)
    return text.split("\n", 1)[0].split(",") if text else []


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

    def of_all_phases(quantity: str) -> Float[np.ndarray, "steps points"]:
        values = array(quantity)
        return np.where(np.isfinite(values).any(axis=0), np.nansum(values, axis=0), np.nan)

    of_step = ("seconds", "sampling_seconds", "memory_MB")
    per_step = table.groupby("step")[[*_OF_STEP, *_OF_STEP_LATER, *of_step]].first().reindex(step)
    single = lambda name: per_step[name].values.astype(np.float64)
    phases = list(of_phases)
    return TrainingRecord(
        step=step.astype(np.int64),
        names=tuple(names),
        points=points,
        energy=pick(energy),
        error=pick(array("error")),
        variance=pick(array("variance")),
        acceptance=pick(array("acceptance")),
        bad_walkers=of_all_phases("bad_walkers"),
        step_norm=single("step_norm"),
        distance=single("distance"),
        phase=tuple(phases[index] for index in lowest) if with_phases else (),
        stuck_walkers=of_all_phases("stuck_walkers"),
        redrawn_walkers=of_all_phases("redrawn_walkers"),
        clipped=pick(array("clipped")),
        kinetic_difference=pick(array("kinetic_difference")),
        kinetic_difference_error=pick(array("kinetic_difference_error")),
        shrink=single("shrink"),
        refused=single("refused"),
        effective_per_second=pick(array("effective_per_second")),
        seconds=single("seconds"),
        sampling_seconds=single("sampling_seconds"),
        memory=single("memory_MB"),
    )
