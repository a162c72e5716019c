"""Energies of moiré families known from exact diagonalisation and Hartree-Fock."""

import importlib.resources
import json
from typing import Any

import numpy as np

from qernel.evaluation import KnownBranch, KnownValues
from qernel.hamiltonian import Family

from ._material import Material
from ._potential import MoireParameters

_DATA = importlib.resources.files("qernel.systems.moire") / "data" / "moire.json"
_TERMS = ("kinetic", "moire", "interaction")
# As the results call S(K).
_ORDER = "structure_factor_K"


def moire_known_values(family: Family, material: Material) -> KnownValues | None:
    """Reference values of a family that varies the depth, meV per electron, or None.

    Exact diagonalisation is extrapolated to all bands, an estimate with its uncertainty, its terms good to about
    0.1 meV; its `upper_bound` is the variational value of the same calculation. Of six electrons the lowest level of
    each phase is known, liquid and crystal, and where the two cross; the lower one is the ground state. The number of
    electrons, the periodic cell, the material and φ must be those of the table.
    """
    table = json.loads(_DATA.read_text("utf-8"))
    cell, (up, down) = family.hamiltonian.supercell, family.hamiltonian.electrons
    names = tuple(coordinate.name for coordinate in family.coordinates)
    if cell is None or down or names != ("depth_meV",) or not _same_material(family, material, table["material"]):
        return None

    def of_this_system(case: dict[str, Any]) -> bool:
        return case["electrons"] == up and _same_cell(np.asarray(cell.index), case["cells"])

    levels = list(filter(of_this_system, table["exact"]["cases"]))
    mean_field = {case["depth_meV"]: case for case in filter(of_this_system, table["hartree_fock"]["cases"])}
    # The lowest of the levels at each depth.
    exact = {case["depth_meV"]: case for case in sorted(levels, key=lambda case: -case["estimate"])}
    depths = sorted({*exact, *mean_field})
    if not depths:
        return None

    def column(cases: dict[float, dict[str, Any]], key: str) -> np.ndarray:
        values = [cases[depth].get(key, np.nan) if depth in cases else np.nan for depth in depths]
        return np.array(values, np.float64)

    def branch(phase: str) -> KnownBranch:
        of = {case["depth_meV"]: case for case in levels if case.get("phase") == phase}
        (momentum,) = {case["momentum"] for case in of.values()}
        return KnownBranch(
            name=phase,
            exact=column(of, "estimate"),
            exact_error=column(of, "estimate_error"),
            upper_bound=column(of, "upper_bound"),
            values={name: column(of, name) for name in (*_TERMS, _ORDER)},
            momentum=momentum,
        )

    crossings = list(filter(of_this_system, table["exact"]["crossings"]))

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
        boundaries=tuple(np.array([[case["depth_meV"]]], np.float64) for case in crossings),
        boundary_errors=tuple(float(case["error"]) for case in crossings),
        branches=tuple(branch(phase) for phase in dict.fromkeys(case["phase"] for case in levels if "phase" in case)),
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
