import warnings
from collections import Counter
from collections.abc import Sequence

import equinox as eqx
import numpy as np
import scipy.fft
import scipy.sparse
from jaxtyping import Complex, Float, Int, PyTree

from ..hamiltonian import Hamiltonian
from ..lattice import Lattice
from ..orbitals import PlaneWaves, from_exponentials, to_exponentials
from ._functional import Functional
from ._orbital_set import OrbitalSet
from ._problem import hartree_fock_functional, plane_waves, primitive_lattice


class BlochOrbitals(eqx.Module):
    """The lowest non-interacting orbitals, each of definite crystal momentum.

    **Fields:**

    - `orbitals`: coefficients per spin.
    - `energies`: their energies per spin, Ha*, ascending.
    - `momenta`: k of each orbital per spin, inverse Bohr, in or on the edge of the primitive zone; a real
      orbital of a pair ±k (the cosine-like or the sine-like one) carries +k.
    """

    orbitals: OrbitalSet
    energies: tuple[Float[np.ndarray, " up"], Float[np.ndarray, " down"]]
    momenta: tuple[Float[np.ndarray, "up dim"], Float[np.ndarray, "down dim"]]


def momentum_steps(
    waves: PlaneWaves, primitive: Lattice | None, potential: Float[np.ndarray, "..."]
) -> Int[np.ndarray, "steps dim"]:
    """Wavevectors that a one-body potential and the primitive lattice supply, in units of the cell's reciprocal."""
    cell = waves.lattice
    strength = np.abs(np.asarray(scipy.fft.fftn(potential))) / potential.size
    strength.flat[0] = 0
    # Well above the leakage of a potential whose wavevectors are known in float32 only.
    present = np.argwhere(strength > max(1e-4 * strength.max(initial=0.0), 1e-10))
    shape = np.array(potential.shape)
    steps = [np.where(present > shape // 2, present - shape, present)]
    if primitive is not None:
        steps.append(np.round(primitive.reciprocal @ cell.matrix.T / (2 * np.pi)).astype(np.int64))
    return np.concatenate(steps)


def momentum_classes(
    waves: PlaneWaves, primitive: Lattice | None, potential: Float[np.ndarray, "..."]
) -> Int[np.ndarray, " basis"]:
    """A label of the crystal momentum of each e^{iG·r}, ordered 0, G₁, -G₁, ...

    Two plane waves share a momentum if they differ by reciprocal vectors of the primitive lattice, or by
    wavevectors that the one-body potential contains.
    """
    steps = momentum_steps(waves, primitive, potential)
    signed = waves.signed_integers
    # Room for one step in any direction without wrapping round.
    margin = np.abs(signed).max(axis=0, initial=0) + np.abs(steps).max(axis=0, initial=0)
    box = tuple(2 * margin + 1)
    index = np.full(int(np.prod(box)), -1)
    index[np.ravel_multi_index(tuple((signed + margin).T), box)] = np.arange(len(signed))
    rows, columns = [], []
    for step in steps:
        target = index[np.ravel_multi_index(tuple((signed + step + margin).T), box)]
        rows.append(np.flatnonzero(target >= 0))
        columns.append(target[target >= 0])
    i, j = np.concatenate(rows or [[]]).astype(int), np.concatenate(columns or [[]]).astype(int)
    graph = scipy.sparse.coo_array((np.ones(len(i)), (i, j)), shape=(len(signed), len(signed)))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def one_body_matrix(
    functional: Functional, members: Int[np.ndarray, " members"]
) -> Complex[np.ndarray, "members members"]:
    """⟨G| p/2 G² + V |G'⟩ between the plane waves with these positions in the order 0, G₁, -G₁, ..."""
    potential = functional.one_body_potential
    spectrum = np.asarray(scipy.fft.fftn(potential)) / potential.size
    integers = functional.grid.waves.signed_integers[members]
    difference = (integers[:, None] - integers[None]) % np.array(potential.shape)
    matrix = spectrum[tuple(np.moveaxis(difference, -1, 0))]
    kinetic = 0.5 * functional.prefactor * functional.grid.waves.squared_wavenumbers[members]
    return matrix + np.diag(kinetic)


def bloch_orbitals(
    hamiltonian: Hamiltonian,
    parameters: PyTree,
    *,
    cutoff: float | None = None,
    real: bool = True,
    electrons: tuple[int, int] | None = None,
    members: Sequence[int] | None = None,
    momenta: tuple[Int[np.ndarray, "up dim"], Int[np.ndarray, "down dim"]] | None = None,
) -> BlochOrbitals:
    """The lowest orbitals of the one-body Hamiltonian T + V (no interaction), of definite momentum, at zero
    twist.

    With `real` (time reversal), √2 Re u_k and √2 Im u_k stand for the pair u_k, u_{-k} = u_k*; an odd one
    out is a cosine. Its determinant is then the sum of the two of opposite momentum: the same energy, and
    still an eigenstate of the one-body problem.

    Where the last level is only partly filled (an open shell) the members are taken in the order of the
    plane waves, which depends on the cell alone, and a `UserWarning` names the degeneracy. Other choices may have lower
    energies: [`open_shell_fillings`][qernel.mean_field.open_shell_fillings] finds them.

    **Arguments:**

    - `cutoff`: largest wavevector, inverse Bohr; see `default_cutoff`.
    - `real`: real combinations, or one complex orbital for each momentum.
    - `electrons`: numbers of orbitals (up, down), if not the Hamiltonian's.
    - `members`: which members of the open shell of spin up to fill, counted from 0; no warning then.
    - `momenta`: in place of all of that the momentum of every orbital, the lowest bands of each, as a
      [`Filling`][qernel.mean_field.Filling] has them; no warning either.

    **Raises:** `ValueError` for members that do not fit the shell, or for momenta whose orbitals are not there, or
    whose state no real orbitals stand for.
    """
    waves = plane_waves(hamiltonian, cutoff)
    functional = hartree_fock_functional(hamiltonian, parameters, waves)
    counts = hamiltonian.electrons if electrons is None else electrons
    labels = momentum_classes(waves, primitive_lattice(hamiltonian), functional.one_body_potential)
    if momenta is not None:
        counts = tuple(map(len, momenta))
    energies, orbital_momenta, column = bloch_spectrum(functional, labels, max(counts), real)
    levels = levels_of(energies)
    order = np.lexsort((np.arange(len(energies)), levels))
    if len(order) < max(counts):
        raise ValueError(f"the cutoff leaves {len(order)} orbitals for {max(counts)} electrons of one spin: raise it")
    dtype = np.float64 if real else np.complex128
    chosen = [order[:n] for n in counts]
    if members is not None:
        shell = order[levels[order] == levels[order[counts[0] - 1]]]
        below = order[levels[order] < levels[shell[0]]]
        if len(members) != counts[0] - len(below) or len(set(members)) != len(members):
            raise ValueError(
                f"{counts[0]} electrons fill {counts[0] - len(below)} members of the shell, got members={list(members)}"
            )
        if not all(0 <= i < len(shell) for i in members):
            raise ValueError(f"the shell has members 0 to {len(shell) - 1}, got {list(members)}")
        chosen[0] = np.concatenate([below, shell[list(members)]])
    if momenta is not None:
        chosen = [order[np.isin(order, c)] for c in _of_momenta(momenta, orbital_momenta, labels, waves, real)]
    warned = [n for spin, n in enumerate(counts) if n and (spin or members is None)] if momenta is None else []
    for n in sorted(set(warned)):
        _warn_of_open_shell(levels[order], energies[order], n)
    up, down = (np.array([column(int(i)) for i in c], dtype=dtype).reshape(len(c), waves.size).T for c in chosen)
    return BlochOrbitals(
        OrbitalSet(waves, (up, down)),
        (energies[chosen[0]], energies[chosen[1]]),
        (orbital_momenta[chosen[0]], orbital_momenta[chosen[1]]),
    )


def bloch_spectrum(functional: Functional, labels: np.ndarray, count: int, real: bool):
    """Energies and momenta of the `count` lowest orbitals of each momentum, and a function of their number
    that returns the coefficients: in a large cell there are too many to keep."""
    waves = functional.grid.waves
    vectors = waves.signed_integers @ waves.lattice.reciprocal
    energies, momenta, origins = [], [], []
    # Positions 2j - 1 and 2j hold G_j and -G_j.
    partner = np.arange(waves.size)
    partner[1::2], partner[2::2] = partner[2::2].copy(), partner[1::2].copy()
    done = set()
    for first in range(waves.size):
        label, conjugate = int(labels[first]), int(labels[partner[first]])
        if label in done:
            continue
        done |= {label, conjugate}
        members = np.flatnonzero(labels == label)
        matrix = one_body_matrix(functional, members)
        paired = conjugate != label
        if not paired:
            # Closed under G -> -G: real in cosines and sines, which sit at the same positions.
            unit = np.zeros((waves.size, len(members)))
            unit[members, np.arange(len(members))] = 1
            turn = to_exponentials(unit)[members]
            matrix = np.real(turn.conj().T @ matrix @ turn)
        values, states = np.linalg.eigh(matrix)
        largest = states[np.abs(states).argmax(axis=0), np.arange(len(values))]
        states = states * (largest.conj() / np.abs(largest))
        for band in range(min(count, len(values))):
            for part in range(2 if paired else 1):
                energies.append(values[band])
                momenta.append(vectors[first] if real or part == 0 else -vectors[first])
                origins.append((members, states[:, band], part, paired))

    def column(number: int) -> np.ndarray:
        members, state, part, paired = origins[number]
        expanded = np.zeros((waves.size, 1), dtype=state.dtype)
        expanded[members, 0] = state
        if not paired:
            return expanded[:, 0]
        u = from_exponentials(expanded)[:, 0]
        if real:
            return np.sqrt(2) * (np.real(u) if part == 0 else np.imag(u))
        return u if part == 0 else u.conj()

    return np.array(energies), np.array(momenta), column


def _of_momenta(
    filled: tuple[Int[np.ndarray, "up dim"], Int[np.ndarray, "down dim"]],
    momenta: Float[np.ndarray, "orbitals dim"],
    labels: Int[np.ndarray, " basis"],
    waves: PlaneWaves,
    real: bool,
) -> list[Int[np.ndarray, " chosen"]]:
    """The numbers of the orbitals of each spin that fill these momenta, of each the lowest bands."""
    label_of = {tuple(n): int(label) for n, label in zip(waves.signed_integers.tolist(), labels, strict=True)}
    integers = np.round(momenta @ waves.lattice.matrix.T / (2 * np.pi)).astype(int)
    own = [label_of[tuple(n)] for n in integers.tolist()]
    # Real ones of a pair carry the momentum of one of the two.
    partner = [label_of[tuple(n)] for n in (-integers).tolist()]
    found, single = [], 0
    for spin in filled:
        missing = [n for n in np.asarray(spin).tolist() if tuple(n) not in label_of]
        if missing:
            raise ValueError(f"the momentum {missing[0]} is none of the plane waves: fold it, or raise the cutoff")
        wanted = Counter(label_of[tuple(n)] for n in np.asarray(spin).tolist())
        met, chosen = Counter(), []
        for number, (label, conjugate) in enumerate(zip(own, partner, strict=True)):
            band, sine = (met[label], False) if not real or label == conjugate else divmod(met[label], 2)
            met[label] += 1
            both = wanted[label] if not real else min(wanted[label], wanted[conjugate])
            one = wanted[label] if not real else max(wanted[label], wanted[conjugate])
            if band < both or (band < one and not sine):
                chosen.append(number)
                single += band >= both
        if len(chosen) != len(spin):
            raise ValueError(f"{len(spin)} momenta have {len(chosen)} orbitals: raise the cutoff")
        found.append(np.array(chosen, dtype=np.int64))
    if single > 1:
        raise ValueError(
            f"{single} of these momenta k are filled without -k, and real orbitals mix their signs: choose real=False"
        )
    return found


def levels_of(energies: Float[np.ndarray, " orbitals"]) -> Int[np.ndarray, " orbitals"]:
    """The number of the level of each energy, ascending from 0: degenerate ones share it."""
    order = np.argsort(energies, kind="stable")
    gaps = np.diff(energies[order]) > 1e-9 * max(float(np.ptp(energies[: len(order)])), 1e-300) + 1e-12
    levels = np.empty(len(order), dtype=np.int64)
    levels[order] = np.concatenate([[0], np.cumsum(gaps)])
    return levels


def _warn_of_open_shell(levels: np.ndarray, energies: np.ndarray, n: int) -> None:
    if n < len(levels) and levels[n] == levels[n - 1]:
        shell = np.flatnonzero(levels == levels[n])
        warnings.warn(
            f"open shell: {n} electrons of one spin fill {n - shell[0]} of {len(shell)} degenerate orbitals "
            f"at {energies[n]:.6g} Ha*; {shell[0]} or {shell[-1] + 1} electrons would close the shell. "
            "The first members of the star are taken.",
            stacklevel=3,
        )
