"""Energies of gases that are known: exact of two electrons, published bounds, determinants of plane waves."""

import importlib.resources
import json

import numpy as np

from qernel.evaluation import KnownValues
from qernel.exact import two_electrons_in_a_cell
from qernel.hamiltonian import Family

from ._family import gas_values
from ._filling import plane_wave_filling

_DATA = importlib.resources.files("qernel.systems.electron_gas") / "data" / "gases.json"


def gas_known_values(cell: str, family: Family) -> KnownValues:
    """Reference values at the members of a family, per electron, in Hartree.

    Two electrons of opposite spins without a twist are exact at every density. Of more there are published energies of
    diffusion Monte Carlo with fixed nodes, upper bounds; and the determinant of plane waves, which is Hartree-Fock of
    the liquid, everywhere.
    """
    values, hamiltonian = gas_values(family), family.hamiltonian
    lattice, electrons, n = hamiltonian.cell, hamiltonian.electrons, hamiltonian.n_electrons
    assert lattice is not None
    table = json.loads(_DATA.read_text("utf-8"))["cases"]
    rows = {name: np.full(family.size, np.nan) for name in ("exact", "error", "bound", "kinetic", "interaction")}
    mean_field = np.zeros(family.size)
    for row, (r_s, *twist) in enumerate(values.tolist()):
        filling = plane_wave_filling(lattice, electrons, tuple(twist))
        mean_field[row] = filling.kinetic / r_s**2 + filling.interaction / r_s
        if any(twist):
            continue
        if electrons == (1, 1):
            two = two_electrons_in_a_cell(lattice, prefactor=r_s**-2, strength=1 / r_s)
            rows["exact"][row], rows["error"][row] = two.energy, two.error
            rows["kinetic"][row], rows["interaction"][row] = two.kinetic, two.interaction
        for case in table:
            if case["cell"] == cell and tuple(case["electrons"]) == electrons and case["r_s"] == r_s:
                rows["bound"][row] = case["energy"] * n
    return KnownValues(
        names=tuple(coordinate.name for coordinate in family.coordinates),
        points=family.points,
        exact=rows["exact"] / n,
        exact_error=rows["error"] / n,
        upper_bound=rows["bound"] / n,
        mean_field=mean_field / n,
        terms={name: rows[name] / n for name in ("kinetic", "interaction")},
        method="the exact solution of two electrons",
        bound_method="fixed-node diffusion Monte Carlo",
        remark="Diffusion Monte Carlo: published energies with fixed nodes, upper bounds." if n > 2 else "",
    )
