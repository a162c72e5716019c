"""A training's own look at itself: sentences while it runs, each once."""

import time

import numpy as np

from qernel import hosts
from qernel.training import TrainingRecord, complaints, listed

from ._metrics import resident_memory
from ._problem import Problem
from ._step import Step

# The last steps are kept one by one, and of those before them one in so many.
_RECENT = 200


class Health:
    """What is off in a training, said once for each kind and place while it runs.

    **Arguments:** `every`, how many steps lie between two looks; `still`, steps after which a walker that has not moved
    is called stuck.
    """

    def __init__(self, problem: Problem, *, every: int = 10, still: int = 200):
        self._problem, self._every, self._still = problem, every, still
        self._rows: list[dict[str, np.ndarray]] = []
        self._bad_terms: dict[str, int] = {}
        self._said: set[str] = set()
        self._looked, self._cost = time.perf_counter(), 0.0
        self._before: tuple[int, np.ndarray] | None = None
        self._places = [self._place(point) for point in problem.members.points]

    def _place(self, point: np.ndarray) -> str:
        family = self._problem.system.family
        values = dict(zip((c.name for c in family.coordinates), point, strict=True))
        words = [f"{c.symbol} = {values[c.name]:g}" + ("" if c.unit == "1" else f" {c.unit}") for c in family.varying]
        return ", ".join(words) or "the one member"

    def look(self, step: Step) -> list[str]:
        """Take note of a step; the sentences that are new. Every process must call it."""
        self._note(step)
        found = self._stuck(step)
        if self._is_due(step):
            begun = time.perf_counter()
            found |= {complaint.kind: complaint.text for complaint in complaints(self._record(step), self._named(step))}
            self._looked = time.perf_counter()
            self._cost = self._looked - begun
        if "bad" in found:
            found["bad"] += f" (not finite: {', '.join(self._bad_terms)})"
        new = {kind: text for kind, text in found.items() if kind not in self._said}
        self._said |= set(new)
        return [f"{text} (step {step.number})" for text in new.values()]

    def _is_due(self, step: Step) -> bool:
        if len(self._rows) < self._every:
            # A training may be short.
            return True
        # Steps may be as short as a look: looks take a hundredth of the time at most.
        return step.number % self._every == 0 and time.perf_counter() - self._looked > 100 * self._cost

    def _named(self, step: Step) -> list[str]:
        pairs = zip((self._places[member] for member in step.members), step.phases, strict=True)
        return [f"{place} ({phase})" if phase else place for place, phase in pairs]

    def _note(self, step: Step) -> None:
        report, scale = step.report, self._problem.scale
        statistics, walkers = report.statistics, report.residuals.shape[1]
        values = {
            "step": step.number,
            "energy": statistics.energy * scale,
            "error": statistics.error * scale,
            "variance": statistics.variance * scale**2,
            "acceptance": report.acceptance,
            "bad_walkers": statistics.bad,
            "stuck_walkers": report.stuck,
            "redrawn_walkers": report.redrawn,
            "clipped": statistics.clipped / walkers,
            "kinetic_difference": report.kinetic_difference * scale,
            "kinetic_difference_error": report.kinetic_difference_error * scale,
            "shrink": report.shrink,
            "refused": report.refused,
            "step_norm": report.step_norm,
            "distance": report.distance,
            "memory": resident_memory() / 1e6,
        }
        self._rows.append({name: np.asarray(value, np.float64) for name, value in values.items()})
        # Of the oldest of the recent ones only what a later look compares with.
        if len(self._rows) > 2 * _RECENT:
            old, recent = self._rows[:-_RECENT], self._rows[-_RECENT:]
            kept = [row for row in old if int(row["step"]) % _RECENT == 0] or old[:1]
            self._rows = kept + recent
        for name, count in report.bad_terms.items():
            if np.sum(count):
                self._bad_terms[name] = step.number

    def _record(self, step: Step) -> TrainingRecord:
        columns = {name: np.stack([row[name] for row in self._rows]) for name in self._rows[0]}
        missing = np.full(columns["energy"].shape, np.nan)
        family = self._problem.members
        return TrainingRecord(
            **{**columns, "step": columns["step"].astype(np.int64)},
            names=tuple(coordinate.name for coordinate in family.coordinates),
            points=family.points[step.members],
            effective_per_second=missing,
            seconds=missing[:, 0],
            sampling_seconds=missing[:, 0],
            phase=tuple(step.phases),
        )

    def _stuck(self, step: Step) -> dict[str, str]:
        """Walkers that are where they were long ago: counts of steps without a move do not tell which they were."""
        if self._before is not None and step.number < self._before[0] + self._still:
            return {}
        positions = hosts.fetch(step.state.positions)
        before, self._before = self._before, (step.number, positions)
        if before is None or before[1].shape != positions.shape:
            return {}
        same = np.all(before[1] == positions, axis=(2, 3)).sum(axis=1)
        if not same.any():
            return {}
        return {
            "stuck": f"{same.sum()} of {positions.shape[1]} walkers at {listed(self._named(step), same > 0)} have not "
            f"moved for {step.number - before[0]} steps: the wavefunction is far larger where they are than around "
            "them, as at a spike, and the energy is theirs; take another kernel or smaller moves, and look at the "
            "wavefunction there"
        }
