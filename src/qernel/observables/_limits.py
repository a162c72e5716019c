"""Bounds of what counts as sound."""

from typing import NamedTuple


class Limits(NamedTuple):
    """Bounds beyond which a row of results is doubted, in words by [`findings`][qernel.judgement.findings].

    - `r_hat`: largest split R-hat; `effective_samples`: fewest; `drift_sigma`: largest drift, in its errors.
    - `acceptance`: lowest and highest share of accepted moves.
    - `kinetic_sigma`: largest difference of the two kinetic estimators, in its errors; `slope_sigma`: the same for
      the energy curve and ⟨∂H/∂λ⟩ (Hellmann-Feynman).
    - `v_score`: largest V-score of a state that is close to an eigenstate.
    - `missing`: largest share of a known correlation energy (Hartree-Fock less exact) that may be missing, if that is
      more than half a percent of the energy.
    """

    r_hat: float = 1.1
    effective_samples: float = 100
    drift_sigma: float = 4
    acceptance: tuple[float, float] = (0.1, 0.95)
    kinetic_sigma: float = 4
    slope_sigma: float = 3
    v_score: float = 1e-2
    missing: float = 0.25


LIMITS = Limits()
