"""Everything that a run is made of, before its first step."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from qernel import hosts
from qernel.ansatz import Ansatz, CompetingPhases
from qernel.hamiltonian import Family, InPhase, Points
from qernel.systems import System
from qernel.training import Method, TrainingState, initial_state

Chunk = int | Literal["auto"] | None


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a run trains and measures.

    - `steps`: after which the training ends; `walkers` of each member; `burn_in`: rounds of sampling before the first
      step.
    - `checkpoint_every` so many steps, the last `keep` of them stay; `patience`: failing steps in a row that are borne.
    - `competition`: the share of the steps after which phases retire that lie higher than the lowest one by more than
      `margin`, in the system's unit, per electron.
    - `dtype` of the walkers, at which the wavefunction is worked out: float32 or float64.
    - `measured_walkers`, `measured_moves`, `measured_rounds`, `measured_burn_in`, `measured_chunk`: of the evaluation.
    - `measured_colours`: those of a probed Laplacian in the evaluation; None: the exact one.

    **Raises:** `ValueError` for numbers that cannot be.
    """

    steps: int = 200
    walkers: int = 64
    burn_in: int = 20
    checkpoint_every: int = 25
    keep: int = 3
    patience: int = 10
    competition: float = 0.3
    margin: float = 1.0
    dtype: str = "float32"
    measured_walkers: int = 64
    measured_moves: int = 10
    measured_rounds: int = 40
    measured_burn_in: int = 20
    measured_chunk: Chunk = None
    measured_colours: int | None = None

    def __post_init__(self) -> None:
        for name in ("walkers", "checkpoint_every", "keep", "patience", "measured_walkers", "measured_moves"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name.replace('_', ' ')} must be at least 1, got {getattr(self, name)}")
        for name in ("steps", "burn_in", "measured_burn_in", "margin"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name.replace('_', ' ')} cannot be negative or infinite, got {getattr(self, name)}")
        if not 0 < self.competition <= 1:
            raise ValueError(f"the competition is a share of the steps above 0 and up to 1, got {self.competition}")
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"the dtype of the walkers is float32 or float64, got {self.dtype!r}")
        if self.measured_rounds < 4:
            raise ValueError(f"an error bar needs at least four measured rounds, got {self.measured_rounds}")


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What is trained: pass the parts to `qernel.training`, or run it in a directory.

    - `system`: the physics, with the points that are trained; `ansatz`: the wavefunction with its starting parameters.
    - `method`: sampler, optimiser and the rest; `settings`: how long, how many.
    - `key`: the random key of the run.
    - `points`: where the evaluation measures, None for the trained points.
    - `identity`: plain data by which checkpoints of another model are told.
    - `names`: of the phases of matter that compete in the wavefunction; none if it holds one state at each point.
    - `references`: names of the sets of orbitals that the wavefunction starts from, where they have names.
    - `notes`: words for the record of results.
    - `go_on`: how a run in a directory is gone on with, `{path}` standing for the directory.

    **Raises:** `ValueError` if walkers cannot start, or other phases are named than the wavefunction holds.
    """

    system: System
    ansatz: Ansatz
    method: Method
    settings: Settings
    key: PRNGKeyArray
    points: Float[np.ndarray, "points coordinates"] | None = None
    identity: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    names: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    notes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    walkers_key: PRNGKeyArray | None = None
    go_on: str = "qernel resume {path}"

    def __post_init__(self) -> None:
        self.system.check_walkers()
        competing = self.ansatz.phases if isinstance(self.ansatz, CompetingPhases) else 0
        if len(self.names) != competing:
            raise ValueError(
                f"the wavefunction holds {competing or 'no'} phases that compete, and {len(self.names)} are named"
            )

    @property
    def electrons(self) -> int:
        """Number of electrons."""
        return self.system.family.hamiltonian.n_electrons

    @property
    def scale(self) -> float:
        """From total energies in effective Hartree to the system's unit, per electron."""
        return self.system.units.hartree / self.electrons

    @property
    def members(self) -> Family:
        """What is trained: every point of the family, in each of its phases one after another."""
        family = self.system.family
        return family.take(np.repeat(np.arange(family.size), max(1, len(self.names))))

    def members_of(self, state: TrainingState) -> Family:
        """What each row of walkers of a state trains: the members, until rows were given to others."""
        return self.members if state.point is None else self.members.take(self.rows(state))

    def rows(self, state: TrainingState) -> Int[np.ndarray, " rows"]:
        """Number of the member that each row of walkers of a state trains."""
        if state.point is None or state.phase is None:
            return np.arange(self.members.size)
        point, phase = (np.asarray(hosts.fetch(array)) for array in (state.point, state.phase))
        return point * len(self.names) + np.round(phase).astype(int)

    def phases(self, state: TrainingState) -> list[str]:
        """Name of the phase that each member trains, empty without several."""
        if state.phase is None:
            return [""] * self.members.size
        return [self.names[number] for number in np.round(np.asarray(state.phase)).astype(int)]

    def state(
        self, *, solved: bool = True, walkers: Float[Array, "members walkers electrons dim"] | None = None
    ) -> TrainingState:
        """The state before the first step; the walkers still need their burn-in.

        `walkers` are others to start from than the system's. With `solved` false it has the right shapes only, for a
        checkpoint to be read into.
        """
        members = self.members
        size, count, names = members.size, self.settings.walkers, self.names
        dtype = jnp.dtype(self.settings.dtype)
        with jax.enable_x64(True):
            if walkers is not None:
                positions = walkers
            elif solved:
                key = self.key if self.walkers_key is None else self.walkers_key
                of_members = list(names) * self.system.family.size or None
                positions = self.system.at(members).starting_walkers(count, key=key, phases=of_members, dtype=dtype)
            else:
                shape = (size, count, self.electrons, members.hamiltonian.dim)
                positions = jax.random.normal(self.key, shape, dtype)
            phase = np.tile(np.arange(len(names)), self.system.family.size).tolist() if names else None
            return initial_state(self.ansatz, self.method, positions, key=self.key, phase=phase)

    def state_parameters(self) -> Any:
        """The parameters of the first member, as the wavefunction is called with them."""
        members = self.members
        numbers = jnp.zeros(members.size)
        parameters = InPhase(members.parameters, numbers) if self.names else members.parameters
        return jax.tree.map(lambda leaf: leaf[0], parameters)

    def family_at(self, points: Float[np.ndarray, "points coordinates"]) -> Family:
        """The same Hamiltonian at other points."""
        with jax.enable_x64(True):
            return self.system.family.at(points)

    def nearest(
        self, state: TrainingState, points: Float[np.ndarray, "points coordinates"], phase: str = ""
    ) -> np.ndarray:
        """The member in this phase whose point is nearest, for each point; distances in units of the trained range."""
        members = np.array([row for row, name in enumerate(self.phases(state)) if name == phase])
        trained = self.members_of(state).points
        scale = np.maximum(np.ptp(trained, axis=0), 1e-300)
        apart = np.linalg.norm((points[:, None] - trained[None, members]) / scale, axis=2)
        return members[np.argmin(apart, axis=1)]

    def competes(self, state: TrainingState, points: Float[np.ndarray, "points coordinates"], phase: str) -> np.ndarray:
        """Where this phase is trained: along a line, between the nearest trained points on either side at which it is
        not; in a plane, where it is trained at one of the nearest points, four for every dimension."""
        family = self.system.family
        trained_at = family.points
        here = np.array(self.phases(state)) == phase
        trained = np.zeros(family.size, bool)
        trained[self.rows(state)[here] // max(1, len(self.names))] = True
        varying = np.ptp(trained_at, axis=0) > 0
        if varying.sum() <= 1:
            axis = int(np.argmax(varying)) if varying.any() else 0
            order = np.argsort(trained_at[:, axis])
            x, trained = trained_at[order, axis], trained[order]
            places = np.clip(points[:, axis], x[0], x[-1])
            below = np.clip(np.searchsorted(x, places, side="right") - 1, 0, len(x) - 1)
            above = np.clip(np.searchsorted(x, places, side="left"), 0, len(x) - 1)
            return trained[below] | trained[above]
        scale = np.maximum(np.ptp(trained_at, axis=0), 1e-300)
        apart = np.linalg.norm((points[:, None] - trained_at[None]) / scale, axis=2)
        near = np.argsort(apart, axis=1)[:, : 4 * int(varying.sum())]
        return np.asarray(trained[near].any(axis=1))

    def with_points(self, points: Points) -> "Problem":
        """The same wavefunction trained at other points."""
        return dataclasses.replace(self, system=self.system.at(self.family_at(self.system.family.as_points(points))))


def trained_parameters(ansatz: Any) -> int:
    """Number of trained parameters of a wavefunction."""
    from qernel.layers import trainable

    marked = jax.tree.map(lambda leaf, use: jnp.size(leaf) if use else 0, ansatz, trainable(ansatz))
    return int(sum(jax.tree.leaves(marked)))
