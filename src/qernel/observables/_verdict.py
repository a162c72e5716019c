"""What the numbers say, in words."""

from typing import TYPE_CHECKING

import numpy as np

from ._hellmann_feynman import slope_check
from ._known_values import known_values
from ._phases import phase_sentences
from ._table import with_error
from ._training_record import TrainingRecord

if TYPE_CHECKING:
    import xarray


def verdict(dataset: "xarray.Dataset", training: TrainingRecord | None = None) -> list[str]:
    """Sentences on whether the results are converged and good, what they show, and what to do next.

    Sampling (R-hat, effective samples, drift), the two kinetic estimators, the V-score, the end of the
    training, the Hellmann-Feynman check, the distance to known energies, the phases and the transition
    between them. Everything is read off the data set and the record of the training.
    """
    advice: list[str] = []
    sentences = [
        *_sampling(dataset, advice),
        *_kinetic(dataset, advice),
        *_quality(dataset, advice),
        *_end_of_training(dataset, training, advice),
        *_slopes(dataset, advice),
        *_known(dataset, advice),
        *phase_sentences(dataset, advice),
    ]
    if not advice:
        advice.append("nothing stands in the way of using these numbers")
    return [*sentences, f"Next: {'; '.join(dict.fromkeys(advice))}."]


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


def _sampling(dataset: "xarray.Dataset", advice: list[str]) -> list[str]:
    rows = dataset["energy"].size
    errors = dataset["energy_error"].values
    low, high = (f"{bound:.2g}" for bound in (errors.min(), errors.max()))
    found = [
        f"Measured {_count(rows, 'Hamiltonian')} with {dataset.attrs['walkers']} walkers and "
        f"{dataset.attrs['phases']} phases each: errors of {low if low == high else f'{low} to {high}'} "
        f"{_unit(dataset)} per electron."
    ]
    doubts = [line for line in str(dataset.attrs.get("doubts", "")).splitlines() if line]
    if doubts:
        more = f"; and {len(doubts) - 4} more doubts" if len(doubts) > 4 else ""
        found.append(f"The sampling is not sound everywhere: {'; '.join(doubts[:4])}{more}.")
        advice.append("evaluate again with more burn-in and more phases before trusting the doubtful rows")
    else:
        found.append(
            f"The sampling is sound: R-hat at most {dataset['r_hat'].values.max():.3f}, at least "
            f"{dataset['effective_samples'].values.min():.0f} effective samples, no drift."
        )
    return found


def _kinetic(dataset: "xarray.Dataset", advice: list[str]) -> list[str]:
    difference = dataset["kinetic_difference"].values
    error = dataset["kinetic_difference_error"].values
    rounding = 1e-6 * np.abs(dataset["kinetic"].values)
    with np.errstate(divide="ignore", invalid="ignore"):
        sigma = np.where(np.abs(difference) <= rounding, 0.0, np.abs(difference) / error)
    wrong = ~(sigma <= 4)
    if wrong.any():
        advice.append("look for a kink or a jump of the wavefunction (hard routing, a minimum image)")
        return [
            f"The two kinetic estimators differ by more than 4 sigma at {_labels(dataset, wrong)}: the "
            "wavefunction is not smooth there, and its energy is not an upper bound."
        ]
    return [f"The two kinetic estimators agree everywhere (largest difference {sigma.max():.1f} sigma)."]


def _quality(dataset: "xarray.Dataset", advice: list[str]) -> list[str]:
    score = dataset["v_score"].values
    if not np.isfinite(score).any():
        return []
    worst = np.zeros(score.size, bool)
    worst[np.nanargmax(score)] = True
    text = f"V-scores (0 for an exact state) go from {np.nanmin(score):.1e} to {np.nanmax(score):.1e}"
    if np.nanmax(score) > 1e-2:
        advice.append(f"train longer or with a larger network, for {_labels(dataset, worst)} above all")
        return [f"{text}: the state at {_labels(dataset, worst)} is still far from an eigenstate."]
    return [f"{text}, highest at {_labels(dataset, worst)}."]


def _end_of_training(dataset: "xarray.Dataset", training: TrainingRecord | None, advice: list[str]) -> list[str]:
    if training is None:
        return []
    found = []
    bad = np.nansum(training.bad_walkers)
    if bad:
        share = bad / np.sum(np.isfinite(training.bad_walkers))
        found.append(f"During the training {bad:.0f} local energies were not finite ({share:.2g} a row).")
    change, error = training.late_change()
    if not np.isfinite(change).any():
        return [*found, "The training is too short to say whether its energies have settled."]
    unit = _unit(dataset)
    # Smaller than this, 0.02 meV at -50 meV per electron, is of no consequence.
    noticeable = 4e-4 * np.abs(np.nanmedian(training.energy[-1]))
    falling = (change < -3 * error) & (change < -noticeable)
    if falling.any():
        names = ", ".join(f"{value:g}" for value in training.label[falling])
        advice.append("train for more steps: some energies are still falling")
        found.append(
            f"The energies at {names} still fell by up to {-np.nanmin(change[falling]):.2g} {unit} per "
            "electron over the last fifth of the training."
        )
    else:
        found.append("The energies were level over the last fifth of the training.")
    return found


def _slopes(dataset: "xarray.Dataset", advice: list[str]) -> list[str]:
    check = slope_check(dataset)
    if check is None:
        return []
    wrong = ~check.agrees
    if wrong.any():
        places = ", ".join(f"{x:g}" for x in check.middle[wrong])
        advice.append("where the slopes differ, train longer or put more depths between")
        return [
            f"The slope of the energy and the expectation of dH/d({dataset.attrs['axis']}) differ around "
            f"{places}: the wavefunction is not optimal there, or its phase changes."
        ]
    return [f"The energy curve satisfies Hellmann-Feynman (largest difference {check.sigma.max():.1f} sigma)."]


def _known(dataset: "xarray.Dataset", advice: list[str]) -> list[str]:
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
        found.append(
            f"Against exact diagonalisation: {error.mean():+.3f} meV per electron on average over "
            f"{_count(int(here.sum()), 'depth')}, at most {with_error(error.max(), float(sigma[worst]))} at "
            f"{depths[worst]:g} meV."
        )
        below = here & (energy < exact - 3 * sigma - np.nan_to_num(uncertainty))
        if below.any():
            advice.append("do not use the energies below the exact ones: something is wrong with them")
            found.append(f"At {_labels(dataset, below)} the energy lies below the exact one, beyond its error.")
    above = np.isfinite(mean_field) & (energy > mean_field + 3 * sigma)
    if above.any():
        advice.append("train longer where the energy is above Hartree-Fock, or start from Hartree-Fock orbitals")
        found.append(f"Above Hartree-Fock at {_labels(dataset, above)}: not trained, or the wrong phase.")
    return found
