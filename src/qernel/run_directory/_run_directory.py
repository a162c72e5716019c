"""The folder of a run."""

from pathlib import Path

from ._checkpoint import checkpoint_steps
from ._files import write_atomically


class RunDirectory:
    """The folder of a run.

    config.toml      what ran, resolved, with versions, seed, device and precision
    metrics.csv      a row for each step and Hamiltonian
    checkpoints/     see [`qernel.run_directory.CheckpointWriter`][]
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

    def check_free(self, go_on: str = "qernel resume {path}") -> None:
        """Raises `ValueError` if a run lives here already, which says by `go_on` how to go on with it."""
        if self.begun:
            how = go_on.format(path=self.path)
            raise ValueError(f"{self.path} already holds a run: choose another directory, or go on with it: {how}")

    def create(self, config_text: str, go_on: str = "qernel resume {path}") -> None:
        """Make the folder and write `config.toml`; one that stopped before its first checkpoint is used again.

        **Raises:** `ValueError` if a run lives here already, or a file is in the way.
        """
        self.check_free(go_on)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomically(self.config, config_text)
        except OSError as error:
            raise ValueError(f"cannot write in {self.path}: {error.strerror or error}") from None
