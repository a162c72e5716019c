"""What a run directory holds."""

import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from qernel.evaluation import (
    Axis,
    axes_of,
    coordinates_of,
    ground_state,
    in_order,
    phases_of,
    positions_on,
    read_netcdf,
    same_points,
)
from qernel.judgement import Finding, findings
from qernel.presets import Config, ConfigurationError, configuration_text, parse
from qernel.run_directory import RunDirectory, check_results, read_training_so_far
from qernel.training import TrainingRecord

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Record:
    """A run directory, read: results, and the configuration, its provenance and the training where they are.

    - `dataset`: the results, with a dimension of separate phases if there are any; `lowest`: those of the lowest phase.
    - `config`: None if there is no file, or a script made the run; `settings`: what the file says then, by section.
    - `text`: of the file; `provenance`: its record of where the run was made.
    """

    path: Path
    dataset: "xarray.Dataset"
    lowest: "xarray.Dataset"
    config: Config | None
    settings: dict[str, Any]
    text: str
    provenance: dict[str, Any]
    training: TrainingRecord | None
    findings: tuple[Finding, ...]

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The coordinates that vary."""
        return axes_of(self.dataset)

    @property
    def symbols(self) -> str:
        """The coordinates that vary, as the wavefunction depends on them."""
        return ", ".join(axis.symbol for axis in self.axes) or "λ"

    @property
    def order(self) -> list[int]:
        """Rows by increasing coordinate."""
        return in_order(self.lowest).tolist()

    @property
    def phases(self) -> list[str]:
        """Names of the phases that were measured separately."""
        return phases_of(self.dataset)

    @property
    def energy_unit(self) -> str:
        """Unit of energies per electron."""
        return str(self.dataset["energy"].attrs["units"])

    @property
    def electrons(self) -> tuple[int, int]:
        """Electrons up and down."""
        return int(self.dataset.attrs["electrons_up"]), int(self.dataset.attrs["electrons_down"])

    @property
    def trained_points(self) -> Float[np.ndarray, "points coordinates"] | None:
        """Where the wavefunction was trained, a value of each of the family's coordinates; None where not recorded."""
        text = self.dataset.attrs.get("trained_points")
        points = None if not text else np.asarray(json.loads(str(text)), np.float64)
        names = coordinates_of(self.dataset)
        return None if points is None or points.ndim != 2 or points.shape[1] != len(names) or not names else points

    def trained(self, row: int) -> bool | None:
        """Whether the wavefunction was trained at the point of this row; None where that is not recorded."""
        points = self.trained_points
        if points is None:
            return None
        here = np.array([positions_on(self.lowest, axis)[row] for axis in coordinates_of(self.lowest)])
        return bool(same_points(here[None], points).any())


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
    text = configuration_text(directory.config) if directory.exists else ""
    dataset = read_netcdf(directory.results)
    check_results(dataset, directory)
    training = read_training_so_far(directory.metrics)
    config, sections = _read(text)
    return Record(
        path=path,
        dataset=dataset,
        lowest=ground_state(dataset),
        config=config,
        settings={name: entry for name, entry in sections.items() if name != "provenance"},
        text=text,
        provenance=sections.get("provenance", {}),
        training=training,
        findings=tuple(findings(dataset, training)),
    )


def _read(text: str) -> tuple[Config | None, dict[str, Any]]:
    """The configuration, None if the file is none (a script writes what it knows), and the file's sections."""
    try:
        sections = tomllib.loads(text)
    except (ValueError, RecursionError):
        return None, {}
    try:
        return (parse(text) if text else None), sections
    except ConfigurationError:
        return None, sections
