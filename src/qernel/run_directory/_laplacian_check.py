"""The comparison of the forward Laplacian with the exact one, beside the first steps of a run."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from qernel.check import LaplacianCheck, compiled_check
from qernel.training import Method, TrainingState

from ._problem import Problem


class PendingCheck:
    """Is the forward Laplacian the exact one? Compiled by another thread, from when it is first asked for, and answered
    between two steps."""

    def __init__(self, problem: Problem, state: TrainingState):
        method: Method = problem.method
        parameters = state.in_phase(problem.members).parameters
        self._asked = (problem.ansatz, parameters, state.positions, method.laplacian)
        self._compiling: Future[Callable[[], LaplacianCheck]] | None = None
        self._settled = False

    def settle(self, *, wait: bool) -> None:
        """Compare, if the programs are there or `wait` says to wait for them. Raises `RuntimeError` if they differ."""
        if self._settled:
            return
        if self._compiling is None:
            other = ThreadPoolExecutor(1)
            self._compiling = other.submit(compiled_check, *self._asked)
            other.shutdown(wait=False)
        if not (wait or self._compiling.done()):
            return
        check, self._settled = self._compiling.result()(), True
        if not check.passed:
            raise RuntimeError(
                f"the forward Laplacian differs from the exact one by {check.difference:.1e} (relative) on two "
                "walkers: the energies are wrong, and training them was stopped"
            )
