"""A system of two coordinates and open boundaries, as a user would write it: fermions in an anisotropic trap."""

import functools
from typing import Any

import numpy as np

from qernel.evaluation import KnownValues
from qernel.exact import ground_energy
from qernel.hamiltonian import Coordinate, Family, Hamiltonian, Harmonic, HarmonicPair, Kinetic
from qernel.layers import OpenEmbedding
from qernel.orbitals import HarmonicOrbitals, OpenPairJastrow
from qernel.sampling import initial_positions
from qernel.systems import Phase, SizedSection, System, SystemSection

OMEGA = Coordinate("omega_y", "omega_y", "1", "ω_y", r"\omega_y")
KAPPA = Coordinate("kappa", "kappa", "1", "κ", r"\kappa", linear=True)
# The first coordinates of a point at which the exact energy is called known.
KNOWN_OMEGA = 1.5


def omega_y(parameters):
    return parameters["omega_y"]


def kappa(parameters):
    return parameters["kappa"]


def orbitals_of(levels, dtype, solve):
    return HarmonicOrbitals(levels, (1.0, omega_y))


def walkers(family, count, phases, key, dtype):
    return initial_positions(family.hamiltonian, family.size, count, key=key, width=1.0, dtype=dtype)


def known(family: Family) -> KnownValues:
    """Closed forms, as if only those of one frequency had been published."""
    points, n = family.points, family.hamiltonian.n_electrons
    frequencies = np.stack([np.ones(len(points)), points[:, 0]], axis=1)
    exact = np.where(points[:, 0] == KNOWN_OMEGA, ground_energy(n, frequencies, points[:, 1]) / n, np.nan)
    missing = np.full(len(points), np.nan)
    return KnownValues(("omega_y", "kappa"), points, exact, 0 * missing, missing, missing, {}, "closed form")


class OpenTrapSection(SystemSection):
    name: str = "frozen trap"
    electrons: tuple[int, int] = (2, 0)
    points: tuple[tuple[float, float], ...] = ((1.5, 0.1), (2.5, 0.1), (1.5, 0.4))

    def system(self) -> System:
        terms = {"trap": Harmonic((1.0, omega_y)), "interaction": HarmonicPair(kappa)}
        hamiltonian = Hamiltonian(Kinetic(), terms, self.electrons, dim=2)
        family = Family.of(hamiltonian, {"omega_y": 1.5, "kappa": 0.1}, (OMEGA, KAPPA), self.points)
        fillings = {"along": ((0, 0), (1, 0)), "across": ((0, 0), (0, 1))}
        phases = tuple(Phase(n, functools.partial(orbitals_of, levels)) for n, levels in fillings.items())
        return System(self.name, family, phases=phases, known=known, walkers=walkers)

    def at(self, points: Any) -> "OpenTrapSection":
        return self.model_copy(update={"points": tuple(map(tuple, points))})

    def blocks(self, system: System, features: Any) -> dict[str, Any]:
        return {
            "embedding": OpenEmbedding(2, 1.0),
            "pair": functools.partial(OpenPairJastrow, dim=2, length=1.0) if features.pair_shells else None,
        }

    @property
    def references(self) -> tuple[str, ...]:
        return ("along",)

    @property
    def summary(self) -> str:
        return "2 fermions in a trap"


class SizedTrapSection(OpenTrapSection, SizedSection):
    """The same, as if it came in sizes."""

    @property
    def sizes(self) -> tuple[str, ...]:
        return ("2",)

    @property
    def size_label(self) -> str:
        return f"electrons-{sum(self.electrons)}"

    def resized(self, size: str) -> "SizedTrapSection":
        return self.model_copy(update={"electrons": (int(size), 0)})

    def feature_shells_for(self, other: SizedSection, shells: int, least: int) -> int:
        return least
