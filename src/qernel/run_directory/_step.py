"""One step of a training, as its progress shows it."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float

from qernel.training import StepReport, TrainingState

from ._problem import Problem


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a training, as its progress shows it.

    - `number`: of the step; `state`: after it; `report`: what it measured, in effective Hartree.
    - `energies`, `acceptance`: of every member, per electron in the system's unit; `phases`: of these.
    - `bad`: walkers whose energy was not finite; `redrawn`: walkers that were lost and put where others are; `refused`:
      whether the update was not finite and not made.
    """

    number: int
    state: TrainingState
    report: StepReport
    energies: Float[np.ndarray, " members"]
    acceptance: Float[np.ndarray, " members"]
    phases: list[str]
    bad: int
    redrawn: int
    refused: bool

    @staticmethod
    def of(problem: Problem, state: TrainingState, report: StepReport, phases: list[str] | None = None) -> "Step":
        """The step of a problem that [`train`][qernel.training.train] yielded as `(state, report)`.

        `phases` are those that it measured, where the state after it has others.
        """
        report = jax.device_get(report)
        energies = np.asarray(report.statistics.energy, np.float64) * problem.scale
        bad = int(report.statistics.bad.sum())
        phases = problem.phases(state) if phases is None else phases
        return Step(
            number=int(state.step),
            state=state,
            report=report,
            energies=energies,
            acceptance=np.asarray(report.acceptance),
            phases=phases,
            bad=bad,
            redrawn=int(report.redrawn.sum()),
            refused=bool(report.refused),
        )
