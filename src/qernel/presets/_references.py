"""Reference orbitals by name, on a fine grid of depths."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from qernel.hamiltonian import Family, moire_family
from qernel.mean_field import (
    OrbitalSet,
    crystal_branch,
    default_cutoff,
    gaussian_orbitals,
    gaussian_width,
    liquid_branch,
    orbital_branch,
    plane_waves,
    potential_depth,
)
from qernel.orbitals import AbstractOrbitals, InterpolatedOrbitals, PlaneWaves, SpinBlocks
from qernel.precision import precision
from qernel.units import Material

from ._config import Config, SystemConfig


def family_of(system: SystemConfig, material: Material, depths_meV: tuple[float, ...]) -> Family:
    """The family of a configuration at these depths."""
    return moire_family(material, system.supercell, system.electrons, depths_meV, phase_degrees=system.phase_degrees)


def reference_depths(config: Config) -> tuple[float, ...]:
    """Nodes of the interpolated reference orbitals: the range of depths in steps of about the chosen spacing."""
    low, high = config.system.depth_range
    if high == low:
        return (low,)
    count = max(2, int(np.ceil((high - low) / config.ansatz.reference_spacing_meV - 1e-9)) + 1)
    return tuple(np.linspace(low, high, count).tolist())


def reference_orbitals(
    name: str, config: Config, material: Material, sites: Float[np.ndarray, "electrons dim"] | None
) -> AbstractOrbitals:
    """One set of reference orbitals.

    `liquid`: Bloch orbitals of the moiré potential; `crystal`: Hartree-Fock orbitals of the crystal;
    `gaussians`: Gaussians on the crystal's sites, where Hartree-Fock takes too long; `plane_waves`: no potential
    at all.

    Without `sites` all coefficients are zero: the right shapes for a checkpoint to be read into, at no cost.
    """
    family = family_of(config.system, material, reference_depths(config))
    waves = plane_waves(family.hamiltonian, _cutoff(name, family))
    nodes = np.asarray(family.parameters.depth, np.float64)
    if sites is None:
        shapes = tuple((len(nodes), waves.size, n) for n in config.system.electrons)
        coefficients = tuple(np.zeros(shape) for shape in shapes)
    else:
        coefficients = _solve(name, family, sites)
    dtype = jnp.dtype(precision(config.training.precision).network)

    def interpolated(table: np.ndarray) -> AbstractOrbitals:
        return InterpolatedOrbitals(waves, nodes, jnp.asarray(table, dtype), potential_depth)

    up, down = coefficients
    if config.system.electrons[1] == 0:
        return interpolated(up)
    if config.system.electrons[0] == 0:
        return interpolated(down)
    return SpinBlocks(interpolated(up), interpolated(down))


def _cutoff(name: str, family: Family) -> float:
    if name != "plane_waves":
        return default_cutoff(family.hamiltonian)
    cell = family.hamiltonian.cell
    assert cell is not None
    # The smallest closed set of waves with enough functions.
    for vector in cell.reciprocal_vectors(default_cutoff(family.hamiltonian)):
        cutoff = float(np.linalg.norm(vector)) * (1 + 1e-9)
        if PlaneWaves(cell, cutoff).size >= max(family.hamiltonian.electrons):
            return cutoff
    return default_cutoff(family.hamiltonian)


def _solve(name: str, family: Family, sites: Float[np.ndarray, "electrons dim"]):
    if name == "liquid":
        return liquid_branch(family).coefficients
    if name == "crystal":
        return crystal_branch(family, sites=sites).coefficients
    if name == "gaussians":
        return orbital_branch(family, lambda parameters, _: _gaussians(family, parameters, sites)).coefficients
    waves = plane_waves(family.hamiltonian, _cutoff(name, family))
    unit = np.eye(waves.size)
    return tuple(np.repeat(unit[None, :, :n], family.size, axis=0) for n in family.hamiltonian.electrons)


def _gaussians(family: Family, parameters: Any, sites: Float[np.ndarray, "electrons dim"]) -> OrbitalSet:
    hamiltonian = family.hamiltonian
    waves, width = plane_waves(hamiltonian), gaussian_width(hamiltonian, parameters, sites)
    up = hamiltonian.electrons[0]
    return OrbitalSet(waves, (gaussian_orbitals(waves, sites[:up], width), gaussian_orbitals(waves, sites[up:], width)))
