"""Errors of a training along its steps: running means, against a reference that all runs share."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from qernel.evaluation import same_points

from ._training import Points, Training

# Of the steps of a run, in one running mean at most: a longer one shows how the energy was, not how it is.
_LONGEST = 4
# So many running means side by side in the run that needs the longest, unless an error is asked for.
_SIDE_BY_SIDE = 20


@dataclasses.dataclass(frozen=True)
class Reference:
    """Energies that errors are taken from: `exact` ones, found by `method`, or the lowest that any of the runs has
    reached at its end; `points`, those of all runs where there are such, and `left_out`, others that all trained at."""

    points: Points
    energies: Float[np.ndarray, " points"]
    exact: bool
    method: str
    left_out: Float[np.ndarray, "others coordinates"]


@dataclasses.dataclass(frozen=True)
class Curves:
    """The errors of one run after each step, from the first that has a whole window behind it.

    - `window`: steps of the running mean, those up to and with each step; `error`: the statistical error of such a
      mean at one point, the median over points, from naive errors of the steps.
    - `largest`, `mean`: of the energies above the reference, over the points, and `where`, the point of the largest.
    - `v_score`: the largest over the points, of the median of the steps' variances: one walker near a node may be most
      of a mean.
    """

    training: Training
    window: int
    error: float
    step: Int[np.ndarray, " steps"]
    seconds: Float[np.ndarray, " steps"]
    samples: Float[np.ndarray, " steps"]
    largest: Float[np.ndarray, " steps"]
    mean: Float[np.ndarray, " steps"]
    where: Int[np.ndarray, " steps"]
    v_score: Float[np.ndarray, " steps"]

    def reaches(self, level: float) -> int | None:
        """The first place of the curve at which the largest error is no more than `level`; None if there is none."""
        below = np.flatnonzero(self.largest <= level)
        return int(below[0]) if len(below) else None


def curves_of(
    trainings: Sequence[Training], error: float | None = None, lowest: bool = False
) -> tuple[Reference, tuple[Curves, ...]]:
    """Errors of several trainings, at the points that they have in common, against the exact energies.

    Points where these are not known are left out: there the last error of the best run would be zero, and means and
    largest ones over both kinds of points would mean nothing. Where none is known, or with `lowest`, all points count,
    and errors are those above the lowest energy that any of the runs reaches.

    Single steps are too noisy to be compared, and of two noisy curves the noisier one seems to have the larger largest
    error: every run has the window that gives its running means the same statistical `error`, in the unit of energy, by
    default the one that the noisiest run has over a twentieth of its steps.

    **Raises:** `ValueError` if the trainings are of different systems or have no point in common, or `error` is not
    positive.
    """
    if error is not None and not (np.isfinite(error) and error > 0):
        raise ValueError(f"the statistical error of a running mean must be positive, got {error:g}")
    points = _common_points(trainings)
    for other in trainings[1:]:
        _check_same(trainings[0], other, points)
    exact, method = _exact(trainings, points)
    known = np.isfinite(exact)
    chosen = known if known.any() and not lowest else np.ones(len(points), bool)
    columns = [_columns(t, points)[chosen] for t in trainings]
    noise = [_noise(t, c) for t, c in zip(trainings, columns, strict=True)]
    windows = _windows(trainings, noise, error)
    energies = [_running(t.record.energy[:, c], w) for t, c, w in zip(trainings, columns, windows, strict=True)]
    reached = np.stack([energy[-1] for energy in energies])
    is_exact = bool(known.any()) and not lowest
    best = exact[chosen] if is_exact else np.min(np.where(np.isfinite(reached), reached, np.inf), axis=0)
    reference = Reference(points[chosen], best, is_exact, method if is_exact else "", points[~chosen])
    found = []
    for training, column, width, of_step, energy in zip(trainings, columns, windows, noise, energies, strict=True):
        record, after = training.record, slice(width - 1, None)
        above = energy - reference.energies
        variance = _running_median(record.variance[:, column], width)
        with np.errstate(divide="ignore", invalid="ignore"):
            scores = training.physics.electrons * variance / energy**2
        filled = np.where(np.isfinite(above), above, -np.inf)
        where = np.argmax(filled, axis=1)
        whole = np.isfinite(above).all(axis=1)
        found.append(
            Curves(
                training,
                width,
                of_step / np.sqrt(width),
                record.step[after],
                training.seconds[after],
                training.samples[after],
                # A point that is missing might be the worst one.
                np.where(whole, np.max(filled, axis=1), np.nan),
                np.where(whole, np.mean(np.nan_to_num(above), axis=1), np.nan),
                where,
                np.where(np.isfinite(scores).all(axis=1), np.max(np.nan_to_num(scores), axis=1), np.nan),
            )
        )
    return reference, tuple(found)


def _exact(trainings: Sequence[Training], points: Points) -> tuple[Float[np.ndarray, " points"], str]:
    """The exact energy of each point where any of the systems knows it, NaN elsewhere, and what it comes from."""
    energies, method = np.full(len(points), np.nan), ""
    for training in trainings:
        known = training.physics.known(points)
        if known is None:
            continue
        order = [training.record.names.index(name) for name in known.names]
        found = known.at(known.exact, points[:, order] if order else points)
        method = method or (known.method if np.isfinite(found).any() else "")
        energies = np.where(np.isfinite(energies), energies, found)
    return energies, method


def _columns(training: Training, points: Points) -> Int[np.ndarray, " points"]:
    """Where the points are among those of a training."""
    if not training.record.names:
        return np.arange(len(points))
    return np.argmax(same_points(points, training.record.points), axis=1)


def _common_points(trainings: Sequence[Training]) -> Points:
    points = trainings[0].record.points
    for other in trainings[1:]:
        names = trainings[0].record.names, other.record.names
        if names[0] != names[1]:
            raise ValueError(
                f"{trainings[0].name} varies {', '.join(names[0]) or 'nothing'}, {other.name} "
                f"{', '.join(names[1]) or 'nothing'}: runs of one family are compared"
            )
        if not names[0]:
            if len(points) != len(other.record.points):
                raise ValueError(f"{trainings[0].name} and {other.name} have different numbers of Hamiltonians")
            continue
        points = points[same_points(points, other.record.points).any(axis=1)]
        if not len(points):
            listed = ["; ".join(t.record.labels) for t in (trainings[0], other)]
            raise ValueError(
                f"{trainings[0].name} and {other.name} were trained at no common point: at {listed[0]}, and at "
                f"{listed[1]} ({', '.join(names[0])})"
            )
    return points


def _check_same(first: Training, other: Training, points: Points) -> None:
    a, b = first.physics, other.physics
    for name in a.facts:
        if a.facts[name] != b.facts[name]:
            raise ValueError(
                f"{first.name} and {other.name} are runs of different systems, whose energies are not compared: "
                f"{name} {a.facts[name]}, and {b.facts[name]}"
            )
    if a.unit != b.unit:
        raise ValueError(f"the energies of {first.name} are in {a.unit}, those of {other.name} in {b.unit}")
    if a.parameters is None or b.parameters is None:
        return
    ours, theirs = a.parameters(points), b.parameters(points)
    close = len(ours) == len(theirs) and all(
        x.shape == y.shape and np.allclose(x, y, rtol=1e-5, atol=1e-12) for x, y in zip(ours, theirs, strict=True)
    )
    if not close:
        raise ValueError(
            f"{first.name} and {other.name} are runs of different systems, whose energies are not compared: their "
            "Hamiltonians have other parameters at the same points"
        )


def _noise(training: Training, columns: Int[np.ndarray, " points"]) -> float:
    """The error of a step at one point, over the second half of the training, when the variance has settled."""
    late = training.record.error[len(training.record.step) // 2 :, columns]
    return float(np.median(late[np.isfinite(late)])) if np.isfinite(late).any() else float("nan")


def _windows(trainings: Sequence[Training], noise: list[float], error: float | None) -> list[int]:
    steps = [len(t.record.step) for t in trainings]
    known = [n / np.sqrt(max(1, s // _SIDE_BY_SIDE)) for n, s in zip(noise, steps, strict=True) if np.isfinite(n)]
    target = error if error is not None else max(known, default=0.0)
    found = []
    for of_step, count in zip(noise, steps, strict=True):
        most = max(1, count // _LONGEST)
        if not (np.isfinite(of_step) and target > 0):
            found.append(min(most, max(1, count // _SIDE_BY_SIDE)))
            continue
        # Less a billionth: the run that sets the error keeps its own window, whatever is rounded.
        found.append(int(np.clip(np.ceil((of_step / target) ** 2 * (1 - 1e-9)), 1, most)))
    return found


def _running(values: Float[np.ndarray, "steps points"], width: int) -> Float[np.ndarray, "means points"]:
    """Means of each `width` steps in a row, of the finite entries."""
    finite = np.isfinite(values)
    start = np.zeros((1, values.shape[1]))
    total = np.concatenate([start, np.cumsum(np.where(finite, values, 0.0), axis=0)])
    count = np.concatenate([start, np.cumsum(finite, axis=0)])
    number = count[width:] - count[:-width]
    return np.where(number > 0, (total[width:] - total[:-width]) / np.maximum(number, 1), np.nan)


def _running_median(values: Float[np.ndarray, "steps points"], width: int) -> Float[np.ndarray, "means points"]:
    """Medians of each `width` steps in a row, NaN where an entry is missing."""
    return np.median(np.lib.stride_tricks.sliding_window_view(values, width, axis=0), axis=-1)
