"""Live progress: a small table on a terminal, plain lines elsewhere."""

import collections
import time
from types import TracebackType

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

_WINDOW = 20


class TrainingProgress:
    """Energies per electron at up to four depths as running means over 20 steps, acceptance, time left.

    Of several phases, one after the other at each depth, the lowest is shown.

    The error is that of the running mean, from the spread of its steps: a sign of life, not a result.
    """

    def __init__(self, console: Console, depths_meV: tuple[float, ...], first: int, last: int):
        self.console, self.first, self.last = console, first, last
        self.step = first
        count = min(4, len(depths_meV))
        self.shown = sorted({round(i) for i in np.linspace(0, len(depths_meV) - 1, count)})
        self.depths = depths_meV
        self.energies: collections.deque[np.ndarray] = collections.deque(maxlen=_WINDOW)
        self.acceptance = np.zeros(len(depths_meV))
        self.rows = slice(None)
        self.times: collections.deque[float] = collections.deque(maxlen=50)
        self.bad = 0
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

    def update(self, step: int, energies: np.ndarray, acceptance: np.ndarray, bad: int) -> None:
        """One step more: energies in meV per electron and acceptances, each by depth (and phase)."""
        self.step, self.bad = step, self.bad + bad
        self.energies.append(np.asarray(energies, np.float64))
        means = np.stack(self.energies).mean(axis=0).reshape(len(self.depths), -1)
        lowest = np.nanargmin(np.where(np.isnan(means), np.inf, means), axis=1)
        self.rows = np.arange(len(self.depths)) * means.shape[1] + lowest
        self.acceptance = np.asarray(acceptance)[self.rows]
        self.times.append(time.monotonic())
        if self.live is not None:
            self.live.update(self._table())
        elif self._is_due():
            self.printed = time.monotonic()
            # Flushed: a batch system's log file should grow while one looks at it.
            self.console.print(self._line(), soft_wrap=True)
            self.console.file.flush()

    def _is_due(self) -> bool:
        share = max(1, (self.last - self.first) // 20)
        first_or_last = self.step in (self.first + 1, self.last)
        return first_or_last or self.step % share == 0 or time.monotonic() - self.printed > 30

    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        values = np.stack(self.energies)[:, self.rows]
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.zeros(len(self.depths))
        return values.mean(axis=0), error

    def _left(self) -> str:
        if len(self.times) < 3:
            return "..."
        rate = (self.times[-1] - self.times[0]) / (len(self.times) - 1)
        return clock(rate * (self.last - self.step))

    def _cell(self, mean: float, error: float) -> str:
        return f"{mean:.2f}" + (f" ± {error:.2f}" if error else "")

    def _line(self) -> str:
        mean, error = self._means()
        energies = "  ".join(
            f"V0={self.depths[i]:g}: {self._cell(float(mean[i]), float(error[i]))}" for i in self.shown
        )
        bad = f"  bad walkers {self.bad}" if self.bad else ""
        return (
            f"step {self.step:>{len(str(self.last))}}/{self.last}  {energies} meV  "
            f"acceptance {self.acceptance.mean():.2f}{bad}  {self._left()} left"
        )

    def _table(self) -> RenderableType:
        bar = Progress(
            TextColumn("step {task.completed}/{task.total}"),
            BarColumn(),
            TextColumn("{task.fields[left]} left"),
        )
        bar.add_task("", total=self.last, completed=self.step, left=self._left() if self.energies else "compiling,")
        if not self.energies:
            return bar
        mean, error = self._means()
        table = Table(box=None, padding=(0, 3, 0, 0))
        table.add_column("V₀ / meV", justify="right")
        table.add_column("energy / meV per electron", justify="right")
        table.add_column("acceptance", justify="right")
        for i in self.shown:
            table.add_row(
                f"{self.depths[i]:g}",
                self._cell(float(mean[i]), float(error[i])),
                f"{self.acceptance[i]:.2f}",
            )
        parts: list[RenderableType] = [bar, table]
        if self.bad:
            parts.append(f"[yellow]{self.bad} walkers had a non-finite energy so far and were left out[/]")
        return Group(*parts)


def clock(seconds: float) -> str:
    """A duration as 0:42, 12:05 or 1:02:03."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
