"""Which ingredients of a wavefunction pay: differences between its variants, with their uncertainty over seeds."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float
from scipy.special import stdtrit

from qernel.evaluation import in_order, row_text, rows_of, with_error

from ._variants import FULL

if TYPE_CHECKING:
    import xarray


class SeedMean(eqx.Module):
    """Mean over independent seeds, its standard error, and the half-width `interval` of its 95 % interval.

    The error is the larger of that from the spread over seeds and that of the single measurements: two or three
    seeds can agree by chance. Of one seed only the measurement's error is known, and `seeds` says so.
    """

    mean: float
    error: float
    interval: float
    seeds: int

    @property
    def significant(self) -> bool:
        """Whether zero lies outside the interval."""
        return abs(self.mean) > self.interval

    def __str__(self) -> str:
        return with_error(self.mean, self.error)


def seed_mean(values: Float[np.ndarray, " seeds"], errors: Float[np.ndarray, " seeds"]) -> SeedMean:
    """Mean over the finite entries, with Student's t for the few seeds that there are."""
    good = np.isfinite(values)
    values, errors = values[good], errors[good]
    n = len(values)
    if n == 0:
        return SeedMean(float("nan"), float("nan"), float("nan"), 0)
    measured = float(np.linalg.norm(errors)) / n
    error = float(max(measured, values.std(ddof=1) / np.sqrt(n))) if n > 1 else measured
    return SeedMean(float(values.mean()), error, float(stdtrit(n - 1, 0.975)) * error if n > 1 else 2 * error, n)


def ablation_error(
    dataset: "xarray.Dataset",
    variant: str,
    against: str | None = None,
    rows: Bool[np.ndarray, " rows"] | None = None,
) -> SeedMean:
    """Mean error of a variant over the chosen rows (default: all), or its paired difference to another one.

    Paired: seed by seed, since the same seed starts both from the same walkers and, as far as the networks agree,
    the same weights.
    """
    dimension = rows_of(dataset)
    chosen = np.ones(dataset.sizes[dimension], bool) if rows is None else rows
    if not chosen.any():
        return seed_mean(np.zeros(0), np.zeros(0))

    def of(name: str):
        row = dataset.sel(variant=name)
        error, bar = (row[key].transpose("seed", dimension).values[:, chosen] for key in ("error", "energy_error"))
        return error.mean(axis=1), np.sqrt(np.sum(bar**2, axis=1)) / chosen.sum()

    value, error = of(variant)
    if against is None:
        return seed_mean(value, error)
    other, other_error = of(against)
    return seed_mean(value - other, np.hypot(error, other_error))


def ablation_seconds(dataset: "xarray.Dataset", variant: str) -> float:
    """Cost of the training: the fastest seed's, since other programs can only slow the same program down."""
    return float(np.nanmin(dataset["seconds"].sel(variant=variant).values))


def ablation_table(dataset: "xarray.Dataset") -> str:
    """One row a variant: errors with their uncertainty over seeds, difference to `full`, cost, size."""
    held = ~dataset["trained"].values.astype(bool)
    names = [str(name) for name in dataset["variant"].values]
    lines = [["variant", "error", "trained points", "held out", "minus full", "seconds", "s/step", "parameters"]]
    for name in names:
        row = dataset.sel(variant=name)
        lines.append(
            [
                name,
                *(str(ablation_error(dataset, name, rows=rows)) for rows in (None, ~held, held)),
                str(ablation_error(dataset, name, FULL)) if FULL in names and name != FULL else "-",
                f"{ablation_seconds(dataset, name):.0f}",
                f"{np.nanmin(row['seconds_per_step'].values):.3f}",
                f"{int(row['parameters'])}",
            ]
        )
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        line[0].ljust(widths[0]) + "".join(f"  {cell.rjust(w)}" for cell, w in zip(line[1:], widths[1:], strict=True))
        for line in lines
    )


def ablation_verdict(dataset: "xarray.Dataset") -> list[str]:
    """Sentences on which ingredients pay, by how much, and which cannot be told apart from the full wavefunction.

    Made of the table of [`collect`][qernel.studies.ablation.collect].
    """
    names = [str(name) for name in dataset["variant"].values]
    unit = str(dataset["energy"].attrs["units"])
    exact = dataset["reference_is_exact"].values.astype(bool)
    method, lowest = str(dataset.attrs["reference_method"]), "the lowest energy of all variants"
    what = method if exact.all() else lowest
    if exact.any() and not exact.all():
        places = "; ".join(row_text(dataset, int(row)) for row in in_order(dataset) if exact[row])
        what = f"{method} ({places}) and {lowest} elsewhere"
    sentences = [f"Errors are energies minus {what}, in {unit}, averaged over {_points(len(exact))}."]
    if FULL not in names:
        return [*sentences, f"Without the variant '{FULL}' there is nothing to compare with."]
    held = ~dataset["trained"].values.astype(bool)
    full = ablation_error(dataset, FULL)
    parts = [f"{word} {ablation_error(dataset, FULL, rows=m)}" for word, m in _split(held) if m.any()]
    sentences.append(f"The full wavefunction: {full} over {_seeds(full.seeds)} ({', '.join(parts)}).")
    for name in names:
        if name == FULL:
            continue
        found = ablation_error(dataset, name, FULL)
        if found.seeds == 0:
            sentences.append(f"{name}: no seed in common with the full wavefunction.")
            continue
        meaning = str(dataset["meaning"].sel(variant=name).item())
        cost = f"at {ablation_seconds(dataset, name) / ablation_seconds(dataset, FULL):.2f} times the cost"
        if not found.significant:
            text = (
                f"cannot be told apart from the full one: {found.mean:+.3f} ± {found.interval:.3f} (95 %, "
                f"{_seeds(found.seeds)}), {cost}"
            )
        else:
            word = "worse" if found.mean > 0 else "better"
            text = f"{word} by {abs(found.mean):.3f} ± {found.interval:.3f} (95 %, {_seeds(found.seeds)}), {cost}"
        parts = [
            f"{word} {ablation_error(dataset, name, FULL, mask).mean:+.3f}" for word, mask in _split(held) if mask.any()
        ]
        sentences.append(f"{name} ({meaning}): {text}; {', '.join(parts)}.")
    if full.seeds == 1:
        sentences.append("One seed does not know its own spread: the intervals hold the measurement's error only.")
    return sentences


def _split(held: Bool[np.ndarray, " rows"]):
    return (("at trained points", ~held), ("at held-out points", held))


def _points(number: int) -> str:
    return f"{number} point{'' if number == 1 else 's'}"


def _seeds(number: int) -> str:
    return f"{number} seed{'' if number == 1 else 's'}"
