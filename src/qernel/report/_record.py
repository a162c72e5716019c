"""What a run directory holds."""

import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qernel.evaluation import read_netcdf
from qernel.judgement import Finding, findings
from qernel.run_directory import read_training
from qernel.training import TrainingRecord
from qernel.presets import Config, parse
from qernel.run_directory import RunDirectory, read_metrics

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Record:
    """A run directory, read: results, and the configuration, its provenance and the training where they are."""

    path: Path
    dataset: "xarray.Dataset"
    config: Config | None
    provenance: dict[str, Any]
    training: TrainingRecord | None
    findings: tuple[Finding, ...]

    @property
    def order(self) -> list[int]:
        """Rows by increasing coordinate."""
        return np.argsort(self.dataset[self.dataset.attrs["axis"]].values, kind="stable").tolist()

    @property
    def potentials(self) -> list[str]:
        """Names of the terms of the potential energy."""
        return np.atleast_1d(self.dataset.attrs["potentials"]).tolist()

    @property
    def electrons(self) -> tuple[int, int]:
        """Electrons up and down."""
        return int(self.dataset.attrs["electrons_up"]), int(self.dataset.attrs["electrons_down"])

    @property
    def moire(self) -> bool:
        """Whether the system is the moiré family, whose Hamiltonian is known in full."""
        return "depth_meV" in self.dataset.coords and sorted(self.potentials) == ["interaction", "moire"]

    def trained(self, row: int) -> bool | None:
        """Whether the wavefunction was trained at this row's depth; None where that is not recorded."""
        depths = self.dataset.attrs.get("trained_depths_meV")
        if depths is None or self.dataset.attrs["axis"] != "depth_meV":
            return None
        return bool(np.any(np.abs(np.asarray(depths) - self.dataset["depth_meV"].values[row]) < 1e-6))


def read_record(run_dir: str | os.PathLike) -> Record:
    """Read a run directory; only `results.nc` must be there.

    **Raises:** `ValueError` that says what is missing.
    """
    path = Path(run_dir)
    directory = RunDirectory(path)
    if not path.is_dir():
        raise ValueError(f"there is no directory {path}")
    if not directory.results.is_file():
        raise ValueError(f"{path} has no results.nc to report on: run 'qernel evaluate {path}' first")
    text = directory.config.read_text(encoding="utf-8") if directory.exists else ""
    config = parse(text, source=str(directory.config)) if text else None
    dataset = read_netcdf(directory.results)
    training = read_training(directory.metrics) if next(read_metrics(directory.metrics), None) else None
    provenance = tomllib.loads(text).get("provenance", {})
    return Record(path, dataset, config, provenance, training, tuple(findings(dataset, training)))
