"""Is the energy curve consistent with the derivative of the Hamiltonian?"""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

from qernel.observables import LIMITS

if TYPE_CHECKING:
    import xarray


class SlopeCheck(eqx.Module):
    r"""$\Delta E/\Delta\lambda$ between neighbouring rows, and the mean of ⟨∂H/∂λ⟩ over the same interval.

    Both are exact statements about an optimal wavefunction: $E(\lambda_2) - E(\lambda_1) =
    \int\langle\partial H/\partial\lambda\rangle\,d\lambda$. The integral is that of a cubic through the
    measured slopes; `uncertainty` is a third of its difference from the trapezoidal rule, what the
    interpolation may miss.
    """

    middle: Float[np.ndarray, " intervals"]
    from_energies: Float[np.ndarray, " intervals"]
    from_energies_error: Float[np.ndarray, " intervals"]
    from_slopes: Float[np.ndarray, " intervals"]
    from_slopes_error: Float[np.ndarray, " intervals"]
    uncertainty: Float[np.ndarray, " intervals"]

    @property
    def difference(self) -> Float[np.ndarray, " intervals"]:
        """Slope of the energies less the mean slope."""
        return self.from_energies - self.from_slopes

    @property
    def error(self) -> Float[np.ndarray, " intervals"]:
        """Statistical error of the difference."""
        return np.hypot(self.from_energies_error, self.from_slopes_error)

    @property
    def sigma(self) -> Float[np.ndarray, " intervals"]:
        """The difference in errors, less what the interpolation may explain."""
        unexplained = np.maximum(np.abs(self.difference) - self.uncertainty, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(unexplained > 0, unexplained / self.error, 0.0)

    @property
    def agrees(self) -> np.ndarray:
        """Whether the two slopes agree within three errors and what the interpolation may miss."""
        return self.sigma <= LIMITS.slope_sigma


def slope_check(dataset: "xarray.Dataset") -> SlopeCheck | None:
    """The Hellmann-Feynman check of a data set's energy curve.

    None without a measured slope, with fewer than three rows, or where a parameter other than the
    coordinate varies.
    """
    from scipy.interpolate import PchipInterpolator

    axis = str(dataset.attrs["axis"])
    if "slope" not in dataset or dataset["energy"].size < 3 or not _only_axis_varies(dataset, axis):
        return None
    order = np.argsort(dataset[axis].values, kind="stable")
    names = ("energy", "energy_error", "slope", "slope_error")
    energy, energy_error, slope, slope_error = (dataset[name].values[order] for name in names)
    x = np.asarray(dataset[axis].values[order], np.float64)
    if np.any(np.diff(x) <= 0) or not np.all(np.isfinite(energy) & np.isfinite(slope)):
        return None
    width = np.diff(x)
    # Monotone between the rows, so that a jump at a transition makes no ringing.
    integral = PchipInterpolator(x, slope).antiderivative()
    from_slopes = np.diff(integral(x)) / width
    trapezoid = (slope[1:] + slope[:-1]) / 2
    return SlopeCheck(
        middle=(x[1:] + x[:-1]) / 2,
        from_energies=np.diff(energy) / width,
        from_energies_error=np.hypot(energy_error[1:], energy_error[:-1]) / width,
        from_slopes=from_slopes,
        from_slopes_error=np.hypot(slope_error[1:], slope_error[:-1]) / 2,
        uncertainty=np.abs(from_slopes - trapezoid) / 3,
    )


def _only_axis_varies(dataset, axis: str) -> bool:
    others = ("depth_meV", "phase_degrees", "effective_mass", "dielectric", "lattice_constant_nm")
    return all(np.ptp(dataset[name].values) == 0 for name in others if name in dataset.coords and name != axis)
