"""Energies of moiré families known from exact diagonalisation and Hartree-Fock."""

import importlib.resources
import json
from typing import Any

import numpy as np

from qernel.evaluation import KnownValues
from qernel.hamiltonian import Family

from ._material import Material
from ._potential import MoireParameters

_DATA = importlib.resources.files("qernel.systems.moire") / "data" / "moire.json"
_TERMS = ("kinetic", "moire", "interaction")


def moire_known_values(family: Family, material: Material) -> KnownValues | None:
    """Reference values of a family that varies the depth, meV per electron, or None.

    Exact diagonalisation is extrapolated to all bands, an estimate with its uncertainty, its terms good to about
    0.1 meV; its `upper_bound` is the variational value of the same calculation. The number of electrons, the periodic
    cell, the material and φ must be those of the table.
    """
    table = json.loads(_DATA.read_text("utf-8"))
    cell, (up, down) = family.hamiltonian.supercell, family.hamiltonian.electrons
    names = tuple(coordinate.name for coordinate in family.coordinates)
    if cell is None or down or names != ("depth_meV",) or not _same_material(family, material, table["material"]):
        return None

    def of_this_system(case: dict[str, Any]) -> bool:
        return case["electrons"] == up and _same_cell(np.asarray(cell.index), case["cells"])

    exact, mean_field = (
        {case["depth_meV"]: case for case in filter(of_this_system, table[kind]["cases"])}
        for kind in ("exact", "hartree_fock")
    )
    depths = sorted({*exact, *mean_field})
    if not depths:
        return None

    def column(cases: dict[float, dict[str, Any]], key: str) -> np.ndarray:
        return np.array([cases[depth][key] if depth in cases else np.nan for depth in depths], np.float64)

    return KnownValues(
        names=names,
        points=np.array(depths, np.float64)[:, None],
        exact=column(exact, "estimate"),
        exact_error=column(exact, "estimate_error"),
        upper_bound=column(exact, "upper_bound"),
        mean_field=column(mean_field, "energy"),
        terms={name: column(exact, name) for name in _TERMS},
        method="exact diagonalisation",
        remark="Exact diagonalisation in Bloch bands, extrapolated to all bands; its terms are good to about 0.1 meV.",
    )


def _same_material(family: Family, material: Material, known: dict[str, float]) -> bool:
    p = family.parameters
    if not isinstance(p, MoireParameters):
        return False
    here = {
        "phi_degrees": np.rad2deg(p.phi),
        "effective_mass": np.asarray(p.mass) * material.effective_mass,
        "dielectric": np.asarray(p.dielectric) * material.dielectric,
        "lattice_constant_nm": np.asarray(p.scale) * material.lattice_constant_nm,
    }
    return all(np.allclose(here[name], value, rtol=1e-6) for name, value in known.items())


def _same_cell(index: np.ndarray, cells: list[int]) -> bool:
    """Whether two supercells are the same lattice: their vectors are whole combinations of each other's."""
    change = index @ np.linalg.inv(np.diag(cells))
    return bool(np.allclose(change, np.round(change)) and np.isclose(abs(np.linalg.det(change)), 1))
