"""The system in words and numbers."""

import json

import numpy as np
from jaxtyping import Float

from qernel.evaluation import coordinates_of, positions_on, potentials_of, rows_of

from ._record import Record

_DIMENSIONS = {1: "one dimension", 2: "two dimensions", 3: "three dimensions"}


def title(record: Record) -> str:
    """What the page is about."""
    spans = ", ".join(axis.span(positions_on(record.lowest, axis)) for axis in record.axes)
    about = f"{_electrons(record)}{_place(record)}" + (f", {spans}" if spans else "")
    return f"{about}: variational ground states from one neural wavefunction"


def _electrons(record: Record) -> str:
    up, down = record.electrons
    if up + down == 1:
        return "One electron"
    if not (up and down):
        return f"{up + down} spin-polarised electrons"
    return f"{up + down} electrons ({up} up, {down} down)"


def _place(record: Record) -> str:
    attrs = record.dataset.attrs
    if "primitive_cells" in attrs:
        cells = int(attrs["primitive_cells"])
        return f" in {cells} primitive cell{'s' if cells > 1 else ''}"
    dimensions = int(attrs.get("dimensions", 0))
    return f" in {_DIMENSIONS[dimensions]}" if dimensions in _DIMENSIONS else ""


def words(record: Record) -> str:
    """The Hamiltonian in a sentence or two."""
    written = str(record.dataset.attrs.get("words", ""))
    if written:
        return written
    terms = ", ".join(term_words(record, name) for name in potentials_of(record.dataset))
    return (
        f"{_electrons(record)}{_place(record)} with the potential energy {terms}, as named in the script that defined "
        "the Hamiltonian."
    )


def term_words(record: Record, name: str) -> str:
    """A potential in words."""
    return str(record.dataset[name].attrs.get("long_name", name.replace("_", " ")))


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
    dataset, axes = record.lowest, record.axes
    spans = [axis.span(positions_on(dataset, axis)) for axis in axes]
    found = [("Electrons", _electrons(record)), ("Measured at", _at(dataset.sizes[rows_of(dataset)], spans))]
    trained = record.trained_points
    if trained is not None:
        names = [axis.name for axis in coordinates_of(dataset)]
        found.append(
            ("Trained at", _at(len(trained), [axis.span(trained[:, names.index(axis.name)]) for axis in axes]))
        )
    for axis in coordinates_of(dataset):
        if axis not in axes:
            found.append((_capital(axis.label), axis.span(positions_on(dataset, axis))))
    found += [(str(name), str(value)) for name, value in json.loads(str(dataset.attrs.get("facts") or "[]"))]
    if "supercell" in dataset:
        unit = dataset["supercell"].attrs.get("units", "")
        vectors = ", ".join(f"({_listed(row)})" for row in dataset["supercell"].values + 0.0)
        found.append(("Vectors of the periodic cell", f"{vectors} {unit}"))
    if "supercell_index" in dataset.attrs:
        index = np.atleast_1d(dataset.attrs["supercell_index"]).tolist()
        dim = round(len(index) ** 0.5)
        rows = [index[start : start + dim] for start in range(0, len(index), dim)]
        found.append(("In primitive lattice vectors", ", ".join(f"({', '.join(str(n) for n in row)})" for row in rows)))
    return found


def length_unit(record: Record) -> str:
    """Unit of lengths in the results, empty if nothing has one."""
    for name in ("supercell", "x", "r"):
        if name in record.dataset.variables and record.dataset[name].attrs.get("units", "1") != "1":
            return str(record.dataset[name].attrs["units"])
    return ""


def _at(number: int, spans: list[str]) -> str:
    return ", ".join([f"{number} point{'s' if number > 1 else ''}", *spans])


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(values: Float[np.ndarray, " n"]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
