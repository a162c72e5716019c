"""How a transition changes with the size of a system: where it lies, how wide it is, and whether it sharpens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

from qernel.evaluation import Axis, aligned, positions_on, single_axis, with_error
from qernel.judgement import Jump, steepest_stretch

from ._quantity import electrons_of, sized_quantities

if TYPE_CHECKING:
    import xarray

_RESAMPLES = 400
_KEYS = ("position", "width", "jump", "slope")


class SizeTransition(eqx.Module):
    """The steepest stretch of a quantity in one size, with errors from resampling the measured values.

    - `electrons`: of that size; `stretch`: None if there is none.
    - `position`, `width`: middle and length of the stretch on the coordinate; `jump`: change of the quantity across
      it, and `slope`, `jump / width`.
    - `*_error`: standard deviations when every value varies by its error bar. Those of `position` and `width` include
      the spacing of the grid, since nothing is known of what happens between two points.
    - `grid`: the largest step of the grid inside the stretch; a width of one step is an upper bound.
    """

    electrons: int
    stretch: Jump | None
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
    """The steepest stretch of `values` along a table's coordinate.

    **Raises:** `ValueError` if the rows do not lie along one coordinate.
    """
    electrons, x = electrons_of(dataset), positions_on(dataset, line_of(dataset))
    stretch = steepest_stretch(x, values, errors)
    if stretch is None:
        return SizeTransition(electrons, None, *[float("nan")] * 9)
    rng = np.random.default_rng(seed)
    # A row whose error is not known belongs to every draw as it is; if none is, neither is what follows from them.
    noise = np.nan_to_num(errors)
    drawn = [steepest_stretch(x, values + noise * rng.standard_normal(len(x)), errors) for _ in range(_RESAMPLES)]
    rows = np.array([_numbers(one) for one in drawn if one is not None])
    position, width, jump, slope = _numbers(stretch)
    spread = rows.std(axis=0) if np.isfinite(errors).any() else np.full(4, np.nan)
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


def line_of(dataset: "xarray.Dataset") -> Axis:
    """The coordinate along which sizes are compared. Raises `ValueError` if several vary, or none."""
    axis = single_axis(dataset)
    if axis is None:
        raise ValueError("sizes are compared along one coordinate, and the rows of this table do not lie on one line")
    return axis


def _numbers(stretch: Jump) -> tuple[float, float, float, float]:
    width = stretch.high - stretch.low
    return stretch.centre, width, stretch.jump, stretch.jump / width


def scaling_rows(datasets: Sequence["xarray.Dataset"]) -> list[dict[str, float]]:
    """One row a size: electrons, primitive cells if there are any, and position, width, jump and slope of the order
    parameter over N (`order_`) and of the interaction energy (`interaction_`), with errors."""
    rows = []
    for dataset in datasets:
        row: dict[str, float] = {"electrons": electrons_of(dataset)}
        if "primitive_cells" in dataset.attrs:
            row["primitive_cells"] = int(dataset.attrs["primitive_cells"])
        for quantity in sized_quantities(datasets):
            found = size_transition(dataset, *quantity.of(dataset))
            for key in _KEYS:
                row[f"{quantity.key}_{key}"] = getattr(found, key)
                row[f"{quantity.key}_{key}_error"] = getattr(found, f"{key}_error")
        rows.append(row)
    return rows


def scaling_table(datasets: Sequence["xarray.Dataset"]) -> str:
    """The rows for a terminal."""
    rows, quantities = scaling_rows(datasets), sized_quantities(datasets)
    counts = {"electrons": "N", "primitive_cells": "cells"}
    heads = [head for name, head in counts.items() if name in rows[0]]
    lines = [[*heads, *(f"{q.symbol} {key}" for q in quantities for key in ("at", *_KEYS[1:]))]]
    for row in rows:
        cells = [f"{row[name]:.0f}" for name in counts if name in row]
        for quantity in quantities:
            numbers = ((row[f"{quantity.key}_{key}"], row[f"{quantity.key}_{key}_error"]) for key in _KEYS)
            cells += [with_error(value, error) for value, error in numbers]
        lines.append(cells)
    return aligned(lines)


def growth(found: Sequence[SizeTransition]) -> tuple[float, float]:
    r"""Exponent p of |slope| ∝ $N^p$ by weighted least squares, and its error; NaN with fewer than two sizes.

    A first-order transition sharpens without end, $p > 0$; a crossover has $p \approx 0$ once the system is larger
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
    """Sentences on where the transition lies in each size and whether its jump sharpens with them."""
    quantities, sentences = sized_quantities(datasets), []
    if not quantities:
        return ["No order parameter and no interaction were measured in all sizes: there is nothing to compare."]
    for quantity in quantities:
        found = [size_transition(dataset, *quantity.of(dataset)) for dataset in datasets]
        found.sort(key=lambda one: one.electrons)
        sentences += _sentences(quantity.words, found, line_of(datasets[0]).suffix)
    return sentences


def _sentences(name: str, found: list[SizeTransition], suffix: str) -> list[str]:
    if any(one.stretch is None for one in found):
        return [f"{name}: too few points to look for a jump; evaluate at four or more."]
    listed = "; ".join(
        f"N = {one.electrons}: {with_error(one.position, one.position_error)}{suffix}, width "
        f"{'at most ' if one.at_grid else ''}{one.width:g}{suffix}, "
        f"{'a jump' if one.stretch is not None and one.stretch.is_jump else 'no jump'} "
        f"of {with_error(one.jump, one.jump_error)}"
        for one in found
    )
    sentences = [f"{name} changes fastest at {listed}."]
    p, error = growth(found)
    if not np.isfinite(p):
        return [*sentences, f"{name}: one size says nothing about sharpening."]
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
            "there; evaluate at closer points."
        )
    if len(found) == 2:
        sentences.append("Two sizes make a line through two points: a third would test it.")
    return sentences
