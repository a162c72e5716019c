"""What the numbers say, in words."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ._hellmann_feynman import slope_check
from qernel.systems.moire import known_values
from qernel.observables import LIMITS
from ._order import phase_sentences
from qernel.evaluation import with_error
from qernel.run_directory import TrainingRecord

if TYPE_CHECKING:
    import xarray


class Finding(eqx.Module):
    """One sentence about a run.

    - `topic`: sampling, kinetic, quality, training, slopes, references or phases.
    - `doubtful`: whether it is a reason not to trust the numbers, and `advice`, what to do next, if anything.
    """

    topic: str
    text: str
    doubtful: bool = False
    advice: str = ""


def findings(dataset: "xarray.Dataset", training: TrainingRecord | None = None) -> list[Finding]:
    """Whether the results are converged and good, and what they show.

    Sampling (R-hat, effective samples, drift), the two kinetic estimators, the V-score, the end of the
    training, the Hellmann-Feynman check, the distance to known energies, the phases and the transition
    between them. Everything is read off the data set and the record of the training.
    """
    return [
        *_sampling(dataset),
        *_kinetic(dataset),
        *_quality(dataset),
        *_end_of_training(dataset, training),
        *_slopes(dataset),
        *_known(dataset),
        *_phases(dataset),
    ]


def verdict(dataset: "xarray.Dataset", training: TrainingRecord | None = None) -> list[str]:
    """The sentences of [`findings`][qernel.observables.findings], and what to do next."""
    found = findings(dataset, training)
    advice = dict.fromkeys(finding.advice for finding in found if finding.advice)
    last = "; ".join(advice) or "nothing stands in the way of using these numbers"
    return [*(finding.text for finding in found), f"Next: {last}."]


def _labels(dataset: "xarray.Dataset", which: np.ndarray) -> str:
    """The rows of a mask, as `7.5, 10 and 12.5 meV`."""
    axis = str(dataset.attrs["axis"])
    unit = dataset[axis].attrs.get("units", "1") if axis in dataset.coords else "1"
    values = [f"{value:g}" for value in np.asarray(dataset[axis].values)[which]]
    text = values[0] if len(values) == 1 else f"{', '.join(values[:-1])} and {values[-1]}"
    return text if unit == "1" else f"{text} {unit}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _unit(dataset: "xarray.Dataset") -> str:
    return str(dataset["energy"].attrs.get("units", "")).split(" ")[0]


def _sampling(dataset: "xarray.Dataset") -> list[Finding]:
    rows = dataset["energy"].size
    errors = dataset["energy_error"].values
    low, high = (f"{bound:.2g}" for bound in (errors.min(), errors.max()))
    measured = Finding(
        "sampling",
        f"Measured {_count(rows, 'Hamiltonian')} with {dataset.attrs['walkers']} walkers and "
        f"{dataset.attrs['phases']} phases each: errors of {low if low == high else f'{low} to {high}'} "
        f"{_unit(dataset)} per electron.",
    )
    doubts = [line for line in str(dataset.attrs.get("doubts", "")).splitlines() if line]
    if doubts:
        more = f"; and {len(doubts) - 4} more doubts" if len(doubts) > 4 else ""
        text = f"The sampling is not sound everywhere: {'; '.join(doubts[:4])}{more}."
        advice = "evaluate again with more burn-in and more phases before trusting the doubtful rows"
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


def _quality(dataset: "xarray.Dataset") -> list[Finding]:
    score = dataset["v_score"].values
    if not np.isfinite(score).any():
        return []
    worst = np.zeros(score.size, bool)
    worst[np.nanargmax(score)] = True
    text = f"V-scores (0 for an exact state) go from {np.nanmin(score):.1e} to {np.nanmax(score):.1e}"
    if np.nanmax(score) > LIMITS.v_score:
        text += f": the state at {_labels(dataset, worst)} is still far from an eigenstate."
        advice = f"train longer or with a larger network, for {_labels(dataset, worst)} above all"
        return [Finding("quality", text, True, advice)]
    return [Finding("quality", f"{text}, highest at {_labels(dataset, worst)}.")]


def _end_of_training(dataset: "xarray.Dataset", training: TrainingRecord | None) -> list[Finding]:
    if training is None:
        return []
    found = []
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
    # Smaller than this, 0.02 meV at -50 meV per electron, is of no consequence.
    noticeable = 4e-4 * np.abs(np.nanmedian(training.energy[-1]))
    falling = (change < -3 * error) & (change < -noticeable)
    if falling.any():
        names = ", ".join(f"{value:g}" for value in training.label[falling])
        text = (
            f"The energies at {names} still fell by up to {-np.nanmin(change[falling]):.2g} {unit} per "
            "electron over the last fifth of the training."
        )
        return [*found, Finding("training", text, True, "train for more steps: some energies are still falling")]
    return [*found, Finding("training", "The energies were level over the last fifth of the training.")]


def _slopes(dataset: "xarray.Dataset") -> list[Finding]:
    check = slope_check(dataset)
    if check is None:
        return []
    wrong = ~check.agrees
    if wrong.any():
        places = ", ".join(f"{x:g}" for x in check.middle[wrong])
        text = (
            f"The slope of the energy and the expectation of dH/d({dataset.attrs['axis']}) differ around "
            f"{places}: the wavefunction is not optimal there, or its phase changes."
        )
        return [Finding("slopes", text, True, "where the slopes differ, train longer or put more depths between")]
    text = f"The energy curve satisfies Hellmann-Feynman (largest difference {check.sigma.max():.1f} sigma)."
    return [Finding("slopes", text)]


def _known(dataset: "xarray.Dataset") -> list[Finding]:
    known = known_values(dataset)
    if known is None:
        return []
    depths = dataset["depth_meV"].values
    energy, sigma = dataset["energy"].values, dataset["energy_error"].values
    exact, uncertainty = known.exact_at(depths)
    mean_field = known.hartree_fock_at(depths)
    found = []
    here = np.isfinite(exact)
    if here.any():
        error = (energy - exact)[here]
        worst = np.flatnonzero(here)[np.argmax(error)]
        text = (
            f"Against exact diagonalisation: {error.mean():+.3f} meV per electron on average over "
            f"{_count(int(here.sum()), 'depth')}, at most {with_error(error.max(), float(sigma[worst]))} at "
            f"{depths[worst]:g} meV."
        )
        found.append(Finding("references", text))
        below = here & (energy < exact - 3 * sigma - np.nan_to_num(uncertainty))
        if below.any():
            text = f"At {_labels(dataset, below)} the energy lies below the exact one, beyond its error."
            advice = "do not use the energies below the exact ones: something is wrong with them"
            found.append(Finding("references", text, True, advice))
    missing = energy - exact
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
        text = f"Above Hartree-Fock at {_labels(dataset, above)}: not trained, or the wrong phase."
        advice = "train longer where the energy is above Hartree-Fock, or start from Hartree-Fock orbitals"
        found.append(Finding("references", text, True, advice))
    return found


def _phases(dataset: "xarray.Dataset") -> list[Finding]:
    advice: list[str] = []
    found = [Finding("phases", text) for text in phase_sentences(dataset, advice)]
    # What to look at next is no doubt about what was measured.
    return [*found[:-1], Finding("phases", found[-1].text, advice="; ".join(advice))] if found else []
