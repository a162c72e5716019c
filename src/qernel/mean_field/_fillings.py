"""The ways to fill an open shell that no symmetry carries into one another, in the order of their energies."""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, PyTree

from ..hamiltonian import Hamiltonian
from ..orbitals import PlaneWaves
from ._bloch import bloch_spectrum, levels_of, momentum_classes
from ._functional import Functional
from ._momentum_blocks import MomentumBlocks
from ._problem import hartree_fock_functional, plane_waves, primitive_lattice
from ._space_group import kept_rotations

# More ways than these are not compared one by one: 12 electrons in shells of 24 orbitals have 2.7 million. Those of two
# spins are combined by one operation on arrays, and 6 in each of two shells of 12 have 850,000.
MOST_FILLINGS = 1_000_000
# Of the default cutoff: differences between fillings converge faster than energies.
_NARROW = 0.8
# Of the exchange energy of an electron, which is all that fillings differ by without a potential. The correlation
# energies of the liquids of 24 electrons in 6 x 6 moiré cells differ by about as much, 0.15 meV per electron, and so
# Hartree-Fock cannot tell which of two so close is the lower one.
_MARGIN = 0.003


class TooManyFillings(ValueError):
    """A shell that can be filled in more ways than are compared."""


@dataclasses.dataclass(frozen=True, eq=False)
class Filling:
    r"""One determinant of orbitals of definite crystal momentum, of each momentum the lowest bands.

    **Fields:**

    - `momenta`: crystal momentum of every orbital of spin up and of spin down, in units of the supercell's reciprocal
      vectors; a momentum stands there once for each of its bands.
    - `momentum`: their sum, in the first Brillouin zone of the primitive lattice, in the same units.
    - `degeneracy`: number of fillings that the symmetries carry into one another, this one among them.
    - `energies`: Hartree-Fock energy at each Hamiltonian, Ha*, total; `relaxed`, where it is self-consistent. Elsewhere
      it is that of the orbitals which are self-consistent with the shell filled evenly, an upper bound of it.
    - `real`: whether real orbitals stand for it: those of a pair ±k have a real and an imaginary part, and of a single
      k the real part makes a state of momenta ±K with the same energy. Those of two single ones do not: their product
      mixes other momenta, of other energies.
    """

    momenta: tuple[Int[np.ndarray, "up dim"], Int[np.ndarray, "down dim"]]
    momentum: Int[np.ndarray, " dim"]
    degeneracy: int
    energies: Float[np.ndarray, " hamiltonians"]
    relaxed: Bool[np.ndarray, " hamiltonians"]
    real: bool


@dataclasses.dataclass(frozen=True, eq=False)
class OpenShell:
    """The fillings of the lowest non-interacting orbitals of one or several Hamiltonians.

    **Fields:**

    - `fillings`: those that no symmetry carries into one another. First those that have the lowest energy at one of the
      Hamiltonians, in the order of these; then the others, by how near they come to the lowest on the average.
    - `count`: number of all fillings.
    - `shells`: electrons in the last shell of each spin and orbitals there, at the first Hamiltonian.
    - `margin`: energies closer than this, in Ha*, total, at each Hamiltonian, are too close for Hartree-Fock to tell
      which is the lower one.
    """

    fillings: tuple[Filling, ...]
    count: int
    shells: tuple[tuple[int, int], tuple[int, int]]
    margin: Float[np.ndarray, " hamiltonians"]

    @property
    def energies(self) -> Float[np.ndarray, "fillings hamiltonians"]:
        """Those of all fillings."""
        return np.array([filling.energies for filling in self.fillings])

    def lowest(self) -> Int[np.ndarray, " hamiltonians"]:
        """Number of the filling with the lowest energy at each Hamiltonian."""
        return _gaps(self.energies, self.margin).argmin(axis=0)

    def competing(self, most: int = 3) -> tuple[Filling, ...]:
        """The fillings that are lowest at one of the Hamiltonians or, on the average of them, within the margin of the
        lowest: `most` at most.

        On the average, because each of them costs a run as much as another phase of matter: two that meet at the end of
        a range only do not compete over it.
        """
        if len(self.fillings) == 1:
            return self.fillings
        # In units of the margin, which grows with the potential.
        close = _gaps(self.energies, self.margin).mean(axis=1) <= 1
        close[self.lowest()] = True
        return tuple(filling for filling, near in zip(self.fillings, close, strict=True) if near)[:most]


def open_shell_fillings(hamiltonian: Hamiltonian, *parameters: PyTree, cutoff: float | None = None) -> OpenShell:
    """The fillings of an open shell, inequivalent by symmetry, in the order of their Hartree-Fock energies.

    The orbitals are those of [`bloch_orbitals`][qernel.mean_field.bloch_orbitals], and what is filled is of definite
    momentum: a translation changes its phase only. Rotations and reflections that keep the cell and the potentials of
    all Hamiltonians, time reversal and, of equally many electrons of both spins, the exchange of the spins carry
    fillings into others of the same energies; one of each such set is returned, the one that takes the first members
    of the shell. Where shells differ between the Hamiltonians, so do the fillings, and each is there that one of the
    Hamiltonians has.

    Energies are worked out with the orbitals that are self-consistent with a shell filled evenly, and self-consistently
    for those that come near the lowest; there is nothing to work out where all are equivalent, and the energies are NaN
    then.

    **Arguments:**

    - `parameters`: of one Hamiltonian, or of several.
    - `cutoff`: largest wavevector of the energies, inverse Bohr, 0.8 of the `default_cutoff` by default: differences of
      energies are then good to 1e-3 meV per electron for the default moiré material.

    **Raises:** `ValueError` for open boundaries or for no parameters; `TooManyFillings`, which is one, for more than a
    million fillings.
    """
    if not parameters:
        raise ValueError("fillings need the parameters of at least one Hamiltonian")
    waves = plane_waves(hamiltonian)
    shells = _Shells(hamiltonian, [hartree_fock_functional(hamiltonian, member, waves) for member in parameters], waves)
    chosen, weights = shells.inequivalent()
    energies = np.full((len(chosen), len(parameters)), np.nan)
    relaxed, margin = np.zeros(energies.shape, bool), np.zeros(len(parameters))
    if len(chosen) > 1:
        narrow = plane_waves(hamiltonian, _NARROW * waves.cutoff if cutoff is None else cutoff)
        for i, member in enumerate(parameters):
            functional = hartree_fock_functional(hamiltonian, member, narrow)
            energies[:, i], relaxed[:, i], margin[i] = _ranked(shells, functional, i, chosen)
    order = _order(energies, margin)
    fillings = tuple(shells.filling(chosen[i], int(weights[i]), energies[i], relaxed[i]) for i in order)
    return OpenShell(fillings, int(weights.sum()), shells.first, margin)


def _gaps(
    energies: Float[np.ndarray, "fillings hamiltonians"], margin: Float[np.ndarray, " hamiltonians"]
) -> Float[np.ndarray, "fillings hamiltonians"]:
    """Energies above the lowest, in margins. Equal ones of inequivalent fillings must not change places by rounding, or
    by what the descent leaves: the order is part of a run."""
    return np.round((energies - energies.min(axis=0)) / margin, 4)


def _order(
    energies: Float[np.ndarray, "fillings hamiltonians"], margin: Float[np.ndarray, " hamiltonians"]
) -> list[int]:
    """Those that are lowest somewhere, in the order of the places; then the others, by how near they come to it."""
    if len(energies) == 1:
        return [0]
    gaps = _gaps(energies, margin)
    first = dict.fromkeys(int(i) for i in gaps.argmin(axis=0))
    nearest = np.argsort(np.round(gaps.mean(axis=1), 4), kind="stable")
    return [*first, *(int(i) for i in nearest if int(i) not in first)]


class _Shells:
    """The orbitals that fillings differ in, those that all of them fill, and what the symmetries make of them.

    - `integers`: the shortest wave of each momentum.
    - `base`: how many bands of each momentum, of each spin, are always filled.
    - `places`: (spin, momentum, band) of each orbital that fillings differ in.
    - `first`: at the first Hamiltonian, electrons in the last shell of each spin, and orbitals there.
    """

    def __init__(self, hamiltonian: Hamiltonian, functionals: Sequence[Functional], waves: PlaneWaves):
        self.hamiltonian, self.waves = hamiltonian, waves
        self.integers, class_of = _momenta(hamiltonian, functionals, waves)
        self._momentum = {tuple(n): int(k) for n, k in zip(waves.signed_integers.tolist(), class_of, strict=True)}
        counts = [_shells_of(hamiltonian, f, class_of, self._momentum) for f in functionals]
        # Of each Hamiltonian and spin: bands of every momentum that are filled for certain, and those that may be.
        self._certain = np.array([[spin[0] for spin in one] for one in counts])
        self._possible = np.array([[spin[1] for spin in one] for one in counts])
        self.base, depth = self._certain.min(axis=0), self._possible.max(axis=0)
        self.bands = int(depth.max())
        self.places = [
            (spin, k, band)
            for spin in range(2)
            for k in range(len(self.integers))
            for band in range(self.base[spin, k], depth[spin, k])
        ]
        up, down = (
            (int(n - low.sum()), int((high - low).sum()))
            for n, low, high in zip(hamiltonian.electrons, self._certain[0], self._possible[0], strict=True)
        )
        self.first = up, down
        self._kept = _kept_by_all(functionals)

    def momenta_of(self, integers: Int[np.ndarray, "waves dim"]) -> Int[np.ndarray, " waves"]:
        """Number of the momentum of each wave."""
        return np.array([self._momentum[tuple(n)] for n in integers.tolist()])

    def averages(self, i: int) -> list[Float[np.ndarray, "momenta bands"]]:
        """Electrons of every orbital, of each spin, with the last shell of one Hamiltonian filled evenly."""
        found = []
        for spin, n in enumerate(self.hamiltonian.electrons):
            low, high = self._certain[i, spin], self._possible[i, spin]
            share = (n - low.sum()) / max((high - low).sum(), 1)
            bands = np.arange(self.bands)
            found.append(np.where(bands < low[:, None], 1.0, np.where(bands < high[:, None], share, 0.0)))
        return found

    def occupations(self, chosen: Bool[np.ndarray, " places"]) -> list[Float[np.ndarray, "momenta bands"]]:
        """Electrons of every orbital, of each spin, in one filling."""
        found = [np.where(np.arange(self.bands) < base[:, None], 1.0, 0.0) for base in self.base]
        for (spin, k, band), filled in zip(self.places, chosen, strict=True):
            found[spin][k, band] = float(filled)
        return found

    def inequivalent(self) -> tuple[Bool[np.ndarray, "fillings places"], Int[np.ndarray, " fillings"]]:
        """One of each set of equivalent fillings, and how many there are in each."""
        every = np.unique(np.concatenate([self._fillings(i) for i in range(len(self._certain))]), axis=0)
        if not self.places:
            return every[:1], np.ones(1, np.int64)
        # As words, in which the first places count most: the largest of a set takes the first members of the shell.
        own = _words(every)
        largest = own
        for images in self._images():
            moved = _words(every[:, images])
            largest = np.where(moved > largest, moved, largest)
        _, which, sizes = np.unique(largest, return_inverse=True, return_counts=True)
        kept = np.flatnonzero(own == largest)[::-1]
        return every[kept], sizes[which.ravel()[kept]]

    def _fillings(self, i: int) -> Bool[np.ndarray, "fillings places"]:
        """All ways to fill the last shells of one Hamiltonian."""
        of_spins = []
        for spin, n in enumerate(self.hamiltonian.electrons):
            low, high = self._certain[i, spin], self._possible[i, spin]
            own = [(j, k, band) for j, (s, k, band) in enumerate(self.places) if s == spin]
            always = [j for j, k, band in own if band < low[k]]
            open_ones = [(j, k, band) for j, k, band in own if low[k] <= band < high[k]]
            filled = int(n - low.sum())
            self._check(math.comb(len(open_ones), filled) * max((len(f) for f in of_spins), default=1))
            rows = []
            for chosen in itertools.combinations(range(len(open_ones)), filled):
                # Of one momentum the lower band first.
                taken = {open_ones[c][1:] for c in chosen}
                if all(band == low[k] or (k, band - 1) in taken for k, band in taken):
                    row = np.zeros(len(self.places), bool)
                    row[[*always, *(open_ones[c][0] for c in chosen)]] = True
                    rows.append(row)
            of_spins.append(np.array(rows).reshape(len(rows), len(self.places)))
        up, down = of_spins
        self._check(len(up) * len(down))
        return (up[:, None] | down[None]).reshape(len(up) * len(down), len(self.places))

    @staticmethod
    def _check(count: int) -> None:
        if count > MOST_FILLINGS:
            raise TooManyFillings(
                f"the last shell can be filled in {count:,} ways, and at most {MOST_FILLINGS:,} are compared"
            )

    def _images(self) -> list[Int[np.ndarray, " places"]]:
        """Which place every symmetry takes each place from."""
        number = {place: j for j, place in enumerate(self.places)}
        found = []
        swaps = (False, True) if len(set(self.hamiltonian.electrons)) == 1 else (False,)
        for m, reversal, swap in itertools.product(self._kept, (1, -1), swaps):
            to = self.momenta_of(reversal * self.integers @ m).tolist()
            images = [number.get((1 - s if swap else s, to[k], band)) for s, k, band in self.places]
            # A level that rounding has split is not carried into itself; then fewer fillings are known to be equal.
            if None not in images:
                found.append(np.array(images))
        return found

    def filling(self, chosen, degeneracy: int, energies, relaxed) -> Filling:
        """In the user's terms."""
        counts = [n.sum(axis=1).astype(int) for n in self.occupations(chosen)]
        up, down = (np.repeat(self.integers, n, axis=0) for n in counts)
        reverse = self.momenta_of(-self.integers)
        # Every pair ±k is met twice.
        single = sum(int(np.abs(n - n[reverse]).sum()) // 2 for n in counts)
        total = _folded(self.hamiltonian, np.concatenate([up, down]).sum(axis=0))
        return Filling((up, down), total, degeneracy, energies, relaxed, single <= 1)


def _words(marked: Bool[np.ndarray, "fillings places"]) -> np.ndarray:
    """Each row as one word, which compare as the rows do."""
    packed = np.packbits(marked, axis=1)
    return np.ascontiguousarray(packed).view(f"S{packed.shape[1]}").ravel()


def _momenta(hamiltonian: Hamiltonian, functionals: Sequence[Functional], waves: PlaneWaves):
    """Shortest wave of every momentum, in the order of the plane waves, and the momentum of every wave. Two momenta
    that one of the Hamiltonians mixes are one."""
    spectra = [np.abs(np.fft.fftn(f.one_body_potential)) for f in functionals]
    labels = momentum_classes(waves, primitive_lattice(hamiltonian), np.real(np.fft.ifftn(sum(spectra))))
    _, firsts = np.unique(labels, return_index=True)
    firsts = np.sort(firsts)
    number = {int(labels[first]): k for k, first in enumerate(firsts)}
    class_of = np.array([number[int(label)] for label in labels])
    return waves.signed_integers[firsts], class_of


def _shells_of(hamiltonian: Hamiltonian, functional: Functional, class_of: np.ndarray, lookup: dict):
    """Of each spin: how many bands of every momentum are filled for certain, and how many may be."""
    count, waves = max(hamiltonian.electrons), functional.grid.waves
    energies, momenta, _ = bloch_spectrum(functional, class_of, count, real=False)
    if len(energies) < count:
        raise ValueError(f"the cutoff leaves {len(energies)} orbitals for {count} electrons of one spin")
    levels = levels_of(energies)
    ordered = np.sort(levels)
    integers = np.round(momenta @ waves.lattice.matrix.T / (2 * np.pi)).astype(int)
    own = np.array([lookup[tuple(n)] for n in integers.tolist()])
    bands = lambda marked: np.bincount(own[marked], minlength=class_of.max() + 1)
    found = []
    for n in hamiltonian.electrons:
        last = ordered[n - 1] if n else -1
        closed = not n or n == len(ordered) or ordered[n] > last
        possible = bands(levels <= last)
        found.append((possible if closed else bands(levels < last), possible))
    return found


def _kept_by_all(functionals: Sequence[Functional]) -> Int[np.ndarray, "rotations dim dim"]:
    rotations = kept_rotations(functionals[0])
    for functional in functionals[1:]:
        own = {m.tobytes() for m in kept_rotations(functional)}
        rotations = rotations[[m.tobytes() in own for m in rotations]]
    return rotations


def _folded(hamiltonian: Hamiltonian, total: Int[np.ndarray, " dim"]) -> Int[np.ndarray, " dim"]:
    """A momentum in the first Brillouin zone of the primitive lattice, in units of the supercell's reciprocal."""
    cells = hamiltonian.supercell
    if cells is None:
        return total
    integers = np.round(cells.momenta() @ cells.lattice.matrix.T / (2 * np.pi)).astype(int)
    # Momenta are equal if they differ by reciprocal vectors of the primitive lattice.
    apart = (integers - total) @ np.linalg.inv(np.array(cells.index).T)
    (same,) = np.flatnonzero(np.abs(apart - np.round(apart)).max(axis=1) < 1e-6)
    return integers[same]


def _ranked(shells: _Shells, functional: Functional, i: int, chosen: Bool[np.ndarray, "fillings places"]):
    """Energies of fillings at one Hamiltonian, which of them are self-consistent, and the margin."""
    spins = [spin for spin, n in enumerate(shells.hamiltonian.electrons) if n]
    differing = {k for _, k, _ in shells.places}
    used = [k for k in range(len(shells.integers)) if shells.base[:, k].any() or k in differing]
    momenta = shells.momenta_of(functional.grid.waves.signed_integers)
    blocks = MomentumBlocks.of(functional, [np.flatnonzero(momenta == k) for k in used])
    # What is empty is left out: spins without electrons, momenta without orbitals.
    narrow = lambda occupations: [occupations[spin][used] for spin in spins]
    average = narrow(shells.averages(i))
    start = blocks.relax(average, [blocks.bands()] * len(spins)).orbitals
    always = narrow(shells.occupations(np.zeros(len(shells.places), bool)))
    places = [(spins.index(spin), used.index(k), band) for spin, k, band in shells.places]
    single, pairs = blocks.quadratic_form(start, always, places)
    n = chosen.astype(float)
    energies = blocks.energy(start, always) + n @ single + 0.5 * np.sum((n @ pairs) * n, axis=1)
    # Without an interaction all are equal, and rounding must not tell them apart.
    margin = max(_MARGIN * abs(blocks.exchange(start, average)), 1e-9 * (1 + np.abs(energies).max()))
    relaxed = np.zeros(len(chosen), bool)
    lowest, gain = np.inf, 0.0
    # Relaxing lowers one more than another, by less than the lowest ones gain.
    for f in np.argsort(energies, kind="stable"):
        if energies[f] > lowest + margin + gain:
            break
        # Good to 1e-8 Ha*, far less than the gaps are rounded to.
        own = blocks.relax(narrow(shells.occupations(chosen[f])), start, tolerance=3e-5).energy
        gain = max(gain, energies[f] - own)
        lowest = min(lowest, own)
        energies[f], relaxed[f] = own, True
    return energies, relaxed, margin
