"""Mean-field orbitals of a moiré family, on a fine grid of depths."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Float

from qernel.hamiltonian import Family
from qernel.mean_field import (
    Filling,
    OrbitalSet,
    crystal_branch,
    crystal_sites,
    default_cutoff,
    gaussian_orbitals,
    gaussian_width,
    liquid_branch,
    orbital_branch,
    plane_waves,
    potential_depth,
)
from qernel.orbitals import AbstractOrbitals, InterpolatedOrbitals, PlaneWaves, of_both_spins
from qernel.systems import Phase

from ._liquids import Liquids, is_complex


class MoireOrbitals:
    """The sets of orbitals of a moiré family, each solved for when it is asked for; the crystal's sites found once.

    - `liquid`: Bloch orbitals of the moiré potential, of an open shell those of the best filling; `liquid_2` and so on,
      of fillings that compete with it; `crystal`: Hartree-Fock orbitals of the crystal; `gaussians`: Gaussians on the
      crystal's sites, where Hartree-Fock takes too long; `plane_waves`: no potential at all.

    **Arguments:** `family`, at any depths: the crystal sits on the sites that are best at the last; `nodes`, the
    depths in meV at which orbitals are solved for and between which they are interpolated; `liquids`, the fillings of
    the liquid at these depths.
    """

    def __init__(self, family: Family, nodes: tuple[float, ...], liquids: Liquids):
        self._family = family
        self._nodes = nodes
        self._liquids = liquids

    @property
    def phases(self) -> tuple[Phase, ...]:
        """All sets as phases of matter: further liquids last, so that numbers and colours of the others stay."""
        of = lambda name: functools.partial(self._of, name)
        # A table of coefficients at every node: what is solved for in between is smaller.
        functions = max(available_orbitals(self._family), 1) * self._family.hamiltonian.n_electrons
        table = 8 * len(self._nodes) * functions
        first, *further = [
            Phase(
                name,
                of(name),
                about=self._liquids.about(number),
                memory=2 * table if is_complex(filling) else table,
                complex=is_complex(filling),
                momentum=None if filling is None else tuple(filling.momentum.tolist()),
            )
            for number, (name, filling) in enumerate(self._liquids.named.items())
        ]
        return (
            first,
            Phase("crystal", of("crystal"), about="Hartree-Fock orbitals of the crystal", memory=table),
            Phase("gaussians", of("gaussians"), "crystal", "Gaussians on the crystal's sites", table),
            Phase("plane_waves", of("plane_waves"), "liquid", "plane waves", 0, first.complex, first.momentum),
            *further,
        )

    @functools.cached_property
    def sites(self) -> Float[np.ndarray, "electrons dim"]:
        """Sites of the crystal, one for each electron."""
        with jax.enable_x64(True):
            return crystal_sites(self._family.hamiltonian, self._family.select(-1))

    def _of(self, name: str, dtype: DTypeLike, solve: bool) -> AbstractOrbitals:
        with jax.enable_x64(True):
            # A run at one depth has one node: its own.
            family = self._family.at({"depth_meV": self._nodes})
            electrons = family.hamiltonian.electrons
            waves = plane_waves(family.hamiltonian, _cutoff(name, family))
            nodes = np.asarray(family.parameters.depth, np.float64)
            filling = self._liquids.named.get("liquid" if name == "plane_waves" else name)
            if is_complex(filling):
                dtype = np.result_type(jnp.dtype(dtype), np.complex64)
            if solve and name in self._liquids.named:
                self._liquids.warn()
            tables = (
                self._solve(name, family, filling)
                if solve
                else tuple(np.zeros((len(nodes), waves.size, n)) for n in electrons)
            )
            occupied = [jnp.asarray(table, dtype) for table, n in zip(tables, electrons, strict=True) if n]
            of_spins = [InterpolatedOrbitals(waves, nodes, table, potential_depth) for table in occupied]
        return of_both_spins(of_spins)

    def _solve(self, name: str, family: Family, filling: Filling | None) -> Sequence[np.ndarray]:
        if name == "crystal":
            return crystal_branch(family, sites=self.sites).coefficients
        if name == "gaussians":
            return orbital_branch(family, lambda p, _: _gaussians(family, p, self.sites)).coefficients
        if name != "plane_waves":
            return liquid_branch(family, filling=filling).coefficients
        cutoff = _cutoff(name, family)
        if is_complex(filling):
            # Without a potential the Bloch orbitals are plane waves.
            flat = family.at({"depth_meV": [0.0]})
            tables = liquid_branch(flat, filling=filling, cutoff=cutoff).coefficients
            return tuple(np.repeat(table, family.size, axis=0) for table in tables)
        unit = np.eye(plane_waves(family.hamiltonian, cutoff).size)
        return tuple(np.repeat(unit[None, :, :n], family.size, axis=0) for n in family.hamiltonian.electrons)


def orbital_nodes(low: float, high: float, spacing: float) -> tuple[float, ...]:
    """Depths from `low` to `high` in steps of about `spacing`."""
    if high == low:
        return (low,)
    return tuple(np.linspace(low, high, max(2, int(np.ceil((high - low) / spacing - 1e-9)) + 1)).tolist())


def available_orbitals(family: Family) -> int:
    """Number of electrons of one spin for which the basis has orbitals."""
    cell = family.hamiltonian.cell
    assert cell is not None
    return PlaneWaves(cell, default_cutoff(family.hamiltonian)).size


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


def _gaussians(family: Family, parameters: Any, sites: Float[np.ndarray, "electrons dim"]) -> OrbitalSet:
    hamiltonian = family.hamiltonian
    waves, width = plane_waves(hamiltonian), gaussian_width(hamiltonian, parameters, sites)
    up = hamiltonian.electrons[0]
    return OrbitalSet(waves, (gaussian_orbitals(waves, sites[:up], width), gaussian_orbitals(waves, sites[up:], width)))
