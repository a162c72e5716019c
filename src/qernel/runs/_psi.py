"""The wavefunction of a run as a function of positions and coordinates."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qernel.ansatz import LogPsi
from qernel.run_directory import Problem, in_phase
from qernel.training import TrainingState


@dataclasses.dataclass(frozen=True, eq=False)
class Psi:
    """The trained wavefunction ψ(r; λ) of a run, callable at any λ.

    `psi(r, kappa=0.27, omega_y=1.9)` is [`LogPsi`][qernel.ansatz.LogPsi] of one configuration `r`, `"electrons dim"` in
    the Hamiltonian's unit of length, or of many with leading axes; lists of numbers will do. A coordinate that is not
    named has the value that all trained members share. Of a wavefunction that holds several phases of matter `phase`
    names one; by default it is the one that was the lowest at the nearest trained point. Positions are taken at the
    precision that the run has, and parameters in double precision, whatever the caller's setting of JAX is.
    """

    problem: Problem
    state: TrainingState

    def __call__(
        self,
        r: Float[Array | np.ndarray, "*batch electrons dim"] | Sequence[Any],
        *,
        phase: str | None = None,
        **at: float,
    ) -> LogPsi:
        """Logarithm of ψ.

        **Raises:** `ValueError` for an unknown coordinate or phase, or positions of other electrons.
        """
        hamiltonian = self.problem.system.family.hamiltonian
        shape = (hamiltonian.n_electrons, hamiltonian.dim)
        if np.shape(r)[-2:] != shape:
            raise ValueError(f"positions need the shape (..., {shape[0]} electrons, {shape[1]}), got {np.shape(r)}")
        with jax.enable_x64(True):
            positions = jnp.asarray(r, jnp.dtype(self.problem.settings.dtype))
            flat = positions.reshape(-1, *shape)
            value = _everywhere(self.state.averaged, flat, self.parameters(phase=phase, **at))
            batch = positions.shape[:-2]
            return LogPsi(value.log_magnitude.reshape(batch), value.phase.reshape(batch), value.real)

    def parameters(self, *, phase: str | None = None, **at: float) -> Any:
        """The parameters of the Hamiltonian at a point, as an ansatz takes them."""
        problem = self.problem
        points = problem.system.family.as_points({name: [value] for name, value in at.items()})
        name = self._lowest(points) if phase is None else phase
        if problem.names and name not in problem.names:
            raise ValueError(f"there is no phase '{name}' in this wavefunction: there are {', '.join(problem.names)}")
        return in_phase(problem, problem.family_at(points), [name]).select(0)

    def _lowest(self, points: Float[np.ndarray, "1 coordinates"]) -> str:
        """The phase that was the lowest at the nearest trained point."""
        problem, state = self.problem, self.state
        if not problem.names or state.mean_energy is None:
            return ""
        nearest = {name: problem.nearest(state, points, name)[0] for name in dict.fromkeys(problem.phases(state))}
        here = problem.members_of(state).points
        closest = min(np.linalg.norm(here[row] - points[0]) for row in nearest.values())
        energies = {
            name: float(state.mean_energy[row])
            for name, row in nearest.items()
            if np.linalg.norm(here[row] - points[0]) <= closest * (1 + 1e-9) + 1e-12
        }
        return min(energies, key=lambda name: energies[name])


@eqx.filter_jit
def _everywhere(ansatz: Any, r: Float[Array, "many electrons dim"], parameters: Any) -> LogPsi:
    return jax.vmap(lambda x: ansatz(x, parameters))(r)
