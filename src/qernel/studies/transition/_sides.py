"""The two sides of a jump along a coordinate, each continued to the other."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from qernel.evaluation import axes_of, positions_on, slope_of
from qernel.judgement import Jump

if TYPE_CHECKING:
    import xarray


class Sides(NamedTuple):
    r"""What the energies of the rows $a < b$ on either side of a jump, and their slopes, say of the states there.

    The slope of a state is taken to change between the rows as it does beside them, by s:

    $$ g_b = E_a + (\lambda_b - \lambda_a)\,(E_a' + s/2) - E_b, \qquad
       g_a = E_b - (\lambda_b - \lambda_a)\,(E_b' - s/2) - E_a . $$

    **Fields:**

    - `fall`, `fall_error`: $E_a' + s - E_b'$, by how much the slope falls beyond that, as it does where the lower of
      two energies changes.
    - `gaps`, `gap_errors`: $(g_a, g_b)$, how far the state of the other side lies above that of a row, positive for two
      energies that cross in between.
    - `place`, `place_error`: where they cross.
    """

    fall: float
    fall_error: float
    gaps: Float[np.ndarray, " 2"]
    gap_errors: Float[np.ndarray, " 2"]
    place: float
    place_error: float


def sides_of(scan: "xarray.Dataset", jump: Jump) -> Sides:
    """The sides of a jump of a table whose rows lie along one coordinate, in order, with the slopes at all of them.

    All is NaN if no row lies beside them.
    """
    axis = axes_of(scan)[0]
    x, name = positions_on(scan, axis), slope_of(scan, axis)
    energy, energy_error, slope, error = (scan[n].values for n in ("energy", "energy_error", name, f"{name}_error"))
    a, b = (int(np.argmin(np.abs(x - edge))) for edge in (jump.low, jump.high))
    width = x[b] - x[a]
    beside = [(i, i + 1) for i in (a - 1, b) if i >= 0 and i + 1 < len(x)]
    if not beside:
        return Sides(np.nan, np.nan, np.full(2, np.nan), np.full(2, np.nan), np.nan, np.nan)
    change = np.mean([width * (slope[j] - slope[i]) / (x[j] - x[i]) for i, j in beside])
    # Every slope enters with its own weight; those of the two rows once more than as rows beside.
    change_error = sum(np.hypot(error[i], error[j]) * width / (x[j] - x[i]) for i, j in beside) / len(beside)
    gaps = np.array(
        [
            energy[b] - energy[a] - width * (slope[b] - change / 2),
            energy[a] - energy[b] + width * (slope[a] + change / 2),
        ]
    )
    variance = energy_error[a] ** 2 + energy_error[b] ** 2
    bent = (width * change_error / 2) ** 2
    gap_errors = np.sqrt(variance + bent + (width * error[[b, a]]) ** 2)
    fall = float(slope[a] + change - slope[b])
    with np.errstate(divide="ignore", invalid="ignore"):
        share = gaps[0] / gaps.sum()
        of_slopes = np.sum((np.array([share, 1 - share]) * width * error[[a, b]]) ** 2)
        place_error = np.sqrt(variance + of_slopes) / abs(fall)
    fall_error = np.sqrt(error[a] ** 2 + error[b] ** 2 + change_error**2)
    return Sides(fall, float(fall_error), gaps, gap_errors, float(x[a] + width * share), float(place_error))
