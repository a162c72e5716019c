"""Density, structure factor and observables of an evaluation, as labelled arrays."""

from typing import TYPE_CHECKING

import numpy as np

from qernel.hamiltonian import Family
from qernel.units import Units

from ._axes import rows_of
from ._evaluation import Evaluation

if TYPE_CHECKING:
    import xarray


def add_density(dataset: "xarray.Dataset", evaluation: Evaluation, family: Family, units: Units) -> "xarray.Dataset":
    """The density on fractional coordinates x, y (z), and the lattice vectors; none with open boundaries."""
    hamiltonian = family.hamiltonian
    cell = hamiltonian.cell
    if evaluation.density is None or evaluation.density_error is None or cell is None:
        return dataset
    axes = ("x", "y", "z")[: evaluation.density.ndim - 1]
    scale, unit = units.bohr**-cell.dim, f"electrons per {units.length}^{cell.dim}"
    if hamiltonian.primitive is not None:
        scale, unit = hamiltonian.primitive.volume, "electrons per primitive cell"
    text = {"units": unit, "long_name": "electron density on bins of the cell's fractional coordinates"}
    over = (rows_of(dataset), *axes)
    dataset["density"] = (over, evaluation.density * scale, text)
    dataset["density_error"] = (over, evaluation.density_error * scale, {"units": unit})
    centres = {
        axis: (axis, (np.arange(n) + 0.5) / n, {"units": "1", "long_name": f"fractional coordinate {axis}"})
        for axis, n in zip(axes, evaluation.density.shape[1:], strict=True)
    }
    dataset = dataset.assign_coords(centres)
    length = {"units": units.length}
    dataset["supercell"] = (("vector", "component"), cell.matrix * units.bohr, length)
    if hamiltonian.primitive is not None:
        dataset["primitive_lattice"] = (("vector", "component"), hamiltonian.primitive.matrix * units.bohr, length)
    return dataset


def add_structure_factor(dataset: "xarray.Dataset", evaluation: Evaluation, units: Units) -> "xarray.Dataset":
    """S(q) at the measured wave vectors, sorted by length."""
    if len(evaluation.wave_vectors) == 0:
        return dataset
    vectors = evaluation.wave_vectors
    order = np.lexsort((*vectors.T, np.round(np.linalg.norm(vectors, axis=1), 9)))
    text = {"units": "1", "long_name": "static structure factor <|rho_q|^2> / N"}
    over = (rows_of(dataset), "q")
    dataset["structure_factor"] = (over, evaluation.structure_factor[:, order], text)
    dataset["structure_factor_error"] = (over, evaluation.structure_factor_error[:, order], text)
    inverse = {"units": f"1/{units.length}"}
    dataset["wave_vector"] = (("q", "component"), vectors[order] / units.bohr + 0.0, inverse)
    return dataset


def add_observed(dataset: "xarray.Dataset", evaluation: Evaluation) -> "xarray.Dataset":
    """Quantities of the observables, with errors; grids become coordinates, of vectors the variable `NAME_vector`.

    A scalar is a column of tables: the attribute `observables` lists them.
    """
    if not evaluation.observed:
        return dataset
    scalars = []
    for name, first in evaluation.observed[0].items():
        of_rows = [quantities[name] for quantities in evaluation.observed]
        over = (rows_of(dataset), *first.dimensions)
        labels = {"units": first.unit, "long_name": first.text or name.replace("_", " ")}
        for suffix in ("", "_error"):
            values = np.stack([m.estimate.error if suffix else m.estimate.value for m in of_rows])
            dataset[name + suffix] = (over, values, labels | {"symbol": first.symbol or name.replace("_", " ")})
        for dimension, grid in first.grids.items():
            labels = {"units": grid.unit, "long_name": grid.text}
            if np.ndim(grid.values) == 1:
                dataset = dataset.assign_coords({dimension: (dimension, np.asarray(grid.values), labels)})
            else:
                dataset[f"{dimension}_vector"] = ((dimension, "component"), np.asarray(grid.values) + 0.0, labels)
        scalars += [name] * (not first.dimensions)
    dataset.attrs["observables"] = scalars
    return dataset
