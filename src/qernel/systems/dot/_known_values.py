"""Energies of dots that are known: exact of two electrons, published bounds, Hartree-Fock."""

import functools
import importlib.resources
import json

import numpy as np

from qernel.evaluation import KnownValues
from qernel.exact import two_electrons_in_a_trap
from qernel.hamiltonian import Family

from ._family import dot_couplings, dot_values
from ._mean_field import DotBranches

_DATA = importlib.resources.files("qernel.systems.dot") / "data" / "dots.json"


def dot_known_values(branches: DotBranches, family: Family) -> KnownValues:
    """Reference values at the members of a family, per electron.

    Two electrons are exact at every point. Of more there are published energies of diffusion Monte Carlo with fixed
    nodes, upper bounds, and Hartree-Fock everywhere, of the filling that is lowest there.
    """
    omega, strength = dot_values(family)
    n, dim = family.hamiltonian.n_electrons, family.hamiltonian.dim
    couplings = dot_couplings(family)
    # Of fillings with and without a value, the value.
    mean_field = functools.reduce(np.fmin, [branches.energies(name, couplings) for name in branches.lowest]) * omega
    exact, terms = np.full(family.size, np.nan), {}
    if n == 2:
        # Of parallel spins the relative motion is odd.
        turns = 0 if min(family.hamiltonian.electrons) else 1
        found = [
            two_electrons_in_a_trap(w, s, dim=dim, angular_momentum=turns)
            for w, s in zip(omega.tolist(), strength.tolist(), strict=True)
        ]
        exact = np.array([one.energy for one in found])
        terms = {
            name: np.array([getattr(one, name) for one in found]) / n for name in ("kinetic", "trap", "interaction")
        }
    bounds = np.array([_published(family, float(c)) for c in couplings]) * omega
    return KnownValues(
        names=tuple(coordinate.name for coordinate in family.coordinates),
        points=family.points,
        exact=exact / n,
        exact_error=np.where(np.isfinite(exact), 0.0, np.nan),
        upper_bound=bounds / n,
        mean_field=mean_field / n,
        terms=terms,
        method="the exact solution of two electrons",
        bound_method="fixed-node diffusion Monte Carlo",
        remark="Diffusion Monte Carlo: published energies with fixed nodes, upper bounds." if n > 2 else "",
    )


def _published(family: Family, coupling: float) -> float:
    """The published energy in units of ω at one coupling; NaN where there is none."""
    table = json.loads(_DATA.read_text("utf-8"))
    for case in table["cases"]:
        same = case["electrons"] == list(family.hamiltonian.electrons) and case["dimensions"] == family.hamiltonian.dim
        if same and abs(case["omega"] ** -0.5 - coupling) < 1e-6 * coupling:
            return case["energy"] / case["omega"]
    return np.nan
