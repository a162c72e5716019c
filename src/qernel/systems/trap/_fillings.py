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
    """Lines (places, with one coordinate) of the box around a family where the ground state changes its filling."""
    names = [coordinate.name for coordinate in family.coordinates]
    frequencies = [name for name in names if name in FREQUENCIES]
    if not frequencies or len(names) > 2:
        return ()
    along = frequencies[-1]
    points = family.points
    low, high = points.min(axis=0), points.max(axis=0)
    column, axis = names.index(along), FREQUENCIES.index(along)
    fine = 1 if len(names) == 1 else 201
    line = np.repeat(low[None], fine, axis=0)
    if len(names) == 2:
        line[:, 1 - column] = np.linspace(low[1 - column], high[1 - column], fine)
    with jax.enable_x64(True):
        omega, kappa = point_values(family.at(line))
    found = []
    for first, second in itertools.combinations(fillings, 2):
        places = filling_boundary(first, second, omega, kappa, axis=axis)
        there = omega.copy()
        there[:, axis] = np.where(np.isfinite(places), places, 1.0)
        energies = np.stack([filling_energy(filling, there, kappa) for filling in fillings])
        pair = filling_energy(first, there, kappa)
        # Where a third filling lies lower, the two change places unseen.
        seen = np.isfinite(places) & (pair <= energies.min(axis=0) + 1e-9)
        seen &= (places >= low[column] - 1e-12) & (places <= high[column] + 1e-12)
        if seen.any():
            on = line[seen]
            on[:, column] = places[seen]
            found.append(on)
    return tuple(found)
