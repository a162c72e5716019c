"""The system in words and numbers."""

from fractions import Fraction

import numpy as np

from qernel.systems.moire import Material

from ._axis import axis_of
from ._record import Record


def title(record: Record) -> str:
    """What the page is about."""
    axis = axis_of(record.dataset)
    span = axis.span(record.dataset[axis.key].values)
    return f"{_electrons(record)}{_place(record)}, {span}: variational ground states from one neural wavefunction"


def _electrons(record: Record) -> str:
    up, down = record.electrons
    if up + down == 1:
        return "One electron"
    if not (up and down):
        return f"{up + down} spin-polarised electrons"
    return f"{up + down} electrons ({up} up, {down} down)"


def _place(record: Record) -> str:
    if "moire_cells" not in record.dataset.attrs:
        return ""
    cells = int(record.dataset.attrs["moire_cells"])
    return f" in {cells} moiré cell{'s' if cells > 1 else ''}"


def words(record: Record) -> str:
    """The Hamiltonian in a sentence or two."""
    if record.moire:
        filling = Fraction(sum(record.electrons), int(record.dataset.attrs["moire_cells"]))
        return (
            f"{_electrons(record)} of effective mass m* in the moiré potential of a triangular lattice, at a filling "
            f"of {filling} electrons per moiré cell, repelling each other as e²/(4πε₀εᵣr)."
        )
    terms = ", ".join(name.replace("_", " ") for name in record.potentials)
    dimension = f" in {record.dataset['supercell'].shape[1]} dimensions" if "supercell" in record.dataset else ""
    return (
        f"{_electrons(record)}{dimension} with the potential energy {terms}, as named in the script that defined "
        "the Hamiltonian."
    )


def boundary(record: Record) -> str:
    """Boundary conditions in a sentence."""
    if "supercell" not in record.dataset:
        return "Open boundaries, or none recorded."
    if record.config is None:
        return (
            "Periodic cell; a phase across the boundary (twist) would be part of the wavefunction, and is not recorded."
        )
    return "Periodic cell, no twist: the wavefunction returns to itself where an electron crosses the boundary."


def facts(record: Record) -> list[tuple[str, str]]:
    """Numbers of the system: name and value."""
    dataset, axis = record.dataset, axis_of(record.dataset)
    x = dataset[axis.key].values
    found = [("Measured at", f"{x.size} value{'s' if x.size > 1 else ''}, {axis.span(x)}")]
    if record.config is not None:
        trained = np.array(record.config.system.depths_meV)
        found.append(("Trained at", f"{trained.size} value{'s' if trained.size > 1 else ''}, {axis.span(trained)}"))
    for key in ("phase_degrees", "effective_mass", "dielectric", "lattice_constant_nm"):
        if key in dataset.coords and key != axis.key:
            other = axis_of(dataset, key)
            text = other.span(dataset[key].values)
            found.append((other.name.capitalize(), text))
    names = [f"reference_{name}" for name in ("effective_mass", "dielectric", "lattice_constant_nm")]
    if all(name in dataset.attrs for name in names):
        material = Material(*(float(dataset.attrs[name]) for name in names))
        found.append(("Effective Bohr radius", f"a_B* = {material.bohr_nm:.6g} nm"))
        found.append(("Effective Hartree", f"Ha* = {material.hartree_meV:.6g} meV"))
        if "supercell" in dataset and dataset["supercell"].shape == (2, 2):
            area = abs(np.linalg.det(dataset["supercell"].values))
            r_s = np.sqrt(area / np.pi / sum(record.electrons)) / material.bohr_nm
            found.append(("Wigner-Seitz radius", f"r_s = {r_s:.3g}"))
    if "supercell" in dataset:
        unit = dataset["supercell"].attrs.get("units", "")
        vectors = ", ".join(f"({', '.join(f'{v:.4g}' for v in row)})" for row in dataset["supercell"].values + 0.0)
        found.append(("Vectors of the periodic cell", f"{vectors} {unit}"))
    if "supercell_index" in dataset.attrs:
        a, b, c, d = np.asarray(dataset.attrs["supercell_index"]).tolist()
        found.append(("In moiré lattice vectors", f"({a}, {b}), ({c}, {d})"))
    return found
