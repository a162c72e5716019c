"""The folder of a run: what is where, and the table of metrics that grows with each step."""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import jax
import numpy as np

from qernel import hosts

from ._checkpoint import checkpoint_steps
from qernel.training import StepReport

METRICS = (
    "step",
    "depth_meV",
    "energy",
    "error",
    "variance",
    "acceptance",
    "bad_walkers",
    "step_norm",
    "distance",
    "phase",
)


class RunDirectory:
    """The folder of a run.

    config.toml      what ran, resolved, with versions, seed, device and precision
    metrics.csv      a row for each step and Hamiltonian
    checkpoints/     see [`qernel.training.CheckpointWriter`][]
    fault/           the state that replays a fault, if the run stopped with one
    results.nc, results.csv, figures/
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.toml"

    @property
    def metrics(self) -> Path:
        """The table of metrics."""
        return self.path / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def fault(self) -> Path:
        """The folder of the state that replays a fault."""
        return self.path / "fault"

    @property
    def results(self) -> Path:
        """The labelled results (NetCDF); `results.csv` lies beside it."""
        return self.path / "results.nc"

    @property
    def figures(self) -> Path:
        """The folder of the figures."""
        return self.path / "figures"

    @property
    def exists(self) -> bool:
        """Whether a run lives here."""
        return self.config.is_file()

    @property
    def begun(self) -> bool:
        """Whether there is anything here to lose: a checkpoint, or results."""
        return bool(checkpoint_steps(self.checkpoints)) or self.results.exists()

    def create(self, config_text: str) -> None:
        """Make the folder and write `config.toml`; one that stopped before its first checkpoint is used again.

        **Raises:** `ValueError` if a run lives here already, or a file is in the way.
        """
        if self.begun:
            raise ValueError(f"{self.path} already holds a run: choose another directory, or resume that run")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.config, config_text)
        except OSError as error:
            raise ValueError(f"cannot write in {self.path}: {error.strerror or error}") from None


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a kill leaves either the old or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


class MetricsWriter:
    """Appends the rows of each step to `metrics.csv` and flushes them; use as a context manager.

    Energies and errors in meV per electron; `variance` is that of the local energy per electron, in meV².

    **Arguments:**

    - `path`: of the table. Rows after `after_step` are dropped first: a resumed run repeats those steps.
    - `depths_meV`: one for each Hamiltonian; `phases`, the name of its phase, if there are several.
    - `hartree_meV`, `electrons`: for the units.
    """

    def __init__(
        self,
        path: str | Path,
        depths_meV: Iterable[float],
        *,
        phases: Iterable[str] | None = None,
        hartree_meV: float,
        electrons: int,
        after_step: int = 0,
    ):
        self.path = Path(path)
        self.depths = tuple(float(depth) for depth in depths_meV)
        self.phases = ("",) * len(self.depths) if phases is None else tuple(phases)
        self.scale = hartree_meV / electrons
        self._file: TextIO | None = None
        if not hosts.first():
            return
        rows = [row for row in read_metrics(self.path) if int(row["step"]) <= after_step]
        lines = [",".join(METRICS)] + [",".join(row.get(name, "") for name in METRICS) for row in rows]
        write_atomically(self.path, "\n".join(lines) + "\n")
        self._file = self.path.open("a", encoding="utf-8", newline="")

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, step: int, report: StepReport) -> None:
        """Append the rows of one step; of several processes the first one writes."""
        if self._file is None:
            return
        report = jax.device_get(report)
        statistics, scale = report.statistics, self.scale
        for i, (depth, phase) in enumerate(zip(self.depths, self.phases, strict=True)):
            row: dict[str, Any] = {
                "step": step,
                "depth_meV": f"{depth:g}",
                "energy": f"{statistics.energy[i] * scale:.6f}",
                "error": f"{statistics.error[i] * scale:.6f}",
                "variance": f"{statistics.variance[i] * scale**2:.6g}",
                "acceptance": f"{report.acceptance[i]:.4f}",
                "bad_walkers": int(statistics.bad[i]),
                "step_norm": f"{np.asarray(report.step_norm):.6g}",
                "distance": f"{np.asarray(report.distance):.6g}",
                "phase": phase,
            }
            self._file.write(",".join(str(row[name]) for name in METRICS) + "\n")
        self._file.flush()


def read_metrics(path: str | Path) -> Iterator[dict[str, str]]:
    """The whole rows of a table of metrics; a last line cut off by a kill is left out."""
    if not Path(path).is_file():
        return
    text = Path(path).read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    for row in csv.DictReader(whole.splitlines()):
        if all(row.get(name) for name in METRICS[:-1]):
            yield row
