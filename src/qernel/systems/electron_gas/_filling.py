"""The plane waves that a gas fills, and what their determinant has in closed form."""

import dataclasses
import functools
import itertools
import math

import numpy as np
from jaxtyping import Float, Int

from qernel.hamiltonian import Ewald
from qernel.lattice import Lattice
from qernel.orbitals import PlaneWaves

# Ways to fill an open shell of one spin that are compared; of more the first members are taken.
_MOST_WAYS = 20_000


@dataclasses.dataclass(frozen=True, eq=False)
class PlaneWaveFilling:
    r"""The determinants of plane waves $e^{i(G + \theta)\cdot r}$ with the lowest energy, one for each spin.

    **Fields:**

    - `cell`; `twist`, θ, in turns along each vector of the cell.
    - `integers`: G of every occupied wave of both spins, in units of the reciprocal vectors.
    - `shells`: electrons in the last shell of each spin and waves there; (0, 0) without electrons.
    - `ways`: the number of fillings that were compared; 0 where there are too many.
    """

    cell: Lattice
    twist: tuple[float, ...]
    integers: tuple[Int[np.ndarray, "up dim"], Int[np.ndarray, "down dim"]]
    shells: tuple[tuple[int, int], tuple[int, int]]
    ways: int

    @property
    def real(self) -> bool:
        r"""Whether the waves are real: none but the constant one.

        Real waves could span every G with its inverse -G as well. A network's factor cannot move their zeros, though,
        while $e^{ik\cdot r}(1 + f)$ with $f = ik\cdot\xi$ is a wave at a displaced place.
        """
        return not any(self.twist) and not any(table.any() for table in self.integers)

    @property
    def momentum(self) -> tuple[int, ...]:
        """The sum of all G."""
        return tuple(int(n) for n in np.concatenate(self.integers).sum(axis=0))

    @property
    def closed(self) -> bool:
        """Whether the last shells are full."""
        return all(filled == size for filled, size in self.shells)

    def wave_vectors(self, spin: int) -> Float[np.ndarray, "electrons dim"]:
        """G + θ of one spin, in inverse units of length."""
        return (self.integers[spin] + np.array(self.twist)) @ self.cell.reciprocal

    @functools.cached_property
    def kinetic(self) -> float:
        r"""The kinetic energy, $\frac12\sum_k k^2$."""
        return float(sum(np.sum(self.wave_vectors(spin) ** 2) for spin in (0, 1)) / 2)

    @functools.cached_property
    def interaction(self) -> float:
        r"""The repulsion, $\frac N2\xi - \frac1{2\Omega}\sum_\sigma\sum_{k\ne k'\in\sigma} v(k - k')$."""
        exchange = sum(float(np.sum(_kernel_table(self.wave_vectors(spin)))) for spin in (0, 1))
        electrons = sum(len(table) for table in self.integers)
        return electrons * _madelung(self.cell) / 2 - exchange / (2 * self.cell.volume)

    def structure_factor(self, integers: Int[np.ndarray, "vectors dim"]) -> Float[np.ndarray, " vectors"]:
        """S(q) of the determinant at vectors q ≠ 0, integers of the reciprocal vectors."""
        total = np.zeros(len(integers))
        for table in self.integers:
            own = {tuple(n) for n in table.tolist()}
            shifted = (table[None] + integers[:, None]).reshape(-1, table.shape[1])
            inside = np.array([tuple(n) in own for n in shifted.tolist()], dtype=float)
            total += inside.reshape(len(integers), len(table)).sum(axis=1)
        return 1 - total / sum(len(table) for table in self.integers)

    def tables(self) -> tuple[PlaneWaves, tuple[np.ndarray, np.ndarray]]:
        """The plane waves of a basis, and the coefficients of the occupied ones of each spin in it."""
        lengths = [np.linalg.norm(table @ self.cell.reciprocal, axis=1) for table in self.integers]
        waves = PlaneWaves(self.cell, float(np.concatenate(lengths).max()) * (1 + 1e-9))
        rank = {tuple(n): i for i, n in enumerate(waves.signed_integers.tolist())}
        unit = np.eye(waves.size)
        if not self.real:
            # Column by column what e^{iG·r} is in real waves: 1/√2 cos + i/√2 sin.
            unit = unit.astype(np.complex128)
            plus, minus = unit[:, 1::2].copy(), unit[:, 2::2].copy()
            unit[:, 1::2], unit[:, 2::2] = (plus + 1j * minus) / math.sqrt(2), (plus - 1j * minus) / math.sqrt(2)
        chosen = tuple(unit[:, [rank[tuple(n)] for n in table.tolist()]] for table in self.integers)
        return waves, (chosen[0], chosen[1])


@functools.lru_cache(maxsize=256)
def plane_wave_filling(cell: Lattice, electrons: tuple[int, int], twist: tuple[float, ...] = ()) -> PlaneWaveFilling:
    """The filling of lowest kinetic energy and, of an open shell, of lowest exchange energy among its fillings.

    Of several equal ones that of the smallest total momentum of its spin. Of a shell that can be filled in more than
    20,000 ways the first members are taken.
    """
    turns = tuple(twist) or (0.0,) * cell.dim
    found = [_of_one_spin(cell, count, turns) for count in electrons]
    (up, up_shell, up_ways), (down, down_shell, down_ways) = found
    if electrons[0] == electrons[1] and not any(turns):
        # The one of equal energy whose momentum is opposite.
        down = -up
    return PlaneWaveFilling(cell, turns, (up, down), (up_shell, down_shell), up_ways * down_ways)


def _of_one_spin(
    cell: Lattice, count: int, twist: tuple[float, ...]
) -> tuple[Int[np.ndarray, "count dim"], tuple[int, int], int]:
    """Occupied waves, electrons and waves in the last shell, and in how many ways it can be filled."""
    if count == 0:
        return np.zeros((0, cell.dim), np.int64), (0, 0), 1
    integers, lengths = lowest_waves(cell, count, twist)
    last = np.abs(lengths - lengths[count - 1]) < 1e-9 * max(lengths[count - 1], 1e-9)
    inner, shell = integers[(lengths < lengths[count - 1]) & ~last], integers[last]
    wanted = count - len(inner)
    ways = math.comb(len(shell), wanted)
    if ways > _MOST_WAYS:
        # Pairs ±G side by side.
        return np.concatenate([inner, _paired(shell)[:wanted]]), (wanted, len(shell)), 0
    chosen = np.array(list(itertools.combinations(range(len(shell)), wanted)), dtype=np.int64).reshape(ways, wanted)
    table = _kernel_table(np.concatenate([shell, inner]) @ cell.reciprocal)
    with_inner, among = table[: len(shell), len(shell) :].sum(axis=1), table[: len(shell), : len(shell)]
    exchange = with_inner[chosen].sum(axis=1) + among[chosen[:, :, None], chosen[:, None, :]].sum(axis=(1, 2)) / 2
    momenta = np.sum((shell[chosen].sum(axis=1) @ cell.reciprocal) ** 2, axis=1)
    best = np.lexsort((np.arange(ways), np.round(momenta, 9), -np.round(exchange, 9)))[0]
    return np.concatenate([inner, shell[chosen[best]]]), (wanted, len(shell)), ways


def lowest_waves(
    cell: Lattice, count: int, twist: tuple[float, ...]
) -> tuple[Int[np.ndarray, "waves dim"], Float[np.ndarray, " waves"]]:
    """The lowest waves G + θ, whole shells, at least `count`, as integers, with their lengths in ascending order."""
    offset = np.array(twist) @ cell.reciprocal
    radius = float(np.linalg.norm(Lattice(cell.reciprocal).reduced[-1]))
    while True:
        vectors = np.concatenate([np.zeros((1, cell.dim)), cell.reciprocal_vectors(radius)])
        lengths = np.linalg.norm(vectors + offset, axis=1)
        # Whole shells are there up to the radius less the offset.
        complete = lengths < radius - float(np.linalg.norm(offset)) - 1e-9 * radius
        if np.sum(complete) >= count:
            break
        radius *= 1.3
    integers = np.round(vectors[complete] @ cell.matrix.T / (2 * np.pi)).astype(np.int64)
    lengths = lengths[complete]
    order = np.lexsort((np.arange(len(lengths)), np.round(lengths / radius, 9)))
    return integers[order], lengths[order]


def _paired(shell: Int[np.ndarray, "waves dim"]) -> Int[np.ndarray, "waves dim"]:
    """The waves of a shell with ±G side by side."""
    seen: dict[tuple[int, ...], None] = {}
    for n in shell.tolist():
        for one in (tuple(n), tuple(-x for x in n)):
            if list(one) in shell.tolist():
                seen.setdefault(one)
    return np.array(list(seen), dtype=np.int64)


def _kernel_table(k: Float[np.ndarray, "waves dim"]) -> Float[np.ndarray, "waves waves"]:
    """v(k - k'), 4π/q² in space and 2π/q in the plane, zero on the diagonal."""
    squares = np.sum((k[:, None] - k[None]) ** 2, axis=-1)
    np.fill_diagonal(squares, np.inf)
    return 4 * np.pi / squares if k.shape[1] == 3 else 2 * np.pi / np.sqrt(squares)


@functools.lru_cache(maxsize=32)
def _madelung(cell: Lattice) -> float:
    return Ewald(cell).madelung
