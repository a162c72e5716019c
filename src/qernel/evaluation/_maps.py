"""Density and structure factor of an evaluation, as labelled arrays."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from qernel.hamiltonian import Family
from qernel.systems.moire import Material

from ._evaluation import Evaluation
from qernel.observables import moire_lattice, moire_supercell, zone_corners

if TYPE_CHECKING:
    import xarray


def at_zone_corners(
    evaluation: Evaluation, family: Family
) -> tuple[Float[np.ndarray, " hamiltonians"], Float[np.ndarray, " hamiltonians"]]:
    """S(q) averaged over the corners K, K' of the first zone, and its error from the walkers' spread."""
    missing = np.full(evaluation.hamiltonians, np.nan)
    primitive = moire_lattice(family.hamiltonian)
    if primitive is None or len(evaluation.wave_vectors) == 0:
        return missing, missing
    corners = zone_corners(primitive)
    if len(corners) == 0:
        return missing, missing
    distance = np.linalg.norm(evaluation.wave_vectors[:, None] - corners, axis=-1)
    # Of a user's own wave vectors, those corners that are among them.
    columns = np.flatnonzero((distance < 1e-6 * np.linalg.norm(corners[0])).any(axis=1))
    if len(columns) == 0:
        return missing, missing
    of_walkers = evaluation.structure_factor_of_walkers[:, :, columns].mean(axis=-1)
    walkers = np.sum(np.isfinite(of_walkers), axis=1)
    mean = evaluation.structure_factor[:, columns].mean(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(np.nansum((of_walkers - mean[:, None]) ** 2, axis=1) / (walkers - 1) / walkers)
    return mean, np.where(walkers > 1, error, np.nan)


def add_density(
    dataset: "xarray.Dataset",
    evaluation: Evaluation,
    family: Family,
    material: Material | None,
    dimension: str,
) -> "xarray.Dataset":
    """The density on fractional coordinates x, y (z), and the lattice vectors; none with open boundaries."""
    cell = family.hamiltonian.cell
    if evaluation.density is None or evaluation.density_error is None or cell is None:
        return dataset
    moire = moire_supercell(family.hamiltonian)
    axes = ("x", "y", "z")[: evaluation.density.ndim - 1]
    scale, units = 1.0, "electrons per unit volume in effective Bohr radii"
    if moire is not None:
        scale, units = moire.primitive.volume, "electrons per moiré cell"
    text = {"units": units, "long_name": "electron density on bins of the cell's fractional coordinates"}
    dataset["density"] = ((dimension, *axes), evaluation.density * scale, text)
    dataset["density_error"] = ((dimension, *axes), evaluation.density_error * scale, {"units": units})
    centres = {
        axis: (axis, (np.arange(n) + 0.5) / n, {"units": "1", "long_name": f"fractional coordinate {axis}"})
        for axis, n in zip(axes, evaluation.density.shape[1:], strict=True)
    }
    dataset = dataset.assign_coords(centres)
    length, unit = (1.0, "effective Bohr radii") if material is None else (material.bohr_nm, "nm")
    rows = ("vector", "component")
    dataset["supercell"] = (rows, cell.matrix * length, {"units": unit})
    if moire is not None:
        dataset["moire_lattice"] = (rows, moire.primitive.matrix * length, {"units": unit})
    return dataset


def add_structure_factor(
    dataset: "xarray.Dataset", evaluation: Evaluation, material: Material | None, dimension: str
) -> "xarray.Dataset":
    """S(q) at the measured wave vectors, sorted by length."""
    if len(evaluation.wave_vectors) == 0:
        return dataset
    length, unit = (1.0, "inverse effective Bohr radii") if material is None else (material.bohr_nm, "1/nm")
    vectors = evaluation.wave_vectors
    order = np.lexsort((*vectors.T, np.round(np.linalg.norm(vectors, axis=1), 9)))
    text = {"units": "1", "long_name": "static structure factor <|rho_q|^2> / N"}
    dataset["structure_factor"] = ((dimension, "q"), evaluation.structure_factor[:, order], text)
    dataset["structure_factor_error"] = ((dimension, "q"), evaluation.structure_factor_error[:, order], text)
    dataset["wave_vector"] = (("q", "component"), vectors[order] / length + 0.0, {"units": unit})
    return dataset
