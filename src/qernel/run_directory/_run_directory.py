"""The folder of a run."""

import contextlib
import shlex
import tomllib
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from qernel import hosts

from ._checkpoint import checkpoint_steps, set_later_aside
from ._files import copy_aside, set_aside, write_atomically
from ._lock import Lock

# What a run writes: where one of them lies that no run has made, it is the user's.
_WRITTEN = ("config.toml", "metrics.csv", "results.csv", "results.nc", "figures", "checkpoints", "fault", "report.html")


class RunDirectory:
    """The folder of a run.

    config.toml      what ran, resolved, with versions, seed, device and precision
    metrics.csv      a row for each step and Hamiltonian
    checkpoints/     see [`qernel.run_directory.CheckpointWriter`][]; and a copy of config.toml, should it be lost
    fault/           the state that replays a fault, if the run stopped with one
    lock             who trains here now
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
    def configuration_kept(self) -> str:
        """Where `config.toml` is found as the run wrote it, in words, if it is no longer that; otherwise nothing."""
        kept = self.checkpoints / self.config.name
        with contextlib.suppress(OSError):
            text = kept.read_bytes()
            if not self.config.is_file() or self.config.read_bytes() != text:
                return (
                    f"its configuration as the run wrote it is kept: {shlex.join(['cp', str(kept), str(self.config)])}"
                )
        return ""

    @property
    def begun(self) -> bool:
        """Whether there is anything here to lose: a checkpoint, or results."""
        return bool(checkpoint_steps(self.checkpoints)) or self.results.exists()

    @property
    def record(self) -> dict[str, Any]:
        """What `config.toml` says of how the run was made; nothing if there is no such file, or no run wrote it."""
        try:
            found = tomllib.loads(self.config.read_text(encoding="utf-8")).get("provenance", {})
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and "command" in found else {}

    def claim(self) -> AbstractContextManager[Lock | None]:
        """The right to train in this folder, of one process at a time, or of several that work together.

        **Raises:** `ValueError` that names the other process, if there is one.
        """
        if not hosts.first():
            return contextlib.nullcontext()
        try:
            return Lock(self.path / "lock", what="is training in")
        except OSError as error:
            raise ValueError(f"cannot write in {self.path}: {error.strerror or error}") from None

    def check_free(self, go_on: str = "qernel resume {path}") -> None:
        """Raises `ValueError` if a run lives here already, which says by `go_on` how to go on with it, or if files lie
        here that a run would replace and that no run has made, or another process is about to train here."""
        if checkpoint_steps(self.checkpoints) or (self.begun and self.record):
            how = go_on.format(path=self.path)
            raise ValueError(f"{self.path} already holds a run: choose another directory, or go on with it: {how}")
        self.check_own(_WRITTEN)
        if (self.path / "lock").exists():
            with self.claim():
                pass

    def check_own(self, written: tuple[str, ...]) -> None:
        """Raises `ValueError` if any of the files `written` lies here and no run has made it."""
        theirs = [] if self.record else [name for name in written if (self.path / name).exists()]
        if theirs:
            raise ValueError(
                f"{self.path} holds {', '.join(theirs)}, which no run has made and which would be replaced: choose "
                "another directory"
            )

    def go_back_to(self, step: int) -> None:
        """Set the checkpoints after `step` aside, with a copy of the metrics, if there are any: they are not lost."""
        if max(checkpoint_steps(self.checkpoints), default=0) > step:
            set_later_aside(self.checkpoints, step)
            copy_aside(self.metrics)

    def create(self, config_text: str, go_on: str = "qernel resume {path}") -> None:
        """Make the folder and write `config.toml`; one that stopped before its first checkpoint is used again, and its
        `config.toml` kept beside.

        Take the [claim][qernel.run_directory.RunDirectory.claim] first, and keep it until the training has ended.

        **Raises:** `ValueError` if a run lives here already, or a file is in the way.
        """
        self.check_free(go_on)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            set_aside(self.config)
            self.write_configuration(config_text)
        except OSError as error:
            raise ValueError(f"cannot write in {self.path}: {error.strerror or error}") from None

    def write_configuration(self, text: str) -> None:
        """Write `config.toml` and its copy, without which no checkpoint could be read."""
        write_atomically(self.config, text)
        self.checkpoints.mkdir(exist_ok=True)
        write_atomically(self.checkpoints / self.config.name, text)
