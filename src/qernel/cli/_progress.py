"""Live progress: a small table on a terminal, plain lines elsewhere."""

import collections
import contextlib
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from qernel.run_directory import Problem, Step

_WINDOW = 20


class TrainingProgress:
    """Energies per electron at up to four points as running means over 20 steps, acceptance, time left.

    Of several phases, one after the other at each point, the lowest is shown.

    The error is that of the running mean, from the spread of its steps: a sign of life, not a result. Steps without a
    finite energy are left out of it; walkers that were left out, put elsewhere, and refused steps are counted.
    """

    def __init__(self, console: Console, problem: Problem, first: int, last: int):
        self.console, self.first, self.last = console, first, last
        self.step = first
        family = problem.system.family
        varying = [family.coordinates.index(coordinate) for coordinate in family.varying]
        self.labels = [", ".join(f"{x:g}" for x in point[varying]) for point in family.points]
        self.head = ", ".join(coordinate.symbol for coordinate in family.varying) or "member"
        units = {c.unit for c in family.varying if c.unit != "1"}
        self.head_unit = f" ({units.pop()})" if len(units) == 1 else ""
        self.unit = problem.system.units.energy
        self.shown = sorted({round(i) for i in np.linspace(0, family.size - 1, min(4, family.size))})
        self.energies: collections.deque[np.ndarray] = collections.deque(maxlen=_WINDOW)
        self.acceptance = np.zeros(family.size)
        self.rows: Any = slice(None)
        self.times: collections.deque[float] = collections.deque(maxlen=50)
        self.bad, self.redrawn, self.refused = 0, 0, 0
        self.printed = 0.0
        self.live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None

    def __enter__(self) -> "TrainingProgress":
        if self.live is not None:
            self.live.start()
            self.live.update(self._table())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def update(self, step: Step) -> None:
        """Show one step more."""
        self.step, self.bad = step.number, self.bad + step.bad
        self.redrawn, self.refused = self.redrawn + step.redrawn, self.refused + step.refused
        size, members = len(self.labels), len(step.members)
        # Of each member the mean of its rows.
        self.energies.append(_of_members(step.energies, step.members, members))
        means = _mean(np.stack(self.energies)).reshape(size, -1)
        lowest = np.argmin(np.where(np.isnan(means), np.inf, means), axis=1)
        self.rows = np.arange(size) * means.shape[1] + lowest
        self.acceptance = _of_members(step.acceptance, step.members, members)[self.rows]
        self.times.append(time.monotonic())
        if self.live is not None:
            self.live.update(self._table())
        elif self._is_due():
            self.printed = time.monotonic()
            # Flushed: a batch system's log file should grow while one looks at it.
            self.console.print(self._line())
            self.console.file.flush()

    def _is_due(self) -> bool:
        share = max(1, (self.last - self.first) // 20)
        first_or_last = self.step in (self.first + 1, self.last)
        return first_or_last or self.step % share == 0 or time.monotonic() - self.printed > 30

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        values = np.stack(self.energies)[:, self.rows]
        mean, count = _mean(values), np.isfinite(values).sum(axis=0)
        spread = np.where(np.isfinite(values), values - mean, 0.0)
        return mean, np.sqrt((spread**2).sum(axis=0) / np.maximum(count - 1, 1) / np.maximum(count, 1))

    def _left(self) -> str:
        if len(self.times) < 3:
            return "..."
        rate = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
        return clock(rate * (self.last - self.step))

    def _cell(self, mean: float, error: float) -> str:
        # Two digits of the error tell as much as a running mean of twenty steps can.
        digits = 2 if not error else int(np.clip(1 - np.floor(np.log10(error)), 2, 8))
        return f"{mean:.{digits}f}" + (f" ± {error:.{digits}f}" if error else "")

    def _line(self) -> str:
        mean, error = self._means()
        energies = "  ".join(f"{self.labels[i]}: {self._cell(float(mean[i]), float(error[i]))}" for i in self.shown)
        counts = {"bad walkers": self.bad, "re-drawn": self.redrawn, "refused steps": self.refused}
        bad = "".join(f"  {name} {count}" for name, count in counts.items() if count)
        return (
            f"step {self.step:>{len(str(self.last))}}/{self.last}  {self.head} {energies} {self.unit}  "
            f"acceptance {self.acceptance.mean():.2f}{bad}  {self._left()} left"
        )

    def _table(self) -> RenderableType:
        bar = Progress(TextColumn("step {task.completed}/{task.total}"), BarColumn(), TextColumn("{task.fields[left]}"))
        bar.add_task("", total=self.last, completed=self.step, left=f"{self._left()} left")
        table = Table(box=None, pad_edge=False)
        for head in (f"{self.head}{self.head_unit}", f"energy ({self.unit} per electron)", "acceptance"):
            table.add_column(head, justify="right")
        mean, error = self._means() if self.energies else (np.zeros(0), np.zeros(0))
        for i in self.shown if self.energies else ():
            table.add_row(self.labels[i], self._cell(float(mean[i]), float(error[i])), f"{self.acceptance[i]:.2f}")
        parts: list[RenderableType] = [bar, table]
        if self.bad:
            parts.append(Text(f"{self.bad} walkers had a non-finite energy so far and were left out", "yellow"))
        if self.redrawn:
            parts.append(Text(f"{self.redrawn} of them were lost and put where others are", "yellow"))
        if self.refused:
            parts.append(Text(f"{self.refused} steps were refused so far: their updates were not finite", "yellow"))
        return Group(*parts)


def _of_members(values: np.ndarray, members: np.ndarray, count: int) -> np.ndarray:
    """The mean of each member over its rows, NaN for one that has none."""
    number = np.bincount(members, minlength=count)
    total = np.bincount(members, values, minlength=count)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the steps that measured something; NaN without one."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


@contextlib.contextmanager
def measuring(console: Console) -> Iterator[Any]:
    """A bar on a terminal, nothing elsewhere; yields `update(text, done, total)`."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("measuring", total=None)
        yield lambda text, done, total: bar.update(task, description=text, completed=done, total=total)


def clock(seconds: float) -> str:
    """A duration as 0:42, 12:05 or 1:02:03."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
