"""The shell fillings of a trap as phases of matter."""

import functools
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.exact import filling_boundary, filling_energy, filling_widths, ground_fillings
from qernel.hamiltonian import Family
from qernel.orbitals import HarmonicOrbitals
from qernel.systems import Phase

from ._family import FREQUENCIES, point_values, trap_frequencies

Filling = tuple[tuple[int, ...], ...]

# Points along each coordinate at which the fillings of a range are looked for.
_FINE = 25


def fillings_of(family: Family) -> tuple[Filling, ...]:
    """The fillings that are the ground state anywhere in the box around the members of a family."""
    points = family.points
    lines = [
        np.linspace(low, high, _FINE if high > low else 1)
        for low, high in zip(points.min(0), points.max(0), strict=True)
    ]
    grid = np.stack([x.ravel() for x in np.meshgrid(*lines, indexing="ij")], axis=1)
    with jax.enable_x64(True):
        omega, kappa = point_values(family.at(grid))
    return ground_fillings(family.hamiltonian.n_electrons, omega, kappa)


def filling_name(filling: Filling) -> str:
    """Name of a filling by the electrons in each row of levels along x: `filling_2_1` has two in the lowest, one
    above."""
    rows: dict[tuple[int, ...], int] = {}
    for level in sorted(filling, key=lambda n: n[::-1]):
        rows[level[1:]] = rows.get(level[1:], 0) + 1
    planes = itertools.groupby(rows, key=lambda rest: rest[1:])
    return "filling_" + "__".join("_".join(str(rows[row]) for row in plane) for _, plane in planes)


def phases_of_fillings(fillings: Sequence[Filling]) -> tuple[Phase, ...]:
    """A phase for every filling: eigenstates of one particle in the trap, with the frequencies of every λ."""
    return tuple(
        Phase(
            filling_name(filling),
            functools.partial(_orbitals, filling),
            about=f"oscillator levels {', '.join(''.join(map(str, level)) for level in filling)}",
        )
        for filling in fillings
    )


def _orbitals(filling: Filling, dtype: DTypeLike, solve: bool) -> HarmonicOrbitals:
    # They follow the parameters in closed form: there is nothing to solve for.
    del dtype, solve
    return HarmonicOrbitals(filling, trap_frequencies)


def walkers_of_fillings(
    fillings: Sequence[Filling],
    family: Family,
    walkers: int,
    phases: Sequence[str],
    key: PRNGKeyArray,
    dtype: DTypeLike,
) -> Float[Array, "members walkers electrons dim"]:
    """Gaussian clouds of the size of each filling at each member; of the first one where no phase is named."""
    named = {filling_name(filling): filling for filling in fillings}
    omega, kappa = point_values(family)
    of = lambda row, name: filling_widths(named.get(name, fillings[0]), omega[row], kappa[row])
    widths = np.stack([of(row, name) for row, name in enumerate(phases)])
    hamiltonian = family.hamiltonian
    # Drawn by NumPy: the programs of `jax.random` take longer to compile than all of this to run.
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).reshape(-1))
    drawn = random.standard_normal((family.size, walkers, hamiltonian.n_electrons, hamiltonian.dim))
    return jnp.asarray((widths[:, None, None] * drawn).astype(dtype))


def boundaries_of_fillings(
    fillings: Sequence[Filling], family: Family
) -> tuple[Float[np.ndarray, "_ coordinates"], ...]:
    """Lines in the box around a family where the ground state changes its filling, if two of its coordinates vary;
    places, if one does."""
    points = family.points
    low, high = points.min(axis=0), points.max(axis=0)
    names = [coordinate.name for coordinate in family.coordinates]
    varying = [column for column in range(len(names)) if high[column] > low[column]]
    if len(varying) not in (1, 2):
        return ()
    # Along a frequency the change is a closed form; of two coordinates one is a frequency.
    column = next((column for column in varying[::-1] if names[column] in FREQUENCIES), varying[0])
    found = []
    for first, second in itertools.combinations(fillings, 2):
        of_pair = _along_frequency if names[column] in FREQUENCIES else _along_strength
        places = of_pair(first, second, family, low, high, varying, column)
        inside = (places[:, column] >= low[column] - 1e-12) & (places[:, column] <= high[column] + 1e-12)
        if not inside.any():
            continue
        places = places[inside]
        with jax.enable_x64(True):
            omega, kappa = point_values(family.at(places))
        pair = filling_energy(first, omega, kappa)
        # Where a third filling lies lower, the two change places unseen.
        rest = [filling_energy(filling, omega, kappa) for filling in fillings if filling not in (first, second)]
        seen = np.all([pair <= energy + 1e-9 for energy in rest] or [pair == pair], axis=0)
        if seen.any():
            found.append(places[seen])
    return tuple(found)


def _along_frequency(first, second, family: Family, low, high, varying, column) -> Float[np.ndarray, "_ coordinates"]:
    """Points where two fillings have one energy: a frequency for each value of the other coordinate that varies."""
    line = np.repeat(low[None], 201 if len(varying) == 2 else 1, axis=0)
    for other in varying:
        if other != column:
            line[:, other] = np.linspace(low[other], high[other], len(line))
    axis = FREQUENCIES.index(family.coordinates[column].name)
    with jax.enable_x64(True):
        line[:, column] = filling_boundary(first, second, *point_values(family.at(line)), axis=axis)
    return line[np.isfinite(line[:, column])]


def _along_strength(first, second, family: Family, low, high, varying, column) -> Float[np.ndarray, "_ coordinates"]:
    """Points where two fillings have one energy: strengths of the interaction at the given frequencies."""
    from scipy.optimize import brentq

    with jax.enable_x64(True):
        omega, _ = point_values(family.at(low[None]))
    gap = lambda kappa: float(filling_energy(first, omega[0], kappa) - filling_energy(second, omega[0], kappa))
    fine = np.linspace(low[column], high[column], 201)
    signs = np.sign([gap(kappa) for kappa in fine])
    places = np.repeat(low[None], np.sum(signs[1:] != signs[:-1]), axis=0)
    for place, i in zip(places, np.flatnonzero(signs[1:] != signs[:-1]), strict=True):
        place[column] = brentq(gap, fine[i], fine[i + 1], xtol=1e-13)
    return places
