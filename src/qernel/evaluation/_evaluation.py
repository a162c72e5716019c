"""Measurements of frozen wavefunctions."""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from qernel.observables import Measured


class Evaluation(eqx.Module):
    r"""Measurements of frozen wavefunctions of H Hamiltonians with W walkers over T rounds of sampling.

    On the host, float64. Energies are totals in effective Hartree, lengths in effective Bohr radii.

    **Fields:**

    - `series`: time series of `"energy"` (the total), `"kinetic"`, `"kinetic_from_gradient"` and each
      potential by name; and of the family's coordinate λ `"slope"`, ∂H/∂λ, or `"slope_"` and the name of each of
      several. Samples with any non-finite term are NaN in every term, and counted in `non_finite`.
    - `acceptance`: of each round; `step_size`: frozen; `stuck`: walkers that never moved while measuring.
    - `density`, `density_error`: electrons per unit volume on bins of equal size in the cell's fractional
      coordinates; None with open boundaries.
    - `structure_factor`, $S(q) = \langle|\sum_i e^{iq\cdot r_i}|^2\rangle / N$, at `wave_vectors`,
      and `structure_factor_error`.
    - `positions`: where the walkers ended.
    - `n_electrons`: number of electrons.
    - `real`: whether the wavefunction is real.
    - `samples`: the positions after each recorded round, at the precision of the walkers, for observables that are
      functions of samples; NaN where a term was not finite. None if none were kept. They take
      H · W · records · N · dim numbers of the host's memory, 4 or 8 bytes each.
    - `observed`: what the observables found at each Hamiltonian, by name.
    - `probe_noise`: of a random Laplacian, its total energies less the exact ones at some of the walkers in the end,
      for several draws; None of an exact one.
    """

    series: dict[str, Float[np.ndarray, "hamiltonians walkers rounds"]]
    acceptance: Float[np.ndarray, "hamiltonians rounds"]
    step_size: Float[np.ndarray, " hamiltonians"]
    stuck: Int[np.ndarray, " hamiltonians"]
    non_finite: Int[np.ndarray, " hamiltonians"]
    density: Float[np.ndarray, "hamiltonians ..."] | None
    density_error: Float[np.ndarray, "hamiltonians ..."] | None
    wave_vectors: Float[np.ndarray, "vectors dim"]
    structure_factor: Float[np.ndarray, "hamiltonians vectors"]
    structure_factor_error: Float[np.ndarray, "hamiltonians vectors"]
    positions: Float[np.ndarray, "hamiltonians walkers electrons dim"]
    n_electrons: int = eqx.field(static=True)
    real: bool = eqx.field(static=True)
    samples: Float[np.ndarray, "hamiltonians walkers records electrons dim"] | None = None
    observed: tuple[dict[str, Measured], ...] = eqx.field(static=True, default=())
    probe_noise: Float[np.ndarray, "draws hamiltonians compared"] | None = None

    @property
    def hamiltonians(self) -> int:
        """Number of Hamiltonians."""
        return self.acceptance.shape[0]
