"""The electron gas without boundaries: closed forms and published fits of its energy."""

import numpy as np

# J. P. Perdew and Y. Wang, Phys. Rev. B 45, 13244 (1992), table I: A, α₁, β₁ to β₄ of the unpolarised and of the
# polarised gas, and of the spin stiffness (with the opposite sign), Hartree.
_PERDEW_WANG = (
    (0.031091, 0.21370, 7.5957, 3.5876, 1.6382, 0.49294),
    (0.015545, 0.20548, 14.1189, 6.1977, 3.3662, 0.62517),
    (0.016887, 0.11125, 10.357, 3.6231, 0.88026, 0.49671),
)
# B. Tanatar and D. M. Ceperley, Phys. Rev. B 39, 5005 (1989), table IV: a₀ to a₃ of the unpolarised and of the
# polarised gas, Rydberg.
_TANATAR_CEPERLEY = ((-0.3568, 1.1300, 0.9052, 0.4165), (-0.0515, 340.5813, 75.2293, 37.0170))


def bulk_kinetic(r_s: float, polarisation: float, dim: int) -> float:
    r"""Kinetic energy per electron of free electrons, Hartree: $\frac3{10}k_F^2$ in space, $\frac14k_F^2$ in the plane,
    with the mean of $(1\pm\zeta)^{1 + 2/d}$."""
    power = 1 + 2 / dim
    spins = ((1 + polarisation) ** power + (1 - polarisation) ** power) / 2
    unpolarised = 0.5 if dim == 2 else 0.3 * (9 * np.pi / 4) ** (2 / 3)
    return float(unpolarised * spins / r_s**2)


def bulk_exchange(r_s: float, polarisation: float, dim: int) -> float:
    r"""Exchange energy per electron of free electrons, Hartree: $-\frac3{4\pi}k_F$ in space,
    $-\frac4{3\pi}k_F$ in the plane, with the mean of $(1\pm\zeta)^{1 + 1/d}$."""
    power = 1 + 1 / dim
    spins = ((1 + polarisation) ** power + (1 - polarisation) ** power) / 2
    unpolarised = 4 * np.sqrt(2) / (3 * np.pi) if dim == 2 else 0.75 / np.pi * (9 * np.pi / 4) ** (1 / 3)
    return float(-unpolarised * spins / r_s)


def bulk_correlation(r_s: float, polarisation: float, dim: int) -> float:
    r"""The published fit of the correlation energy per electron, Hartree: in space that of Perdew and Wang, in the
    plane that of Tanatar and Ceperley with
    $\epsilon_c(\zeta) = \epsilon_c(0) + \zeta^2[\epsilon_c(1) - \epsilon_c(0)]$.

    **Source:** Phys. Rev. B 45, 13244 (1992); Phys. Rev. B 39, 5005 (1989).
    """
    if dim == 2:
        x = np.sqrt(r_s)
        values = [0.5 * a * (1 + b * x) / (1 + b * x + c * x**2 + d * x**3) for a, b, c, d in _TANATAR_CEPERLEY]
        return float(values[0] + polarisation**2 * (values[1] - values[0]))
    unpolarised, polarised, stiffness = (_perdew_wang(r_s, *row) for row in _PERDEW_WANG)
    spread = ((1 + polarisation) ** (4 / 3) + (1 - polarisation) ** (4 / 3) - 2) / (2 ** (4 / 3) - 2)
    curvature = 4 / (9 * (2 ** (1 / 3) - 1))
    fourth = polarisation**4
    bent = -stiffness * spread / curvature * (1 - fourth)
    return float(unpolarised + bent + (polarised - unpolarised) * spread * fourth)


def bulk_energy(r_s: float, polarisation: float, dim: int) -> float:
    """Energy per electron of the infinite gas, Hartree: kinetic and exchange energy and the fit of the correlation
    energy."""
    terms = (bulk_kinetic, bulk_exchange, bulk_correlation)
    return sum(term(r_s, polarisation, dim) for term in terms)


def _perdew_wang(r_s: float, a: float, a1: float, b1: float, b2: float, b3: float, b4: float) -> float:
    x = np.sqrt(r_s)
    series = 2 * a * (b1 * x + b2 * x**2 + b3 * x**3 + b4 * x**4)
    return float(-2 * a * (1 + a1 * r_s) * np.log1p(1 / series))
