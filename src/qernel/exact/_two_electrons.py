"""Two electrons that repel one another in an isotropic trap, to rounding."""

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.polynomial import chebyshev

# The radial function is analytic in r: its expansion converges exponentially.
_POINTS = 96


class TwoElectrons(NamedTuple):
    """Energy of the lowest state of two electrons, and its terms, in effective Hartree."""

    energy: float
    kinetic: float
    trap: float
    interaction: float


def two_electrons_in_a_trap(frequency: float, strength: float, *, dim: int, angular_momentum: int = 0) -> TwoElectrons:
    r"""The lowest state of the Hamiltonian

    $$ H = \sum_{i=1}^2\Bigl[-\frac{\nabla_i^2}2 + \frac{\omega^2}2 r_i^2\Bigr] + \frac S{r_{12}} $$

    whose relative motion has the given angular momentum, |m| in two dimensions and l in three: 0 of a singlet, 1 of a
    triplet. The centre of mass is in its ground state, of energy dω/2. The relative motion is $r^l u(r)$ times an
    angular function, with u from Chebyshev collocation of

    $$ -r u'' - (2l + d - 1)\,u' + \Bigl(S + \frac{\omega^2 r^3}4\Bigr) u = E_\mathrm{rel}\,r u ; $$

    at r = 0 it is the cusp condition. The terms follow from the virial theorem, $2T - 2V + U = 0$, and
    $U = S\,\partial E/\partial S$.

    **Arguments:** `frequency`, ω; `strength`, S, not negative.

    **Raises:** `ValueError` for a frequency that is not positive, a negative strength or angular momentum, or other
    dimensions than two and three.

    **Source:** M. Taut, Phys. Rev. A 48, 3561 (1993) and J. Phys. A 27, 1045 (1994), where it is a polynomial.

    **Example:** `two_electrons_in_a_trap(1.0, 1.0, dim=2).energy` is 3.
    """
    if dim not in (2, 3) or angular_momentum < 0:
        raise ValueError(f"two or three dimensions and no negative angular momentum, got {dim} and {angular_momentum}")
    if not (np.isfinite(frequency) and frequency > 0) or not (np.isfinite(strength) and strength >= 0):
        raise ValueError(f"the frequency must be positive and the strength not negative, got {frequency}, {strength}")
    coupling = strength / np.sqrt(frequency)
    relative, slope = _relative(coupling, dim, angular_momentum)
    energy, interaction = dim / 2 + relative, coupling * slope
    # T + V + U = E and 2T - 2V + U = 0.
    kinetic = (energy - 1.5 * interaction) / 2
    trap = energy - interaction - kinetic
    return TwoElectrons(*(float(x * frequency) for x in (energy, kinetic, trap, interaction)))


def _relative(coupling: float, dim: int, turns: int) -> tuple[float, float]:
    """Energy of the relative motion at ω = 1 and its slope in the coupling."""
    # Beyond where the potential is lowest, and many widths of the Gaussian tail.
    reach = 2 * (2 * coupling) ** (1 / 3) + 14.0
    x = np.cos(np.pi * np.arange(_POINTS) / (_POINTS - 1))
    r = reach * (x + 1) / 2
    basis = chebyshev.chebvander(x, _POINTS - 1)
    first = np.stack([chebyshev.chebval(x, chebyshev.chebder(row)) for row in np.eye(_POINTS)], axis=1) * 2 / reach
    second = np.stack([chebyshev.chebval(x, chebyshev.chebder(row, 2)) for row in np.eye(_POINTS)], axis=1)
    second *= (2 / reach) ** 2
    power = 2 * turns + dim - 1
    left = -r[:, None] * second - power * first + (coupling + r[:, None] ** 3 / 4) * basis
    right = r[:, None] * basis
    slope = basis.copy()
    # It vanishes at the outer end.
    left[0], right[0], slope[0] = basis[0], 0.0, 0.0
    found: Any = scipy.linalg.eig(left, right, left=True, right=True)
    values, lefts, rights = found
    real = np.isfinite(values) & (np.abs(values.imag) < 1e-6) & (values.real > 0)
    lowest = np.flatnonzero(real)[np.argmin(values.real[real])]
    mine, other = rights[:, lowest], lefts[:, lowest].conj()
    return float(values[lowest].real), float(((other @ slope @ mine) / (other @ right @ mine)).real)
