"""One step of a training, as its progress shows it."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Float, Int

from qernel.training import StepReport, TrainingState

from ._problem import Problem


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of a training, as its progress shows it.

    - `number`: of the step; `state`: after it; `report`: what it measured, in effective Hartree.
    - `energies`, `acceptance`: of every row of walkers, per electron in the system's unit; `members`: the numbers of
      the problem's members that the rows train; `phases`: of these.
    - `bad`: walkers whose energy was not finite; `redrawn`: walkers that were lost and put where others are; `refused`:
      whether the update was not finite and not made.
    """

    number: int
    state: TrainingState
    report: StepReport
    energies: Float[np.ndarray, " rows"]
    acceptance: Float[np.ndarray, " rows"]
    members: Int[np.ndarray, " rows"]
    phases: list[str]
    bad: int
    redrawn: int
    refused: bool

    @staticmethod
    def of(problem: Problem, state: TrainingState, report: StepReport, measured: TrainingState | None = None) -> "Step":
        """The step of a problem that [`train`][qernel.training.train] yielded as `(state, report)`.

        `measured` is a state with the rows that it measured, where those of the state after it were given to others.
        """
        report = jax.device_get(report)
        energies = np.asarray(report.statistics.energy, np.float64) * problem.scale
        bad = int(report.statistics.bad.sum())
        measured = state if measured is None else measured
        return Step(
            number=int(state.step),
            state=state,
            report=report,
            energies=energies,
            acceptance=np.asarray(report.acceptance),
            members=problem.rows(measured),
            phases=problem.phases(measured),
            bad=bad,
            redrawn=int(report.redrawn.sum()),
            refused=bool(report.refused),
        )
