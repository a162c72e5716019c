"""What a training leaves on record."""

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int


class TrainingRecord(eqx.Module):
    """What a training run recorded, as arrays over steps and Hamiltonians; NaN where a row is missing.

    Energies per electron, in the unit of the results, variance in its square. `points` tells the Hamiltonians apart:
    the value of each coordinate of `names`. `step_norm` and `distance`, of the update and of the wavefunction, are
    those of the step. `phase` names the phase of each column, if there are several: the one that ends lowest. All else
    is explained at [`MetricsWriter`][qernel.run_directory.MetricsWriter]; NaN in a table that an earlier version wrote.
    """

    step: Int[np.ndarray, " steps"]
    names: tuple[str, ...] = eqx.field(static=True)
    points: Float[np.ndarray, "hamiltonians coordinates"]
    energy: Float[np.ndarray, "steps hamiltonians"]
    error: Float[np.ndarray, "steps hamiltonians"]
    variance: Float[np.ndarray, "steps hamiltonians"]
    acceptance: Float[np.ndarray, "steps hamiltonians"]
    bad_walkers: Float[np.ndarray, "steps hamiltonians"]
    step_norm: Float[np.ndarray, " steps"]
    distance: Float[np.ndarray, " steps"]
    stuck_walkers: Float[np.ndarray, "steps hamiltonians"]
    redrawn_walkers: Float[np.ndarray, "steps hamiltonians"]
    clipped: Float[np.ndarray, "steps hamiltonians"]
    kinetic_difference: Float[np.ndarray, "steps hamiltonians"]
    kinetic_difference_error: Float[np.ndarray, "steps hamiltonians"]
    effective_per_second: Float[np.ndarray, "steps hamiltonians"]
    shrink: Float[np.ndarray, " steps"]
    refused: Float[np.ndarray, " steps"]
    seconds: Float[np.ndarray, " steps"]
    sampling_seconds: Float[np.ndarray, " steps"]
    memory: Float[np.ndarray, " steps"]
    phase: tuple[str, ...] = eqx.field(static=True, default=())

    @property
    def labels(self) -> tuple[str, ...]:
        """The point of each Hamiltonian in short: `12.5`, or `1.9, 0.27`."""
        return tuple(", ".join(f"{value:g}" for value in point) for point in self.points)

    def late_change(self, share: float = 0.2) -> tuple[Float[np.ndarray, " h"], Float[np.ndarray, " h"]]:
        """Change of each energy across the last `share` of the steps, by a linear fit, and its error.

        The error comes from the residuals of ten blocks, so that correlated steps do not make it too small.
        NaN if there are fewer than twenty such steps.
        """
        steps = len(self.step)
        count = int(steps * share)
        missing = np.full(len(self.points), np.nan)
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
