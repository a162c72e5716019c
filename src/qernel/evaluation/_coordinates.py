"""What the rows of a table are labelled with."""

from typing import Any

import equinox as eqx
import numpy as np

from qernel.hamiltonian import Family
from qernel.systems.moire import MoireParameters
from qernel.systems.moire import Material


class Coordinates(eqx.Module):
    """Labels of the Hamiltonians of a family.

    - `dimension`: name of the table's dimension; `values`: coordinates along it, as xarray takes them.
    - `axis`: the coordinate that varies, against which results are drawn, and `text`, its name with unit.
    - `factor`: dλ/d(axis), with λ the Hamiltonian's parameter of that name.
    """

    dimension: str
    values: dict[str, Any]
    axis: str
    factor: float

    def label(self, index: int) -> str:
        """Name of one row, for messages."""
        value = self.values[self.axis][1][index]
        return f"V0 = {value:g} meV" if self.axis == "depth_meV" else f"{self.axis} = {value:g}"


def coordinates(family: Family, material: Material | None) -> Coordinates:
    """Coordinates of a family: depth in meV and the other parameters in their usual units for a moiré family.

    For any other family: the first varying parameter, or the number of the Hamiltonian.
    """
    if isinstance(family.parameters, MoireParameters) and material is not None:
        return _of_moire(family.parameters, family.varying, material)
    name = family.varying[0] if family.varying else "hamiltonian"
    parameters = family.parameters
    value = parameters.get(name) if isinstance(parameters, dict) else getattr(parameters, name, None)
    if value is None or np.ndim(value) != 1:
        name, value = "hamiltonian", np.arange(family.size)
    return Coordinates(name, {name: (name, np.asarray(value, np.float64))}, name, 1.0)


def _of_moire(parameters: MoireParameters, varying: tuple[str, ...], material: Material) -> Coordinates:
    units = {
        "depth": ("depth_meV", "meV", 1 / material.hartree_meV),
        "phase": ("phase_degrees", "degrees", np.pi / 180),
        "mass": ("effective_mass", "m_e", 1 / material.effective_mass),
        "dielectric": ("dielectric", "1", 1 / material.dielectric),
        "scale": ("lattice_constant_nm", "nm", 1 / material.lattice_constant_nm),
    }
    values = {}
    for field, (name, unit, factor) in units.items():
        # Rounded to what a user typed: 12.5 meV, not 12.500000000000002.
        value = np.round(np.asarray(getattr(parameters, field), np.float64) / factor, 6) + 0.0
        values[name] = ("depth", value, {"units": unit})
    first = varying[0] if varying and varying[0] in units else "depth"
    axis, _, factor = units[first]
    return Coordinates("depth", values, axis, float(factor))
