"""How a transition changes with the size of the cell: where it lies, how wide it is, and whether it sharpens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

from qernel.evaluation import with_error
from qernel.judgement import Transition, steepest_stretch

if TYPE_CHECKING:
    import xarray

_RESAMPLES = 400


class SizeTransition(eqx.Module):
    """The steepest stretch of a quantity in one cell, with errors from resampling the measured values.

    - `electrons`: in the cell; `stretch`: None if there is none.
    - `position`, `width`: middle and length of the stretch on the coordinate; `jump`: change of the quantity across
      it, and `slope`, `jump / width`.
    - `*_error`: standard deviations when every value varies by its error bar. Those of `position` and `width` include
      the spacing of the grid, since nothing is known of what happens between two points.
    - `grid`: the largest step of the grid inside the stretch; a width of one step is an upper bound.
    """

    electrons: int
    stretch: Transition | None
    position: float
    position_error: float
    width: float
    width_error: float
    jump: float
    jump_error: float
    slope: float
    slope_error: float
    grid: float

    @property
    def at_grid(self) -> bool:
        """Whether the width is one step of the grid, hence not resolved."""
        return self.stretch is not None and self.stretch.steps == 1


def size_transition(
    dataset: "xarray.Dataset", values: Float[np.ndarray, " rows"], errors: Float[np.ndarray, " rows"], *, seed: int = 0
) -> SizeTransition:
    """The steepest stretch of `values` against a data set's coordinate."""
    electrons = int(dataset.attrs["electrons_up"]) + int(dataset.attrs["electrons_down"])
    x = dataset[str(dataset.attrs["axis"])].values
    stretch = steepest_stretch(x, values, errors)
    if stretch is None:
        return SizeTransition(electrons, None, *[float("nan")] * 9)
    rng = np.random.default_rng(seed)
    drawn = [steepest_stretch(x, values + errors * rng.standard_normal(len(x)), errors) for _ in range(_RESAMPLES)]
    rows = np.array([_numbers(one) for one in drawn if one is not None])
    position, width, jump, slope = _numbers(stretch)
    spread = rows.std(axis=0)
    inside = np.unique(x[(x >= stretch.low) & (x <= stretch.high)])
    grid = float(np.diff(inside).max())
    # Uniform within a step of the grid at either end.
    step = grid / np.sqrt(12)
    return SizeTransition(
        electrons,
        stretch,
        position,
        float(np.hypot(spread[0], step / np.sqrt(2))),
        width,
        float(np.hypot(spread[1], step * np.sqrt(2))),
        jump,
        float(spread[2]),
        slope,
        float(spread[3]),
        grid,
    )


def _numbers(stretch: Transition) -> tuple[float, float, float, float]:
    width = stretch.high - stretch.low
    return stretch.centre, width, stretch.jump, stretch.jump / width


def order_transition(dataset: "xarray.Dataset") -> SizeTransition:
    """Of S(K)/N, which stays finite in a crystal and vanishes as 1/N in a liquid."""
    n = int(dataset.attrs["electrons_up"]) + int(dataset.attrs["electrons_down"])
    return size_transition(
        dataset, dataset["structure_factor_K"].values / n, dataset["structure_factor_K_error"].values / n
    )


def interaction_transition(dataset: "xarray.Dataset") -> SizeTransition:
    """Of the interaction energy per electron."""
    return size_transition(dataset, dataset["interaction"].values, dataset["interaction_error"].values)


def scaling_rows(datasets: Sequence["xarray.Dataset"]) -> list[dict[str, float]]:
    """One row a cell: position, width, jump and slope of S(K)/N and of the interaction energy, with errors."""
    rows = []
    for dataset in datasets:
        row: dict[str, float] = {"electrons": 0, "moire_cells": int(dataset.attrs["moire_cells"])}
        for name, found in (("order", order_transition(dataset)), ("interaction", interaction_transition(dataset))):
            row["electrons"] = found.electrons
            for key in ("position", "width", "jump", "slope"):
                row[f"{name}_{key}"], row[f"{name}_{key}_error"] = getattr(found, key), getattr(found, f"{key}_error")
        rows.append(row)
    return rows


def scaling_table(datasets: Sequence["xarray.Dataset"]) -> str:
    """The rows for a terminal."""
    header = [
        "N",
        "cells",
        *(f"{name} {key}" for name in ("S(K)/N", "E_int") for key in ("at", "width", "jump", "slope")),
    ]
    lines = [header]
    for row in scaling_rows(datasets):
        cells = [f"{row['electrons']:.0f}", f"{row['moire_cells']:.0f}"]
        for name in ("order", "interaction"):
            for key in ("position", "width", "jump", "slope"):
                cells.append(with_error(row[f"{name}_{key}"], row[f"{name}_{key}_error"]))
        lines.append(cells)
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in lines)


def growth(found: Sequence[SizeTransition]) -> tuple[float, float]:
    r"""Exponent p of |slope| ∝ $N^p$ by weighted least squares, and its error; NaN with fewer than two sizes.

    A first-order transition sharpens without end, $p > 0$; a crossover has $p \\approx 0$ once the cell is larger
    than its correlations. With more than two sizes the error is widened where the points scatter about the line by
    more than their errors.
    """
    good = [one for one in found if one.stretch is not None and one.slope != 0 and one.slope_error > 0]
    if len({one.electrons for one in good}) < 2:
        return float("nan"), float("nan")
    x = np.log([one.electrons for one in good])
    y = np.log([abs(one.slope) for one in good])
    w = np.array([(one.slope / one.slope_error) ** 2 for one in good])
    centre = np.sum(w * x) / np.sum(w)
    spread = np.sum(w * (x - centre) ** 2)
    p = float(np.sum(w * (x - centre) * y) / spread)
    residual = y - np.sum(w * y) / np.sum(w) - p * (x - centre)
    scatter = float(np.sum(w * residual**2)) / max(len(good) - 2, 1)
    return p, float(np.sqrt(max(1.0, scatter) / spread))


def scaling_verdict(datasets: Sequence["xarray.Dataset"]) -> list[str]:
    """Sentences on where the transition lies in each cell and whether its jump sharpens with their size."""
    axis = str(datasets[0].attrs["axis"])
    unit = str(datasets[0][axis].attrs.get("units", "1"))
    suffix = "" if unit == "1" else f" {unit}"
    sentences = []
    for name, of in (("S(K)/N", order_transition), ("The interaction energy per electron", interaction_transition)):
        found = sorted((of(dataset) for dataset in datasets), key=lambda one: one.electrons)
        if any(one.stretch is None for one in found):
            sentences.append(f"{name}: too few depths to look for a jump; evaluate at four or more.")
            continue
        listed = "; ".join(
            f"N = {one.electrons}: {with_error(one.position, one.position_error)}{suffix}, width "
            f"{'at most ' if one.at_grid else ''}{one.width:g}{suffix}, "
            f"{'a jump' if one.stretch is not None and one.stretch.is_jump else 'no jump'} "
            f"of {with_error(one.jump, one.jump_error)}"
            for one in found
        )
        sentences.append(f"{name} changes fastest at {listed}.")
        p, error = growth(found)
        if not np.isfinite(p):
            sentences.append(f"{name}: one size says nothing about sharpening.")
            continue
        sizes = f"N = {', '.join(str(one.electrons) for one in found)}"
        said = f"its slope grows as N to the power {with_error(p, error)} ({sizes})"
        if abs(p) <= 2 * error:
            sentences.append(f"{name}: whether it sharpens with N cannot be told, {said}.")
        else:
            sentences.append(f"{name} {'sharpens' if p > 0 else 'does not sharpen but flattens'} with N: {said}.")
        limited = [str(one.electrons) for one in found if one.at_grid]
        if limited:
            sentences.append(
                f"The change spans one step of the grid for N = {', '.join(limited)}: its slope is a lower bound "
                "there; evaluate at closer depths."
            )
        if len(found) == 2:
            sentences.append("Two sizes make a line through two points: a third would test it.")
    return sentences
