"""What is not converged, and what no check on this page can see."""

import numpy as np

from qernel.evaluation import doubts_of, known_at_rows, known_values
from qernel.observables import LIMITS

from ._record import Record


def doubts(record: Record) -> list[str]:
    """Every reason not to trust a number, in words."""
    rows = [f"{line}." for line in doubts_of(record.dataset)]
    # The sentence about the sampling is a summary of these rows.
    found = rows + [f.text for f in record.findings if f.doubtful and not (f.topic == "sampling" and rows)]
    lost = int(record.lowest["non_finite"].values.sum())
    if lost and not any("not finite" in line for line in rows):
        found.append(f"{lost} samples had a term that was not finite, and are left out.")
    return found


def checked(record: Record) -> list[str]:
    """What was looked at, with the limits."""
    low, high = LIMITS.acceptance
    found = [
        f"split R-hat of the walkers at most {LIMITS.r_hat:g}",
        f"at least {LIMITS.effective_samples:g} effective samples",
        f"no drift of the energy beyond {LIMITS.drift_sigma:g} errors",
        "no walkers that are trapped or never move",
        f"acceptance between {low:g} and {high:g}",
        f"two kinetic estimators within {LIMITS.kinetic_sigma:g} errors of each other",
        f"V-score at most {LIMITS.v_score:g}",
    ]
    topics = {finding.topic for finding in record.findings}
    if "training" in topics:
        found.append("energies level over the last fifth of the training")
    if "slopes" in topics:
        found.append(f"slope of the energies within {LIMITS.slope_sigma:g} errors of ⟨∂H/∂λ⟩ (Hellmann-Feynman)")
    if "references" in topics:
        found.append(
            "energies not below the exact ones, nor far above them, nor above the mean field, where these are known"
        )
    return found


def unchecked(record: Record) -> list[str]:
    """What the error bars and the checks do not contain."""
    found = [_variational(record)]
    if "supercell" in record.dataset:
        found.append(
            "All numbers are those of this periodic cell. How they change with its size is not part of the error bars."
        )
    if record.training is None:
        found.append("There is no record of the training here: whether it had settled is not checked.")
    if "slopes" not in {finding.topic for finding in record.findings}:
        found.append(
            "The Hellmann-Feynman check needs at least three values of a coordinate and a measured slope: not made."
        )
    found.append(
        "One training, from one seed: whether another would find the same state is not part of the error bars."
    )
    return found


def _variational(record: Record) -> str:
    text = (
        "The error bars are statistical. They do not contain the variational error, by which the energy lies above the "
        "true ground state"
    )
    if known_values(record.dataset) is None:
        return f"{text}; no independent energies are known for this system."
    if not np.isfinite(record.lowest["energy"].values - known_at_rows(record.lowest, "exact")).any():
        return f"{text}; no exact energy is known at these points."
    return f"{text}: where exact energies are known, by as much as the summary and the comparison with them say."
