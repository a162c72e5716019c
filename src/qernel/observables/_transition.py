"""Where a quantity jumps along a parameter."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

# The steepest stretch must hold half of the whole change within two fifths of the range (or one interval), be
# three times steeper than the rest and stand out from the noise; anything less is a smooth dependence.
_SHARE = 0.5
_WIDTH = 0.4
_STEEPER = 3.0
_SIGMA = 5.0


class Transition(eqx.Module):
    r"""The steepest stretch of a quantity against a parameter.

    - `low`, `high`: parameters between which it lies; `steps`: intervals of the grid that it spans.
    - `jump`: change of the quantity across it, `jump_error` its error, and `share` of the largest change
      there is.
    - `steeper`: mean slope across it over the median slope elsewhere; `extent`: its share of the whole range.
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
) -> Transition | None:
    """The stretch of steepest change: the steepest interval, and its neighbours that are at least half as
    steep.

    Rows that are not finite are left out. None with fewer than four different parameters: a jump must be
    told from a slope.
    """
    good = np.isfinite(parameter) & np.isfinite(values)
    order = np.argsort(parameter[good], kind="stable")
    x, y = parameter[good][order], values[good][order]
    e = np.nan_to_num(errors[good][order])
    if len(np.unique(x)) < 4 or len(np.unique(x)) < len(x):
        return None
    slopes = np.diff(y) / np.diff(x)
    first = last = int(np.argmax(np.abs(slopes)))
    top = slopes[first]
    while first > 0 and slopes[first - 1] / top >= 0.5:
        first -= 1
    while last < len(slopes) - 1 and slopes[last + 1] / top >= 0.5:
        last += 1
    jump = float(y[last + 1] - y[first])
    elsewhere = np.concatenate([slopes[:first], slopes[last + 1 :]])
    mean_slope = abs(jump) / (x[last + 1] - x[first])
    typical = float(np.median(np.abs(elsewhere))) if len(elsewhere) else mean_slope
    spread = float(np.ptp(y))
    return Transition(
        low=float(x[first]),
        high=float(x[last + 1]),
        steps=last + 1 - first,
        jump=jump,
        jump_error=float(np.hypot(e[first], e[last + 1])),
        share=abs(jump) / spread if spread > 0 else 0.0,
        steeper=float(mean_slope / typical) if typical > 0 else float("inf"),
        extent=float((x[last + 1] - x[first]) / (x[-1] - x[0])),
    )
