"""The fillings of a moiré liquid that compete, found once."""

import dataclasses
import functools
import warnings
from collections.abc import Mapping

import jax
import numpy as np

from qernel.mean_field import Filling, OpenShell, TooManyFillings, default_cutoff, open_shell_fillings
from qernel.orbitals import PlaneWaves

from ._family import moire_family
from ._material import Material
from ._sizes import cells_in


@dataclasses.dataclass(frozen=True, eq=False)
class Liquids:
    """The liquids of a family: the fillings of its last shell that come near the lowest Hartree-Fock energy.

    **Arguments:** `shell`: all fillings, at the depths `nodes` in meV, or None where they are not compared, in cells
    that are too large and shells that can be filled in too many ways: the first members are taken then, as
    [`bloch_orbitals`][qernel.mean_field.bloch_orbitals] does; `scale`: from Ha* to meV per electron.
    """

    shell: OpenShell | None
    nodes: tuple[float, ...]
    scale: float

    @functools.cached_property
    def named(self) -> dict[str, Filling | None]:
        """The fillings that are phases of matter: `liquid`, `liquid_2`, ..."""
        if self.shell is None:
            return {"liquid": None}
        names = (f"liquid_{number}" if number > 1 else "liquid" for number in range(1, len(self.shell.fillings) + 1))
        return dict(zip(names, self.shell.competing(), strict=False))

    @property
    def complex_names(self) -> tuple[str, ...]:
        """Names of the liquids of which no real orbitals are an eigenstate of the momentum."""
        return tuple(name for name, filling in self.named.items() if is_complex(filling))

    def about(self, number: int) -> str:
        """One of them in words."""
        text = "Bloch orbitals of the moiré potential"
        if self.shell is None:
            return text
        text = f"{text}, total momentum {_momentum(self.shell.fillings[number])}"
        if len(self.shell.fillings) == 1:
            return text
        here = self.shell.lowest() == number
        if not here.any():
            return f"{text}, close to the lowest Hartree-Fock energy of {len(self.shell.fillings)} fillings"
        where = _stretches(np.asarray(self.nodes), here)
        return f"{text}, the lowest Hartree-Fock energy of {len(self.shell.fillings)} fillings at {where} meV"

    def warn(self) -> None:
        """Say that the shell is open, and what is filled."""
        text = "" if self.shell is None else _of_shell(self.shell, self.named, self.scale)
        if text:
            warnings.warn(text, stacklevel=2)


def is_complex(filling: Filling | None) -> bool:
    """Whether the orbitals of a filling are complex; without one they are the first members of the shell, and real."""
    return filling is not None and not filling.real


def _of_shell(shell: OpenShell, named: Mapping[str, Filling | None], scale: float) -> str:
    """Sentences about the open shell; empty if it is closed."""
    shells = [(filled, size) for filled, size in shell.shells if filled < size]
    if not shells:
        return ""
    spins = " and ".join(f"{filled} of {size}" for filled, size in shells)
    each = "electrons of each spin" if len(shells) > 1 else "electrons of one spin"
    text = f"open shell: the last {each} fill {spins} degenerate orbitals, in {shell.count} ways"
    count = len(shell.fillings)
    if count == 1:
        return f"{text}, all of them equivalent by symmetry"
    gaps = (shell.energies - shell.energies.min(axis=0)) * scale
    phases = "; ".join(
        f"'{name}' of momentum {_momentum(filling)}, {_gap(gaps[number])}"
        for number, (name, filling) in enumerate(zip(named, shell.fillings, strict=False))
    )
    return (
        f"{text}, {count} of them inequivalent and up to {gaps.max():.2g} meV per electron apart in Hartree-Fock. "
        f"What competes: {phases}"
    )


def _momentum(filling: Filling) -> str:
    """(n1, n2) in units of the supercell's reciprocal vectors; ± if real orbitals stand for both."""
    if not filling.momentum.any():
        return "0"
    pair = f"({', '.join(map(str, filling.momentum.tolist()))})"
    return f"±{pair}" if filling.real else pair


def _gap(gaps: np.ndarray) -> str:
    low, high = float(gaps.min()), float(gaps.max())
    return f"{low:.2f} to {high:.2f} meV above the lowest" if high >= 0.005 else "the lowest"


def _stretches(nodes: np.ndarray, here: np.ndarray) -> str:
    """Nodes that are marked: `0 to 5 and 10`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], here, [False]]).astype(int)))
    spans = zip(nodes[edges[::2]], nodes[edges[1::2] - 1], strict=True)
    return " and ".join(f"{low:g}" if low == high else f"{low:g} to {high:g}" for low, high in spans)


# The orbitals of one spin in 225 cells, those of the largest preset, take two seconds, and the interactions of all of
# their plane waves 150 MB.
_MOST_CELLS = 256
# Depths at which fillings are compared: between two of them no energy changes by much.
_MOST_NODES = 25


@functools.lru_cache(maxsize=64)
def liquids(
    material: Material,
    index: tuple[tuple[int, int], tuple[int, int]],
    electrons: tuple[int, int],
    nodes: tuple[float, ...],
    phi_degrees: float,
) -> Liquids:
    """The liquids of a moiré family at these depths; once for each, as a configuration and its system both ask."""
    kept = np.unique(np.round(np.linspace(0, len(nodes) - 1, min(len(nodes), _MOST_NODES))).astype(int))
    nodes = tuple(nodes[i] for i in kept)
    scale = material.hartree_meV / sum(electrons)
    if cells_in(index) > _MOST_CELLS:
        return Liquids(None, nodes, scale)
    with jax.enable_x64(True):
        family = moire_family(material, index, electrons, nodes, phi_degrees=phi_degrees)
        members = [family.select(i) for i in range(family.size)]
        cell = family.hamiltonian.cell
        assert cell is not None
        if PlaneWaves(cell, default_cutoff(family.hamiltonian)).size < max(electrons):
            # More electrons than orbitals: the system says so.
            return Liquids(None, nodes, scale)
        try:
            shell = open_shell_fillings(family.hamiltonian, *members)
        except TooManyFillings:
            shell = None
    return Liquids(shell, nodes, scale)
