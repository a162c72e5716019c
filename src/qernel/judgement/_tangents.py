"""Energies seen from the neighbouring rows: the variational principle along a parameter in which H is linear."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float, Int

from qernel.evaluation import axes_of, points_of, slope_of

if TYPE_CHECKING:
    import xarray

# Every row is compared with every other, so that four sigma are needed where one comparison would need three.
_SIGMA = 4.0


class TangentCheck(eqx.Module):
    r"""Distance of each row above the tangent of another.

    For H linear in λ, the state of row j has at $\lambda_i$ the energy $T_j(\lambda_i) = E_j + (\lambda_i -
    \lambda_j)\langle\partial H/\partial\lambda\rangle_j$, exactly. Where $T_j(\lambda_i) < E_i$, the family holds a
    better state for $\lambda_i$ than the one it uses there: it is stuck in the wrong phase, or its network jumps where
    the Hamiltonian does not.

    **Fields:**

    - `excess`: $E_i - T_j(\lambda_i)$ of the most significant j, `error` its error, `witness` that j.
    """

    excess: Float[np.ndarray, " rows"]
    error: Float[np.ndarray, " rows"]
    witness: Int[np.ndarray, " rows"]

    @property
    def above(self) -> Bool[np.ndarray, " rows"]:
        """Rows that lie above a tangent by more than four errors."""
        return self.excess > _SIGMA * self.error


def tangent_check(dataset: "xarray.Dataset") -> TangentCheck | None:
    """Compare every row's energy with the tangents of all others from which it differs in linear coordinates alone.

    None for families whose Hamiltonian is linear in no coordinate that varies, without measured slopes, or if no two
    rows can be compared.
    """
    axes = axes_of(dataset)
    slopes = [name for name in (slope_of(dataset, axis) for axis in axes) if name is not None]
    if not any(axis.linear for axis in axes) or len(slopes) < len(axes):
        return None
    points = points_of(dataset)
    energy, energy_error = dataset["energy"].values, dataset["energy_error"].values
    step = points[:, None] - points[None]
    linear = np.array([axis.linear for axis in axes])
    comparable = np.all(linear | (np.abs(step) <= 1e-9 * np.maximum(np.ptp(points, axis=0), 1e-300)), axis=2)
    np.fill_diagonal(comparable, False)
    if not comparable.any():
        return None
    tangent, variance = np.zeros(comparable.shape), energy_error[:, None] ** 2 + energy_error[None] ** 2
    for index, name in enumerate(slopes):
        tangent = tangent + step[..., index] * dataset[name].values[None]
        variance = variance + (step[..., index] * dataset[f"{name}_error"].values[None]) ** 2
    excess, error = energy[:, None] - energy[None] - tangent, np.sqrt(variance)
    # A row that was not measured is compared with none, and is no reason not to compare the others.
    excess = np.where(comparable & np.isfinite(excess + error), excess, -np.inf)
    witness = np.argmax(excess / np.maximum(np.nan_to_num(error), 1e-300), axis=1)
    rows = np.arange(len(energy))
    return TangentCheck(excess[rows, witness], error[rows, witness], witness)
