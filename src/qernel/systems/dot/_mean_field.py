"""Hartree-Fock of a dot: its orbitals along the family, and the fillings that compete."""

import functools
import warnings
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from qernel.mean_field import (
    ShellFilling,
    TrapBranch,
    TrapCoulomb,
    determinant_frequency,
    filled_shells,
    filling_repulsion,
    shell_fillings,
    trap_hartree_fock,
)
from qernel.orbitals import AbstractOrbitals, HarmonicOrbitals, TrapOrbitals, of_both_spins

from ._family import dot_frequency, dot_strength

# Shells of oscillator functions beyond those that are filled, fewer where these are more than so many: of six electrons
# in two dimensions Hartree-Fock is then 7e-5 of its energy above its limit at ω = 1.
_BEYOND, _BEYOND_MANY, _MANY = {2: 6, 3: 4}, {2: 4, 3: 3}, {2: 4, 3: 2}
# A factor of the coupling between two nodes, at most.
_RATIO = 1.35


class DotFrequency(eqx.Module):
    r"""Frequency Ω(λ) of the oscillator functions whose determinant has the lowest energy.

    Below that of the trap, since electrons that repel one another spread. See
    [`determinant_frequency`][qernel.mean_field.determinant_frequency].

    **Arguments:** `quanta`, Q, and `repulsion`, C, of the determinant at the frequency 1.
    """

    quanta: float = eqx.field(static=True)
    repulsion: float = eqx.field(static=True)

    def __call__(self, parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
        """Ω of one Hamiltonian."""
        return dot_frequency(parameters) * determinant_frequency(dot_coupling(parameters), self.quanta, self.repulsion)


class DotLength(eqx.Module):
    r"""Length in which a network sees the positions of a dot, $1/\sqrt{\Omega(\lambda)}$.

    **Arguments:** `frequency`: Ω(λ).
    """

    frequency: DotFrequency

    def __call__(self, parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
        """The length of one Hamiltonian."""
        return self.frequency(parameters) ** -0.5


def dot_coupling(parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
    r"""The coupling $S/\sqrt\omega$ of one Hamiltonian."""
    return dot_strength(parameters) * dot_frequency(parameters) ** -0.5


def log_coupling(parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
    """ln(1 + c) of the coupling, along which orbitals are interpolated."""
    return jnp.log1p(dot_coupling(parameters))


class DotBranches:
    """The inequivalent fillings of a dot over a range of couplings, each with its Hartree-Fock orbitals.

    **Arguments:** `electrons`; `dim`; `low`, `high`, the range of the coupling.
    """

    def __init__(self, electrons: tuple[int, int], dim: int, low: float, high: float):
        filled = filled_shells(max(electrons), dim)
        shells = filled + (_BEYOND if filled <= _MANY[dim] else _BEYOND_MANY)[dim]
        fillings = shell_fillings(electrons, dim, shells)
        self.coulomb = TrapCoulomb(fillings[0].levels)
        self.electrons, self.dim = electrons, dim
        count = max(2, int(np.ceil(np.log((1 + high) / (1 + low)) / np.log(_RATIO))) + 1) if high > low else 1
        self.nodes = np.expm1(np.linspace(np.log1p(low), np.log1p(high), count))
        # Those that a rotation carries into one another repel one another alike.
        alike: dict[float, ShellFilling] = {}
        for filling in fillings:
            alike.setdefault(round(filling_repulsion(filling, self.coulomb), 9), filling)
        names = _distinct([filling.name for filling in alike.values()])
        self.fillings = dict(zip(names, alike.values(), strict=True))

    @functools.cached_property
    def branches(self) -> dict[str, TrapBranch]:
        """Hartree-Fock of every filling at the nodes, of those that have a solution of their own at all of them.

        **Raises:** `RuntimeError` if none has.
        """
        found, failure = {}, None
        for name, filling in self.fillings.items():
            try:
                found[name] = trap_hartree_fock(filling, self.nodes, self.coulomb)
            except RuntimeError as error:
                failure = error
                warnings.warn(f"the filling {name} of the dot is left out: {error}", stacklevel=2)
        if not found and failure is not None:
            raise failure
        return found

    @property
    def lowest(self) -> tuple[str, ...]:
        """The fillings that have the lowest Hartree-Fock energy at one of the nodes, in the order of the nodes."""
        if len(self.fillings) == 1:
            return tuple(self.fillings)
        names = list(self.branches)
        energies = np.stack([self.branches[name].energy for name in names])
        return tuple(dict.fromkeys(names[i] for i in energies.argmin(axis=0)))

    def frequency(self, name: str) -> DotFrequency:
        """Ω(λ) of a filling."""
        filling = self.fillings[name]
        return DotFrequency(filling.quanta, filling_repulsion(filling, self.coulomb))

    def energies(self, name: str, couplings: Float[np.ndarray, " members"]) -> Float[np.ndarray, " members"]:
        """Hartree-Fock energies of a filling in units of ω, totals, at any couplings; NaN where one of them has no
        solution."""
        wanted = np.asarray(couplings, np.float64)
        # By way of the nodes: from far away the iteration may end in another solution.
        places = np.union1d(self.nodes, wanted)
        try:
            found = trap_hartree_fock(self.fillings[name], places, self.coulomb)
        except RuntimeError:
            # A value to compare with must not cost a measurement.
            return np.full(len(wanted), np.nan)
        return found.energy[np.searchsorted(places, wanted)]

    def orbitals(self, name: str, dtype: DTypeLike, solve: bool) -> AbstractOrbitals:
        """Hartree-Fock orbitals of a filling; with `solve` false zeros of their shapes."""
        functions = HarmonicOrbitals(self.fillings[name].levels, self.frequency(name))
        shape = (len(self.nodes), len(self.fillings[name].levels))
        tables = self.branches[name].coefficients if solve else [np.zeros((*shape, n)) for n in self.electrons]
        with jax.enable_x64(True):
            places = np.asarray(np.log1p(self.nodes))
            of_spins = [
                TrapOrbitals(functions, places, jnp.asarray(table, dtype), log_coupling)
                for table, n in zip(tables, self.electrons, strict=True)
                if n
            ]
        return of_both_spins(of_spins)


@functools.lru_cache(maxsize=4)
def dot_branches(electrons: tuple[int, int], dim: int, low: float, high: float) -> DotBranches:
    """The fillings of a dot, solved for once for a configuration, its system and its wavefunction."""
    return DotBranches(electrons, dim, low, high)


def _distinct(names: list[str]) -> list[str]:
    """Names with numbers where several are the same."""
    seen: dict[str, int] = {}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return found
