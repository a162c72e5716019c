"""Findings from the numbers, in words."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from qernel.evaluation import (
    AboveExact,
    above_exact,
    axes_of,
    axis_named,
    doubts_of,
    ground_state,
    known_at_rows,
    known_values,
    phases_of,
    points_of,
    rows_of,
    single_axis,
    with_error,
)
from qernel.observables import LIMITS
from qernel.training import TrainingRecord, complaints

from ._hellmann_feynman import slope_lines
from ._known_places import known_place_sentences
from ._order import phase_sentences
from ._total_momentum import momentum_sentences
from ._zero_variance import systematic

if TYPE_CHECKING:
    import xarray


class Finding(eqx.Module):
    """One sentence about a run.

    **Fields:**

    - `text`: the sentence.
    - `topic`: sampling, kinetic, probes, quality, training, slopes, references or phases.
    - `doubtful`: whether it is a reason not to trust the numbers, and `advice`, what to do next, if anything.
    """

    topic: str
    text: str
    doubtful: bool = False
    advice: str = ""


def findings(dataset: "xarray.Dataset", training: TrainingRecord | None = None) -> list[Finding]:
    """Whether the results are converged and good, and what they show.

    Sampling (R-hat, effective samples, drift), the two kinetic estimators, the V-score, the end of the
    training, the Hellmann-Feynman check, the distance to known energies, the total momenta, the phases and the
    transition between them. Everything is read off the data set and the record of the training. Of several phases the
    lowest at every row is judged.
    """
    lowest = ground_state(dataset)
    return [
        *_sampling(lowest),
        *_kinetic(lowest),
        *_probes(lowest),
        *_quality(lowest),
        *_end_of_training(lowest, training),
        *_slopes(dataset),
        *_known(lowest),
        *_by_branch(dataset),
        *_known_places(lowest),
        *(Finding("phases", text) for text in momentum_sentences(dataset)),
        *_phases(dataset),
    ]


def verdict(dataset: "xarray.Dataset", training: TrainingRecord | None = None) -> list[str]:
    """The sentences of [`findings`][qernel.judgement.findings], and what to do next."""
    found = findings(dataset, training)
    advice = dict.fromkeys(finding.advice for finding in found if finding.advice)
    last = "; ".join(advice) or f"no check found a reason not to use these numbers; {_unchecked(ground_state(dataset))}"
    return [*(finding.text for finding in found), f"Next: {last}."]


def _unchecked(lowest: "xarray.Dataset") -> str:
    """Distance from the ground state of energies that pass every check, in words."""
    above = lowest["energy"].values - known_at_rows(lowest, "exact")
    if not np.isfinite(above).any():
        estimated = np.isfinite(systematic(lowest)[0]).any()
        return "how far they lie above the ground state, " + (
            "their variance alone tells" if estimated else "no check can tell"
        )
    worst = int(np.nanargmax(above))
    error = with_error(float(above[worst]), float(lowest["energy_error"].values[worst]))
    return f"they lie up to {error} {_unit(lowest)} per electron above the exact ones where these are known"


def _labels(dataset: "xarray.Dataset", which: Bool[np.ndarray, " rows"]) -> str:
    """The rows of a mask, as `7.5, 10 and 12.5 eV`, or as points."""
    axis = single_axis(dataset)
    if axis is None:
        values = (
            [f"({', '.join(f'{x:g}' for x in point)})" for point in points_of(dataset)[which]]
            if axes_of(dataset)
            else []
        )
        values = values or [f"number {row}" for row in np.flatnonzero(which)]
    else:
        values = [f"{value:g}" for value in np.asarray(dataset[axis.name].values)[which]]
    if len(values) > 6:
        values = [*values[:5], f"{len(values) - 5} more"]
    text = values[0] if len(values) == 1 else f"{', '.join(values[:-1])} and {values[-1]}"
    return text if axis is None else f"{text}{axis.suffix}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _unit(dataset: "xarray.Dataset") -> str:
    return str(dataset["energy"].attrs.get("units", "")).split(" ")[0]


def _sampling(dataset: "xarray.Dataset") -> list[Finding]:
    rows = dataset.sizes[rows_of(dataset)]
    errors = dataset["energy_error"].values
    low, high = (f"{bound:.2g}" for bound in (errors.min(), errors.max()))
    measured = Finding(
        "sampling",
        f"Measured {_count(rows, 'Hamiltonian')} with {dataset.attrs['walkers']} walkers and "
        f"{dataset.attrs['rounds']} rounds each: errors of {low if low == high else f'{low} to {high}'} "
        f"{_unit(dataset)} per electron.",
    )
    doubts = doubts_of(dataset)
    if doubts:
        more = f"; and {len(doubts) - 4} more doubts" if len(doubts) > 4 else ""
        text = f"The sampling is not sound everywhere: {'; '.join(doubts[:4])}{more}."
        advice = "evaluate again with more burn-in and more rounds before trusting the doubtful rows"
        return [measured, Finding("sampling", text, True, advice)]
    text = (
        f"The sampling is sound: R-hat at most {dataset['r_hat'].values.max():.3f}, at least "
        f"{dataset['effective_samples'].values.min():.0f} effective samples, no drift."
    )
    return [measured, Finding("sampling", text)]


def kinetic_sigma(dataset: "xarray.Dataset") -> Float[np.ndarray, " rows"]:
    """Difference of the two kinetic estimators in units of its error; 0 where it is rounding."""
    difference = dataset["kinetic_difference"].values
    error = dataset["kinetic_difference_error"].values
    rounding = 1e-6 * np.abs(dataset["kinetic"].values)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.abs(difference) <= rounding, 0.0, np.abs(difference) / error)


def _kinetic(dataset: "xarray.Dataset") -> list[Finding]:
    sigma = kinetic_sigma(dataset)
    wrong = ~(sigma <= LIMITS.kinetic_sigma)
    if wrong.any():
        text = (
            f"The two kinetic estimators differ by more than {LIMITS.kinetic_sigma:g} sigma at "
            f"{_labels(dataset, wrong)}: the wavefunction is not smooth there, and its energy is not an upper bound."
        )
        advice = "look for a kink or a jump of the wavefunction (hard routing, a minimum image)"
        return [Finding("kinetic", text, True, advice)]
    text = f"The two kinetic estimators agree everywhere (largest difference {sigma.max():.1f} sigma)."
    return [Finding("kinetic", text)]


def _probes(dataset: "xarray.Dataset") -> list[Finding]:
    """Random directions in the place of all coordinates: their noise, and whether it is right in the mean."""
    if "probe_difference" not in dataset:
        return []
    share, errors = dataset["probe_share"].values, dataset["probe_difference_error"].values
    difference = dataset["probe_difference"].values
    # With a direction for every coordinate nothing but rounding is left, whose mean need not be zero.
    rounding = 1e-6 * np.abs(dataset["kinetic"].values)
    difference = np.where(np.abs(difference) <= rounding, 0.0, difference)
    pooled = np.sum(difference) / np.sqrt(np.sum(np.maximum(errors, rounding) ** 2))
    text = (
        f"The Laplacian was estimated along random directions, which make {np.nanmin(share):.1%} to "
        f"{np.nanmax(share):.1%} of the variance. At a few walkers of every Hamiltonian the estimates differ from the "
        f"exact energies by {abs(pooled):.1f} sigma in the mean"
    )
    if not abs(pooled) <= LIMITS.kinetic_sigma:
        advice = "measure with evaluation.laplacian = 'exact', and report it"
        return [Finding("probes", f"{text}: they are not right.", True, advice)]
    return [Finding("probes", f"{text}.")]


# Of the kinetic energy: energies that are smaller are differences of larger terms.
_NO_SCALE = 0.5


def _quality(dataset: "xarray.Dataset") -> list[Finding]:
    score = dataset["v_score"].values
    # Where the energy passes zero along a family it is no scale.
    score = np.where(np.abs(dataset["energy"].values) < _NO_SCALE * np.abs(dataset["kinetic"].values), np.nan, score)
    if not np.isfinite(score).any():
        return []
    worst = np.zeros(score.size, bool)
    worst[np.nanargmax(score)] = True
    text = f"V-scores (0 for an exact state) go from {np.nanmin(score):.1e} to {np.nanmax(score):.1e}"
    if np.nanmax(score) > LIMITS.v_score:
        text += f": the state at {_labels(dataset, worst)} is still far from an eigenstate."
        advice = f"train longer or with a larger network, for {_labels(dataset, worst)} above all"
        return [Finding("quality", text, True, advice), *_systematic(dataset)]
    return [Finding("quality", f"{text}, highest at {_labels(dataset, worst)}."), *_systematic(dataset)]


def _systematic(dataset: "xarray.Dataset") -> list[Finding]:
    """Distance of the energies from the ground state, as the variance along the training says."""
    above, uncertain = systematic(dataset)
    if not np.isfinite(above).any():
        return []
    worst = np.arange(len(above)) == np.nanargmax(above)
    unit = f"{_unit(dataset)} per electron"
    text = (
        f"By their variance the energies lie {np.nanmean(above):.3g} {unit} above the ground state on average, at most "
        f"{with_error(float(above[worst][0]), float(uncertain[worst][0]))} at {_labels(dataset, worst)}."
    )
    return [Finding("quality", text)]


def _end_of_training(dataset: "xarray.Dataset", training: TrainingRecord | None) -> list[Finding]:
    if training is None:
        return []
    found = [*_counts(training), *_health(dataset, training)]
    bad = np.nansum(training.bad_walkers)
    if bad:
        share = bad / np.sum(np.isfinite(training.bad_walkers))
        text = f"During the training {bad:.0f} local energies were not finite ({share:.2g} a row)."
        found.append(Finding("training", text, True))
    change, error = training.late_change()
    if not np.isfinite(change).any():
        text = "The training is too short to say whether its energies have settled."
        return [*found, Finding("training", text, True)]
    unit = _unit(dataset)
    # A change of the energy by a smaller share is of no consequence.
    noticeable = 4e-4 * np.abs(np.nanmedian(training.energy[-1]))
    falling = (change < -3 * error) & (change < -noticeable)
    if falling.any():
        names = "; ".join(label for label, falls in zip(training.labels, falling, strict=True) if falls)
        text = (
            f"The energies at {names} still fell by up to {-np.nanmin(change[falling]):.2g} {unit} per "
            "electron over the last fifth of the training."
        )
        return [*found, Finding("training", text, True, "train for more steps: some energies are still falling")]
    return [*found, Finding("training", "The energies were level over the last fifth of the training.")]


def _counts(training: TrainingRecord) -> list[Finding]:
    """Sentences about what a good training does not go through, counted over all of it."""
    found = []
    steps, refused = len(training.step), int(np.nansum(training.refused))
    if refused:
        text = f"The optimiser refused {_count(refused, 'step')} of {steps}: their updates were not finite."
        advice = "train again with a smaller learning rate or more damping: steps were refused"
        found.append(Finding("training", text, True, advice))
    redrawn = int(np.nansum(training.redrawn_walkers))
    if redrawn:
        text = (
            f"During the training {_count(redrawn, 'walker')} came where the wavefunction is not finite, and went on "
            "from where others are."
        )
        found.append(Finding("training", text, True))
    empty = int((~np.isfinite(training.energy) & np.isfinite(training.bad_walkers)).any(axis=1).sum())
    if empty:
        text = f"In {_count(empty, 'step')} of {steps} a Hamiltonian had no finite local energy at all."
        found.append(Finding("training", text, True))
    return found


def _health(dataset: "xarray.Dataset", training: TrainingRecord) -> list[Finding]:
    """Sentences about what was off when the training ended."""
    axes = [axis_named(dataset, name) if name in dataset.coords else None for name in training.names]
    varying = [i for i in range(len(axes)) if np.ptp(training.points[:, i]) > 0]
    value = lambda axis, name, x: f"{name} = {x:g}" if axis is None else f"{axis.symbol} = {axis.value(x)}"
    places = [
        ", ".join(value(axes[i], training.names[i], point[i]) for i in varying) or "the one point"
        for point in training.points
    ]
    # Counted over the whole training already.
    counted = ("refused", "bad", "redrawn")
    return [
        Finding("training", f"At the end of the training {complaint.text}.", True)
        for complaint in complaints(training, places)
        if complaint.kind not in counted
    ]


def _slopes(dataset: "xarray.Dataset") -> list[Finding]:
    lines = slope_lines(dataset)
    if not lines:
        return []
    wrong = [(line, ~line.check.agrees) for line in lines if not line.check.agrees.all()]
    if wrong:
        places = "; ".join(
            f"{line.axis.symbol} = {', '.join(f'{x:g}' for x in line.check.middle[which])}"
            f"{line.axis.suffix}{line.where}"
            for line, which in wrong[:4]
        )
        more = f" and on {len(wrong) - 4} more lines" if len(wrong) > 4 else ""
        text = (
            f"The slope of the energy and the expectation of dH/dλ differ around {places}{more}: the wavefunction is "
            "not optimal there, or its phase changes."
        )
        return [Finding("slopes", text, True, "where the slopes differ, train longer or put more points between")]
    largest = max(float(line.check.sigma.max()) for line in lines)
    where = "" if len(lines) == 1 else f" on all {len(lines)} lines of points"
    return [
        Finding("slopes", f"The energies satisfy Hellmann-Feynman{where} (largest difference {largest:.1f} sigma).")
    ]


def _worst_and_mean(dataset: "xarray.Dataset", against: AboveExact) -> str:
    """Energies above the exact ones in words: at worst and where, and on average."""
    worst, unit = against.worst, f"{_unit(dataset)} per electron"
    one = np.arange(len(against.value)) == worst
    scale = max(3 - int(np.floor(np.log10(np.nanmax(np.abs(against.value)) + 1e-300))) - 1, 0)
    high, error = float(against.value[worst]), float(against.error[worst])
    where = f" at {_labels(dataset, one)}" if len(against.value) > 1 else ""
    mean = f", {against.mean:+.{scale}f} on average over {_count(against.known, 'point')}" if against.known > 1 else ""
    return f"at worst {'+' * (high > 0)}{with_error(high, error)} {unit}{where}{mean}"


def _by_branch(dataset: "xarray.Dataset") -> list[Finding]:
    """Separate phases against the exact branches of the same names, one by one."""
    against = {name: above_exact(dataset, name) for name in phases_of(dataset)}
    parts = [f"{name.replace('_', ' ')} {_worst_and_mean(dataset, one)}" for name, one in against.items() if one.known]
    return [Finding("references", f"Each phase against its own exact level: {'; '.join(parts)}.")] if parts else []


def _known_places(dataset: "xarray.Dataset") -> list[Finding]:
    return [Finding("references", text) for text in known_place_sentences(dataset)]


def _known(dataset: "xarray.Dataset") -> list[Finding]:
    known = known_values(dataset)
    if known is None:
        return []
    energy, sigma = dataset["energy"].values, dataset["energy_error"].values
    columns = ("exact", "exact_error", "mean_field")
    exact, uncertainty, mean_field = (known_at_rows(dataset, name) for name in columns)
    found, here = [], np.isfinite(exact)
    missing = energy - exact
    if here.any():
        text = f"Against {known.method}: {_worst_and_mean(dataset, above_exact(dataset))}."
        found.append(Finding("references", text))
        below = here & (energy < exact - 3 * sigma - np.nan_to_num(uncertainty) - 1e-9 * np.abs(exact))
        if below.any():
            text = f"At {_labels(dataset, below)} the energy lies below the exact one, beyond its error."
            advice = "do not use the energies below the exact ones: something is wrong with them"
            found.append(Finding("references", text, True, advice))
    far = (
        here
        & (missing > LIMITS.missing * (mean_field - exact))
        & (missing > np.maximum(4 * sigma, 0.005 * abs(energy)))
    )
    if far.any():
        text = (
            f"At {_labels(dataset, far)} up to {np.max((missing / (mean_field - exact))[far]):.0%} of the correlation "
            "energy is missing: not the ground state, whatever the other signs say."
        )
        advice = "look for another state (momentum, phase, more determinants) where the exact energy is far below"
        found.append(Finding("references", text, True, advice))
    above = np.isfinite(mean_field) & (energy > mean_field + 3 * sigma)
    if above.any():
        text = f"Above {known.mean_field_method} at {_labels(dataset, above)}: not trained, or the wrong phase."
        advice = f"train longer where the energy is above {known.mean_field_method}, or start from its orbitals"
        found.append(Finding("references", text, True, advice))
    return found


def _phases(dataset: "xarray.Dataset") -> list[Finding]:
    advice: list[str] = []
    found = [Finding("phases", text) for text in phase_sentences(dataset, advice)]
    # What to look at next is no doubt about what was measured.
    return [*found[:-1], Finding("phases", found[-1].text, advice="; ".join(advice))] if found else []
