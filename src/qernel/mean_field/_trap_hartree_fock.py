"""Hartree-Fock orbitals of electrons that repel one another in an isotropic trap."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ._trap_coulomb import TrapCoulomb
from ._trap_shells import ShellFilling

_ITERATIONS = 150
# Filled orbitals are lowered by so much, in units of ω, where the iteration does not settle without: they then move
# less in one step, and end at the same place.
_SHIFTS = (0.0, 1.0, 4.0, 16.0)
# Commutators of so many iterations are combined.
_HISTORY = 8


class TrapBranch(NamedTuple):
    r"""Hartree-Fock orbitals of one filling along the coupling $c = S/\sqrt\omega$ of a repulsion S/r in a trap.

    **Fields:**

    - `couplings`: ascending.
    - `frequencies`: Ω/ω of the oscillator functions, that of the best determinant of such functions:
      [`determinant_frequency`][qernel.mean_field.determinant_frequency].
    - `coefficients`: of the orbitals of each spin in the functions, aligned from coupling to coupling.
    - `kinetic`, `trap`, `interaction`: terms of the energy in units of ω, totals.
    """

    couplings: Float[np.ndarray, " couplings"]
    frequencies: Float[np.ndarray, " couplings"]
    coefficients: tuple[Float[np.ndarray, "couplings functions _"], Float[np.ndarray, "couplings functions _"]]
    kinetic: Float[np.ndarray, " couplings"]
    trap: Float[np.ndarray, " couplings"]
    interaction: Float[np.ndarray, " couplings"]

    @property
    def energy(self) -> Float[np.ndarray, " couplings"]:
        """The total energy in units of ω."""
        return self.kinetic + self.trap + self.interaction


def determinant_frequency(
    coupling: Float[Array, "*couplings"], quanta: float, repulsion: float
) -> Float[Array, "*couplings"]:
    r"""Ω/ω of the oscillator functions whose determinant has the lowest energy,

    $$ E(\Omega) = \frac Q2\Bigl(\Omega + \frac{\omega^2}\Omega\Bigr) + S\,C\sqrt\Omega , $$

    for a repulsion S/r of the coupling $c = S/\sqrt\omega \ge 0$: $\sqrt{\Omega/\omega}$ is the root of
    $Q s^4 + c\,C s^3 = Q$ between 0 and 1, here by Newton's method, which comes down to it from 1.

    **Arguments:** `quanta`, Q, the energy of the filling at Ω = 1 without repulsion; `repulsion`, C, its repulsion at
    Ω = 1.
    """
    slope = coupling * (repulsion / quanta)
    s = jnp.ones_like(slope)
    for _ in range(12):
        s = s - (s**4 + slope * s**3 - 1) / (4 * s**3 + 3 * slope * s**2)
    return s**2


def filling_repulsion(filling: ShellFilling, coulomb: TrapCoulomb) -> float:
    r"""$C = \langle\sum_{i<j} 1/r_{ij}\rangle$ in the determinant of a filling, at frequency 1."""
    return _repulsion(coulomb, [c @ c.T for c in filling.coefficients])


def trap_hartree_fock(
    filling: ShellFilling, couplings: Sequence[float] | Float[np.ndarray, " couplings"], coulomb: TrapCoulomb
) -> TrapBranch:
    """Unrestricted Hartree-Fock along the coupling, each solution from the one before it.

    Of every parity along the axes as many orbitals of each spin stay filled as the filling has, those that overlap most
    with the solution before, so that all are of one branch. An energy is good to the number of oscillator functions: to
    1e-4 of it for six electrons in eight shells up to a coupling of 3.

    **Arguments:** `couplings`, ascending, none negative; `coulomb`, integrals of the filling's functions.

    **Raises:** `ValueError` for couplings that do not ascend or are negative; `RuntimeError` where the iteration does
    not converge.
    """
    c = np.asarray(couplings, np.float64)
    if c.ndim != 1 or not len(c) or np.any(np.diff(c) <= 0) or c[0] < 0:
        raise ValueError(f"the couplings of a branch must ascend from 0 or more, got {c.tolist()}")
    repulsion = filling_repulsion(filling, coulomb)
    with jax.enable_x64(True):
        frequencies = np.asarray(determinant_frequency(jnp.asarray(c), filling.quanta, repulsion))
    square, momentum = _one_body(filling.levels)
    parities = np.unique(filling.levels % 2, axis=0, return_inverse=True)[1].ravel()
    orbitals, found = filling.coefficients, []
    for coupling, frequency in zip(c, frequencies, strict=True):
        one_body = frequency * momentum, square / frequency
        orbitals = _converged(orbitals, sum(one_body), coupling * np.sqrt(frequency), coulomb, parities)
        densities = [table @ table.T for table in orbitals]
        terms = [float(np.sum(matrix * sum(densities))) for matrix in one_body]
        terms.append(coupling * np.sqrt(frequency) * _repulsion(coulomb, densities))
        found.append((orbitals, terms))
    kinetic, trap, interaction = np.array([terms for _, terms in found]).T
    tables = tuple(np.stack([tables[spin] for tables, _ in found]) for spin in range(2))
    return TrapBranch(c, frequencies, (tables[0], tables[1]), kinetic, trap, interaction)


def _repulsion(coulomb, densities) -> float:
    hartree, _ = coulomb.fields(sum(densities))
    exchange = sum(np.sum(d * coulomb.fields(d)[1]) for d in densities)
    return float(0.5 * (np.sum(hartree * sum(densities)) - exchange))


def _one_body(levels: Int[np.ndarray, "functions dim"]):
    """Matrices of x²/2 and of p²/2, summed over the axes, at frequency 1."""
    square, momentum = np.zeros((2, len(levels), len(levels)))
    place = {tuple(level): number for number, level in enumerate(levels.tolist())}
    for level, a in place.items():
        square[a, a] = momentum[a, a] = (sum(level) + len(level) / 2) / 2
        for axis in range(len(level)):
            above = list(level)
            above[axis] += 2
            b = place.get(tuple(above))
            if b is not None:
                mixed = np.sqrt((level[axis] + 1) * (level[axis] + 2)) / 4
                square[a, b] = square[b, a] = mixed
                momentum[a, b] = momentum[b, a] = -mixed
    return square, momentum


def _converged(start, one_body, strength, coulomb, parities):
    """Orbitals of both spins, self-consistent, each as close as may be to those of the start."""
    for shift in _SHIFTS:
        found = _iterated(start, one_body, strength, coulomb, parities, shift)
        if found is not None:
            return tuple(_aligned(new, old) for new, old in zip(found, start, strict=True))
    raise RuntimeError(f"Hartree-Fock in a trap did not converge at the strength {strength:g}")


def _iterated(start, one_body, strength, coulomb, parities, shift):
    """Self-consistent orbitals by Pulay's iteration; None if it does not settle."""
    orbitals, fields, errors = start, [], []
    for _ in range(_ITERATIONS):
        densities = [table @ table.T for table in orbitals]
        hartree, _ = coulomb.fields(sum(densities))
        fock = np.stack([one_body + strength * (hartree - coulomb.fields(d)[1]) for d in densities])
        error = np.stack([f @ d - d @ f for f, d in zip(fock, densities, strict=True)])
        if np.max(np.abs(error)) < 1e-9 * max(1.0, np.max(np.abs(one_body))):
            return orbitals
        fields, errors = [*fields, fock][-_HISTORY:], [*errors, error][-_HISTORY:]
        mixed = _extrapolated(fields, errors) - shift * np.stack(densities)
        orbitals = tuple(_filled(f, old, parities) for f, old in zip(mixed, start, strict=True))
    return None


def _extrapolated(fields, errors):
    """The combination of Fock matrices whose commutators with the density are smallest (Pulay)."""
    count = len(errors)
    matrix = np.zeros((count + 1, count + 1))
    flat = np.stack([error.ravel() for error in errors])
    matrix[:count, :count] = flat @ flat.T
    matrix[:count, :count] /= max(matrix[0, 0], np.finfo(float).tiny)
    matrix[count, :count] = matrix[:count, count] = 1
    weights = np.linalg.lstsq(matrix, np.append(np.zeros(count), 1.0), rcond=1e-14)[0][:count]
    return np.tensordot(weights, np.stack(fields), 1)


def _filled(fock, old, parities):
    """The eigenvectors of each parity that overlap most with what was filled, as many as were filled.

    Not the lowest: where two of one parity change places, the iteration would go from one to the other and back.
    """
    columns = []
    for parity in np.unique(parities):
        members = np.flatnonzero(parities == parity)
        count = int(round(float(np.sum(old[members] ** 2))))
        vectors = np.linalg.eigh(fock[np.ix_(members, members)])[1]
        overlap = np.sum((vectors.T @ old[members]) ** 2, axis=1)
        table = np.zeros((len(fock), count))
        table[members] = vectors[:, np.argsort(-overlap, kind="stable")[:count]]
        columns.append(table)
    return np.concatenate(columns, axis=1)


def _aligned(new, old):
    """Orbitals of one span, rotated into one another as close to the old ones as may be."""
    left, _, right = np.linalg.svd(new.T @ old)
    return new @ (left @ right)
