"""Fermions in a harmonic trap with harmonic interaction: everything about them is known in closed form."""

import functools
import itertools

import jax
import numpy as np

from qernel.evaluation import KnownValues
from qernel.exact import filling_terms, ground_energy, ground_fillings
from qernel.hamiltonian import Family
from qernel.systems import System
from qernel.units import Units

from ._family import point_values
from ._fillings import boundaries_of_fillings, fillings_of, phases_of_fillings, walkers_of_fillings

# Frequencies are multiples of one, ω₀, and lengths those of its oscillator, so that ħ = m = ω₀ = 1.
UNITS = Units("ħω₀", 1.0, "ℓ₀", 1.0)


def trap_system(family: Family) -> System:
    r"""Spin-polarised fermions in an anisotropic harmonic trap with harmonic interaction, a family of
    [`trap_family`][qernel.systems.trap.trap_family].

    Energies, slopes, fidelity susceptibilities and the lines on which the filling of the shells changes are closed
    forms, $\Omega_a^2 = \omega_a^2 + N\kappa$ and $E = \sum_a \Omega_a Q_a + \omega_a/2$: three fermions with
    $\omega_x = 1$ change theirs at $\omega_y^* = \sqrt{4 + 9\kappa}$. Each filling that is the ground state somewhere
    in the range is a phase. Energies in ħω₀, lengths in its oscillator length, ω₀ the unit of the frequencies.

    **Source:** Johnson and Payne, Phys. Rev. Lett. 67, 1157 (1991).
    """
    fillings = fillings_of(family)
    n = family.hamiltonian.n_electrons
    points = family.points
    corners = list(
        itertools.product(*[sorted({low, high}) for low, high in zip(points.min(0), points.max(0), strict=True)])
    )
    omega, kappa = point_values(family)
    fixed = [
        (f"Trap frequency along {axis}", f"ω_{axis} = {omega[0, index]:g}")
        for index, axis in enumerate("xyz"[: omega.shape[1]])
        if np.ptp(omega[:, index]) == 0
    ]
    if np.ptp(kappa) == 0:
        fixed.append(("Strength of the interaction", f"κ = {kappa[0]:g}"))
    levels = "; ".join(", ".join("".join(map(str, level)) for level in filling) for filling in fillings)
    with jax.enable_x64(True):
        span = family.at(np.array(corners))
    return System(
        "trap",
        family,
        UNITS,
        phases=phases_of_fillings(fillings),
        known=functools.partial(_known, fillings),
        walkers=functools.partial(walkers_of_fillings, fillings),
        span=span,
        words=(
            f"{n} spin-polarised fermions in a harmonic trap of {omega.shape[1]} dimension"
            f"{'s' if omega.shape[1] > 1 else ''}, V = ½ Σ ω_a² x_a², with the interaction κ r²/2 between pairs."
        ),
        facts=(*fixed, ("Fillings that compete", levels)),
    )


def _known(fillings, family: Family) -> KnownValues:
    """Closed forms at the members of a family, and the lines between fillings."""
    omega, kappa = point_values(family)
    n = family.hamiltonian.n_electrons
    exact = ground_energy(n, omega, kappa) / n
    lowest = [ground_fillings(n, one, strength)[0] for one, strength in zip(omega[:, None], kappa, strict=True)]
    terms = [filling_terms(f, one, strength) for f, one, strength in zip(lowest, omega, kappa, strict=True)]
    columns = zip(("kinetic", "trap", "interaction"), np.array(terms, np.float64).T / n, strict=True)
    missing = np.full(family.size, np.nan)
    return KnownValues(
        names=tuple(coordinate.name for coordinate in family.coordinates),
        points=family.points,
        exact=exact,
        exact_error=np.zeros(family.size),
        upper_bound=missing,
        mean_field=missing,
        terms=dict(columns),
        method="the closed form",
        remark="Closed forms, exact to rounding.",
        boundaries=boundaries_of_fillings(fillings, family),
    )
