"""What is off in a training, in words, from its record."""

from collections.abc import Iterator, Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from qernel.observables import LIMITS

from ._record import TrainingRecord

# Steps that are looked back. One bad step is no news; what lasts is.
_FEW, _SOME, _MANY = 20, 50, 100
# Errors of the mean of the kinetic difference: of many members looked at again and again one is beyond four by chance.
_SIGMA = 6.0
# A clipping width of five mean deviations leaves a ten-thousandth of normal, a few hundredths of heavy-tailed energies
# outside; more than a fifth cannot be.
_CLIPPED = 0.1
_GROWTH = 100.0
# A process keeps what it once took: half as much again, and a gigabyte, is more than that.
_MEMORY, _MEMORY_MB = 1.5, 1000.0
_SHOWN = 4


class Complaint(eqx.Module):
    """Something that is off in a training.

    **Fields:**

    - `kind`: moves, acceptance, refused, trust region, variance, bad, redrawn, clipped, kinetic or memory.
    - `text`: what is off, since when, what it may come from and what to do, without a capital and a full stop.
    """

    kind: str
    text: str


def complaints(record: TrainingRecord, places: Sequence[str]) -> list[Complaint]:
    """What is off at the end of a record, one complaint of a kind at most.

    **Arguments:** `record`, of a whole training or of its last steps; `places`, the name of each of its Hamiltonians,
    such as `kappa = 0.1`.
    """
    checks = {
        "moves": _moves,
        "acceptance": _acceptance,
        "refused": _refused,
        "trust region": _trust_region,
        "variance": _variance,
        "bad": _bad,
        "redrawn": _redrawn,
        "clipped": _clipped,
        "kinetic": _kinetic,
        "memory": _memory,
    }
    of = lambda check: next(check(record, places), None)
    found = {kind: of(check) for kind, check in checks.items()} if len(record.step) else {}
    return [Complaint(kind, text) for kind, text in found.items() if text is not None]


def listed(places: Sequence[str], which: Bool[np.ndarray, " hamiltonians"]) -> str:
    """The places of a mask, the first few by name."""
    names = [place for place, here in zip(places, which, strict=True) if here]
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _trailing(holds: Bool[np.ndarray, "..."]) -> np.ndarray:
    """For how many steps something has held, at the end."""
    return np.cumprod(holds[::-1], axis=0).sum(axis=0)


def _mean(values: Float[np.ndarray, "..."]) -> np.ndarray:
    """Mean over the steps that have a value; NaN without one."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def _moves(record, places) -> Iterator[str]:
    still = _trailing(record.acceptance == 0)
    which = still >= _FEW
    if which.any():
        yield (
            f"no walker at {listed(places, which)} has moved for {still[which].min()} steps: every proposal is "
            "rejected; the wavefunction there is not finite or varies over less than a step: go on from an earlier "
            "checkpoint, with a smaller learning rate"
        )


def _acceptance(record, places) -> Iterator[str]:
    mean = _mean(record.acceptance[-_SOME:])
    low, high = LIMITS.acceptance
    which = ((mean < low) | (mean > high)) & (mean > 0)
    if which.any() and len(record.step) >= _SOME:
        value = mean[which][0]
        yield (
            f"the acceptance at {listed(places, which)} has been {value:.2f} over the last {_SOME} steps, outside of "
            f"{low:g} to {high:g}: the step size does not settle, and the walkers hardly move on from step to step; "
            "take another kernel, or more burn-in"
        )


def _refused(record, places) -> Iterator[str]:
    late = record.refused[-_FEW:]
    count = int(np.nansum(late))
    if count >= 3 and 2 * count >= len(late):
        yield (
            f"the optimiser refused {count} of the last {len(late)} steps: their updates were not finite, and the "
            "parameters stayed as they were; lower the learning rate or raise the damping"
        )


def _trust_region(record, places) -> Iterator[str]:
    bound = record.shrink < 1
    # Near the start that is what it is for.
    if len(bound) >= 2 * _MANY and bound[-_MANY:].all():
        factor = np.median(record.shrink[-_MANY:])
        if factor < 0.5:
            yield (
                f"the trust region has bound every one of the last {_MANY} steps, to {factor:.2g} of their length: "
                "it alone decides how far a step goes, and the decay of the learning rate has no effect; lower the "
                "learning rate"
            )


def _variance(record, places) -> Iterator[str]:
    steps = len(record.step)
    if steps < 2 * _FEW:
        return
    starts = range(0, steps - _FEW + 1, _FEW)
    with np.errstate(invalid="ignore"):
        medians = np.stack([np.median(record.variance[start : start + _FEW], axis=0) for start in starts])
        lowest = np.where(np.isfinite(medians), medians, np.inf).min(axis=0)
        now = np.median(record.variance[-_FEW:], axis=0)
        which = now > _GROWTH * lowest
    # An eigenstate has none: from rounding to a little more is no growth.
    which &= now > 1e-8 * np.abs(_mean(record.energy[-_FEW:])) ** 2
    if which.any():
        growth = (now[which] / lowest[which]).max()
        yield (
            f"the variance at {listed(places, which)} has grown {growth:.2g} times since it was lowest: the training "
            "has run away; go on from an earlier checkpoint with a smaller learning rate or trust region"
        )


def _often(counts: Float[np.ndarray, "steps hamiltonians"]) -> Bool[np.ndarray, " hamiltonians"]:
    """Where there were some in at least half of the last steps."""
    late = counts[-_FEW:]
    return 2 * (late > 0).sum(axis=0) >= _FEW


def _bad(record, places) -> Iterator[str]:
    which = _often(record.bad_walkers)
    if which.any():
        number = np.nanmean(record.bad_walkers[-_FEW:][:, which])
        yield (
            f"{number:.2g} local energies a step at {listed(places, which)} have not been finite over the last {_FEW} "
            "steps, and are left out: the energy is then one of another region, and no bound"
        )


def _redrawn(record, places) -> Iterator[str]:
    which = _often(record.redrawn_walkers)
    if which.any():
        number = np.nanmean(record.redrawn_walkers[-_FEW:][:, which])
        yield (
            f"{number:.2g} walkers a step at {listed(places, which)} were lost over the last {_FEW} steps, where the "
            "wavefunction is not finite, and were put where others are: look at the wavefunction there"
        )


def _clipped(record, places) -> Iterator[str]:
    mean = _mean(record.clipped[-_SOME:])
    which = mean > _CLIPPED
    if which.any() and len(record.step) >= _SOME:
        yield (
            f"{np.nanmax(mean):.0%} of the local energies at {listed(places, which)} were clipped over the last "
            f"{_SOME} steps: the gradient is not that of the energy; train with a larger clipping width"
        )


def _kinetic(record, places) -> Iterator[str]:
    if len(record.step) < _MANY:
        return
    values, errors = record.kinetic_difference[-_MANY:], record.kinetic_difference_error[-_MANY:]
    blocks = np.stack([_mean(block) for block in np.array_split(values, 10)])
    mean = _mean(values)
    with np.errstate(invalid="ignore"):
        # Walkers that move slowly make the one too small, few blocks the other.
        error = np.maximum(blocks.std(axis=0, ddof=1) / np.sqrt(10), np.sqrt(_mean(errors**2) / len(values)))
        which = (np.abs(mean) > _SIGMA * error) & (np.abs(mean) > 1e-5 * np.abs(_mean(record.energy[-_MANY:])))
    if which.any():
        sigma = np.max(np.abs(mean[which]) / np.maximum(error[which], 1e-300))
        yield (
            f"the two kinetic estimators at {listed(places, which)} differ by up to {sigma:.0f} sigma over the last "
            f"{_MANY} steps: the wavefunction has a kink or a jump, or the walkers do not follow it; its energy is no "
            "bound"
        )


def _memory(record, places) -> Iterator[str]:
    # Compiling takes some, and the first steps.
    later = record.memory[record.step >= record.step[0] + _FEW]
    if len(later) and later[-1] > _MEMORY * later[0] and later[-1] > later[0] + _MEMORY_MB:
        yield (
            f"the memory of the process has grown from {later[0]:.0f} to {later[-1]:.0f} MB: something keeps what it "
            "should let go, an observer of the steps for instance; stop and resume, nothing is lost"
        )
