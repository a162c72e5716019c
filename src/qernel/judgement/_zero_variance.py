"""Energies at zero variance: how far a table lies above the ground state, by how its training came there."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

from qernel.evaluation import phases_of, rows_of
from qernel.training import TrainingRecord

if TYPE_CHECKING:
    import xarray

# Stretches of the training, each longer than the one before by one factor, from this share of it to its end: what came
# before is another regime.
_STRETCHES, _FROM = 6, 1 / 8
# Steps of a stretch that counts.
_FEWEST = 3


class VarianceSlope(eqx.Module):
    r"""The slope a of the energy against the variance of the local energy, $E = E_0 + a\,\sigma^2$, along a training.

    Both are per electron: a in the inverse of the unit of the energies. Near an eigenstate the error of the energy and
    the variance are both quadratic in what is wrong with ψ, so that they fall together. The slope is one for all points
    of a phase, $E_0$ is each point's own: a weighted fit to stretches of the training, with the median variance of
    their batches, which does not follow a single walker close to a node.

    **Fields:** `value`; `error`, enlarged where the fit is worse than the errors allow.

    **Source:** errors of energies and their variances over many systems, arXiv:2302.04919.
    """

    value: float
    error: float


def variance_slope(record: TrainingRecord) -> VarianceSlope | None:
    """The slope of a training's energies against their variance, no less than zero; None where the training does not
    tell it: it is too short, or the energies fall where the variance rises, by more than two errors."""
    place, energy, error, variance = _stretches(record)
    points, place = np.unique(place, return_inverse=True)
    if len(place) < len(points) + 3:
        return None
    design = np.concatenate([np.eye(len(points))[place], variance[:, None]], axis=1)
    # Errors of a stretch are uncertain: none may dominate.
    weights = 1 / np.maximum(error, 0.3 * np.median(error) + 1e-300)
    fit, *_ = np.linalg.lstsq(design * weights[:, None], energy * weights, rcond=None)
    freedom = len(energy) - len(fit)
    inflation = max(1.0, float(np.sum(((design @ fit - energy) * weights) ** 2)) / freedom)
    covariance = np.linalg.pinv((design * weights[:, None]).T @ (design * weights[:, None])) * inflation
    value, error = float(fit[-1]), float(np.sqrt(covariance[-1, -1]))
    return VarianceSlope(max(value, 0.0), error) if np.isfinite(error) and value > -2 * error else None


def _stretches(record: TrainingRecord):
    """Point, mean energy, its error and typical variance of every stretch of the training at every point."""
    last = int(record.step[-1])
    edges = np.unique(np.geomspace(max(1.0, _FROM * last), last + 1, _STRETCHES + 1).round())
    found = []
    for first, end in zip(edges[:-1], edges[1:], strict=True):
        here = (record.step >= first) & (record.step < end)
        for point in range(len(record.points)):
            energy, variance = record.energy[here, point], record.variance[here, point]
            known = np.isfinite(energy + variance)
            if known.sum() >= max(2, _FEWEST):
                energy = energy[known]
                error = energy.std(ddof=1) / np.sqrt(len(energy))
                found.append((point, energy.mean(), error, np.median(variance[known])))
    columns = np.array(found, np.float64).reshape(-1, 4).T
    return columns[0].astype(int), *columns[1:]


def add_zero_variance(dataset: "xarray.Dataset", records: Mapping[str, TrainingRecord]) -> "xarray.Dataset":
    r"""A table with `energy_zero_variance`, the energies $E - a\,\sigma^2$ extrapolated to zero variance, and errors.

    The slope a is that of each phase's own training. The error has three parts: that of E, of a, and half of the whole
    correction, which stands for what no straight line knows. Unlike `energy` **it is no upper bound**. NaN where the
    training does not tell the slope.

    **Arguments:** `dataset`, of an evaluation; `records`, of the training of each phase by name, the name "" for a
    wavefunction that has no separate ones.
    """
    rows, names = rows_of(dataset), phases_of(dataset)
    axes = ("phase", rows) if names else (rows,)
    energy, sigma, variance = (
        np.asarray(dataset[name].transpose(*axes).values, np.float64).reshape(max(1, len(names)), -1)
        for name in ("energy", "energy_error", "variance_typical")
    )
    slopes = [None if name not in records else variance_slope(records[name]) for name in names or ("",)]
    value, error = (
        np.array([np.nan if s is None else getattr(s, part) for s in slopes]) for part in ("value", "error")
    )
    correction, uncertain = value[:, None] * variance, error[:, None] * variance
    limit = energy - correction
    total = np.sqrt(sigma**2 + uncertain**2 + (correction / 2) ** 2)
    shape = lambda array: array if names else array[0]
    attributes = {key: dataset["energy"].attrs[key] for key in ("units",)}
    words = {"long_name": "energy extrapolated to zero variance, no upper bound"}
    return dataset.assign(
        energy_zero_variance=(axes, shape(limit), attributes | words),
        energy_zero_variance_error=(axes, shape(total), attributes),
    )


def systematic(dataset: "xarray.Dataset") -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Estimate how far the energies of one phase lie above their ground state, and its uncertainty: NaN where it is not
    known."""
    if "energy_zero_variance" not in dataset:
        missing = np.full(dataset.sizes[rows_of(dataset)], np.nan)
        return missing, missing
    energy, limit = dataset["energy"].values, dataset["energy_zero_variance"].values
    statistical, total = dataset["energy_error"].values, dataset["energy_zero_variance_error"].values
    return energy - limit, np.sqrt(np.maximum(total**2 - statistical**2, 0))
