"""Quantum dots: electrons that repel one another in a harmonic trap."""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.hamiltonian import Family
from qernel.systems import Phase, System
from qernel.units import EFFECTIVE_UNITS

from ._family import dot_couplings, dot_values
from ._known_values import dot_known_values
from ._mean_field import DotBranches, dot_branches
from ._observables import PairDensity, RadialDensity


def dot_system(family: Family) -> System:
    r"""Electrons in an isotropic quantum dot, a family of [`dot_family`][qernel.systems.dot.dot_family].

    Phases are fillings of the shells of the trap, each with Hartree-Fock orbitals along the family. A closed shell has
    one; of an open shell those that are inequivalent by symmetry, named by the angular momenta in it. Energies in
    effective Hartree, lengths in effective Bohr radii. Beside the standard observables the density along the radius,
    with the rings that electrons form where they repel one another strongly, and the density around an electron in a
    frame that turns with it.

    **Source:** S. M. Reimann and M. Manninen, Rev. Mod. Phys. 74, 1283 (2002).
    """
    branches = branches_of(family)
    fillings = {name: branches.fillings[name] for name in branches.branches}
    electrons, dim = family.hamiltonian.electrons, family.hamiltonian.dim
    omega, strength = dot_values(family)
    facts = []
    if np.ptp(omega) == 0:
        facts.append(("Trap frequency", f"ω = {omega[0]:g}"))
    if np.ptp(strength) == 0:
        facts.append(("Strength of the repulsion", f"S = {strength[0]:g}"))
    facts.append(("Fillings", "; ".join(filling.words for filling in fillings.values())))
    return System(
        "dot",
        family,
        EFFECTIVE_UNITS,
        phases=tuple(
            Phase(name, functools.partial(branches.orbitals, name), about=f"Hartree-Fock orbitals, {filling.words}")
            for name, filling in fillings.items()
        ),
        observables=(RadialDensity(_reach(branches)), PairDensity(_reach(branches))),
        known=functools.partial(dot_known_values, branches),
        walkers=functools.partial(_walkers, branches),
        span=_corners(family),
        words=(
            f"{electrons[0]} electrons with spin up and {electrons[1]} with spin down in a harmonic trap of {dim} "
            "dimensions, V = ½ ω² r², with the repulsion S/r between pairs."
        ),
        facts=tuple(facts),
    )


def _corners(family: Family) -> Family:
    """Members at the ends of the range of each coordinate."""
    points = family.points
    ends = [sorted({low, high}) for low, high in zip(points.min(0), points.max(0), strict=True)]
    with jax.enable_x64(True):
        return family.at(np.array(list(itertools.product(*ends))))


def _reach(branches: DotBranches) -> float:
    r"""A radius beyond which hardly any electron is, in lengths $1/\sqrt\omega$: that of the strongest coupling."""
    # The mean square radius, from the energy of the trap.
    trap = branches.branches[branches.lowest[-1]].trap[-1]
    return float(2.2 * np.sqrt(2 * trap / sum(branches.electrons)))


def branches_of(family: Family) -> DotBranches:
    """The fillings of a family's dot over the range of its couplings."""
    couplings = dot_couplings(family)
    hamiltonian = family.hamiltonian
    return dot_branches(hamiltonian.electrons, hamiltonian.dim, float(couplings.min()), float(couplings.max()))


def _walkers(
    branches: DotBranches, family: Family, walkers: int, phases: Sequence[str], key: PRNGKeyArray, dtype: DTypeLike
) -> Float[Array, "members walkers electrons dim"]:
    """Gaussian clouds as wide as the best determinant of oscillator functions at each member."""
    n, dim = family.hamiltonian.n_electrons, family.hamiltonian.dim
    widths = np.zeros(family.size)
    with jax.enable_x64(True):
        for row, name in enumerate(phases):
            chosen = name or branches.lowest[0]
            omega = branches.frequency(chosen)(family.select(row))
            widths[row] = np.sqrt(branches.fillings[chosen].quanta / (dim * n * float(omega)))
    # Drawn by NumPy: the programs of `jax.random` take longer to compile than all of this to run.
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).reshape(-1))
    drawn = random.standard_normal((family.size, walkers, n, dim))
    return jnp.asarray((widths[:, None, None, None] * drawn).astype(dtype))
