"""The record that a training run leaves."""

import csv
import os
from pathlib import Path

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

COLUMNS = (
    "step",
    "depth_meV",
    "energy",
    "error",
    "variance",
    "acceptance",
    "bad_walkers",
    "step_norm",
    "distance",
)
_BAD = COLUMNS.index("bad_walkers")


class TrainingRecord(eqx.Module):
    """What a training run recorded, as arrays over steps and Hamiltonians; NaN where a row is missing.

    Energies per electron, in the unit of the results (meV for moiré families), variance in its square.
    `label` tells the Hamiltonians apart (their depth in meV). `step_norm` and `distance`, of the update and
    of the wavefunction, are those of the step. `phase` names the phase of each column, if there are several.
    """

    step: Int[np.ndarray, " steps"]
    label: Float[np.ndarray, " hamiltonians"]
    energy: Float[np.ndarray, "steps hamiltonians"]
    error: Float[np.ndarray, "steps hamiltonians"]
    variance: Float[np.ndarray, "steps hamiltonians"]
    acceptance: Float[np.ndarray, "steps hamiltonians"]
    bad_walkers: Float[np.ndarray, "steps hamiltonians"]
    step_norm: Float[np.ndarray, " steps"]
    distance: Float[np.ndarray, " steps"]
    phase: tuple[str, ...] = ()

    def late_change(self, share: float = 0.2) -> tuple[Float[np.ndarray, " h"], Float[np.ndarray, " h"]]:
        """Change of each energy across the last `share` of the steps, by a linear fit, and its error.

        The error comes from the residuals of ten blocks, so that correlated steps do not make it too small.
        NaN if there are fewer than twenty such steps.
        """
        steps = len(self.step)
        count = int(steps * share)
        missing = np.full(len(self.label), np.nan)
        if count < 20:
            return missing, missing
        blocks = np.array_split(np.arange(steps - count, steps), 10)
        time = np.linspace(-0.5, 0.5, 10)
        with np.errstate(invalid="ignore"):
            means = np.stack([np.nanmean(self.energy[block], axis=0) for block in blocks])
        slope = np.sum(time[:, None] * means, axis=0) / np.sum(time**2)
        residual = means - means.mean(axis=0) - time[:, None] * slope
        error = np.sqrt(np.sum(residual**2, axis=0) / 8 / np.sum(time**2))
        return slope, error


def read_training(path: str | os.PathLike) -> TrainingRecord:
    """Read a run's `metrics.csv` (a row for each step and Hamiltonian).

    Where a resumed run has written a step twice, the last row counts. A last line that a kill cut short is
    left out. Of several phases the one that ends lowest is kept at each depth, with the bad walkers of all.

    Raises `ValueError` if there is no file, no row, or a column is missing.
    """
    if not Path(path).is_file():
        raise ValueError(f"there is no record of the training at {path}")
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(line for line in file if not line.startswith("#"))
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{path} has no column {', '.join(missing)}")
        rows: dict[tuple[str, float, float], list[list[float]]] = {}
        for row in reader:
            if (values := _numbers(row)) is not None:
                phase = row.get("phase") or ""
                # Several members of a family may be in one phase; a row that was written twice is one row.
                key = (phase, values[0], values[1])
                rows[key] = [*(rows.get(key, []) if phase else []), values]
    if not rows:
        raise ValueError(f"{path} has no rows yet")
    names = list(dict.fromkeys(phase for phase, *_ in rows))
    step, row = np.unique([int(number) for _, number, _ in rows], return_inverse=True)
    label, column = np.unique([depth for *_, depth in rows], return_inverse=True)
    phase = np.array([names.index(name) for name, *_ in rows])
    arrays = np.full((len(COLUMNS), len(names), len(step), len(label)), np.nan)
    arrays[:, phase, row, column] = np.stack([np.mean(values, axis=0) for values in rows.values()], axis=1)
    arrays[_BAD, phase, row, column] = [sum(values[_BAD] for values in found) for found in rows.values()]
    with np.errstate(invalid="ignore"):
        per_step = [_first_finite(np.concatenate(list(arrays[index]), axis=1)) for index in (7, 8)]
    lowest = _lowest(arrays[2])
    of_phase = [arrays[index][lowest, :, np.arange(len(label))].T for index in range(2, 7)]
    measured = np.isfinite(arrays[_BAD]).any(axis=0)
    of_phase[_BAD - 2] = np.where(measured, np.nansum(arrays[_BAD], axis=0), np.nan)
    phases = tuple(names[index] for index in lowest) if names != [""] else ()
    return TrainingRecord(step, label, *of_phase, *per_step, phases)  # pyright: ignore[reportCallIssue]


def _lowest(energy: Float[np.ndarray, "phases steps labels"]) -> Int[np.ndarray, " labels"]:
    """The phase of lowest mean energy over the last fifth of the steps."""
    late = energy[:, -max(1, energy.shape[1] // 5) :]
    known = np.isfinite(late)
    total = np.sum(np.where(known, late, 0.0), axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.argmin(np.where(known.any(axis=1), total, np.inf), axis=0)


def _numbers(row: dict[str, str | None]) -> list[float] | None:
    try:
        # A value is missing (None) at the end of a line cut short, and empty where it was not measured.
        return [float("nan") if row[name] == "" else float(row[name]) for name in COLUMNS]  # pyright: ignore
    except (TypeError, ValueError):
        return None


def _first_finite(values: Float[np.ndarray, "steps hamiltonians"]) -> Float[np.ndarray, " steps"]:
    finite = np.isfinite(values)
    return np.where(finite.any(axis=1), values[np.arange(len(values)), np.argmax(finite, axis=1)], np.nan)
