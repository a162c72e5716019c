"""Where a quantity jumps along a parameter."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

from qernel.evaluation import axes_of, positions_on

if TYPE_CHECKING:
    import xarray

# A jump makes half of the whole change within two fifths of the range (or one interval), three times steeper than the
# rest, beyond the noise; anything less is a smooth dependence.
_SHARE = 0.5
_WIDTH = 0.4
_STEEPER = 3.0
_SIGMA = 5.0


class Jump(eqx.Module):
    r"""The shortest stretch of a parameter over which a quantity makes half of its whole change.

    **Fields:**

    - `low`, `high`: parameters between which it lies; `steps`: intervals of the grid that it spans.
    - `jump`: change of the quantity across it, `jump_error` its error, and `share` of the largest change
      there is.
    - `steeper`: mean slope across it over that of the rest; `extent`: its share of the whole range.
    """

    low: float
    high: float
    steps: int
    jump: float
    jump_error: float
    share: float
    steeper: float
    extent: float

    @property
    def centre(self) -> float:
        """Middle of the stretch."""
        return (self.low + self.high) / 2

    @property
    def is_jump(self) -> bool:
        """Whether the quantity jumps rather than depends smoothly on the parameter."""
        significant = abs(self.jump) > _SIGMA * self.jump_error
        local = self.steps == 1 or self.extent <= _WIDTH
        return significant and local and self.share >= _SHARE and self.steeper >= _STEEPER


def steepest_stretch(
    parameter: Float[np.ndarray, " rows"],
    values: Float[np.ndarray, " rows"],
    errors: Float[np.ndarray, " rows"],
) -> Jump | None:
    """The shortest stretch that holds half of the whole change.

    Unlike the steepest interval it does not follow the noise where rows lie close together. Rows that are not finite
    are left out, and nothing is significant whose error is not known. None with fewer than four different parameters: a
    jump must be told from a slope.
    """
    good = np.isfinite(parameter) & np.isfinite(values)
    order = np.argsort(parameter[good], kind="stable")
    x, y = parameter[good][order], values[good][order]
    e = errors[good][order]
    if len(np.unique(x)) < 4 or len(np.unique(x)) < len(x):
        return None
    spread = float(np.ptp(y))
    width, change = x[None] - x[:, None], np.abs(y[None] - y[:, None])
    # Of stretches of about one length the one that changes most.
    fits = (width > 0) & (change >= _SHARE * spread)
    length = np.where(fits, width, np.inf)
    first, last = np.unravel_index(np.argmax(np.where(length <= 1.001 * length.min(), change, -1)), length.shape)
    jump = float(y[last] - y[first])
    mean_slope = abs(jump) / (x[last] - x[first])
    outside = (x[-1] - x[0]) - (x[last] - x[first])
    elsewhere = abs(y[first] - y[0]) + abs(y[-1] - y[last])
    return Jump(
        low=float(x[first]),
        high=float(x[last]),
        steps=int(last - first),
        jump=jump,
        jump_error=float(np.hypot(e[first], e[last])),
        share=abs(jump) / spread if spread > 0 else 0.0,
        steeper=float(mean_slope * outside / elsewhere) if elsewhere > 0 else float("inf"),
        extent=float((x[last] - x[first]) / (x[-1] - x[0])),
    )


def stretch_of(table: "xarray.Dataset", name: str) -> Jump | None:
    """[`steepest_stretch`][qernel.judgement.steepest_stretch] of a variable along the single coordinate of a table."""
    return steepest_stretch(positions_on(table, axes_of(table)[0]), table[name].values, table[f"{name}_error"].values)
