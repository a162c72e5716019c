"""Shells of an isotropic trap and the ways to fill them."""

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from ..orbitals import harmonic_levels

# Fillings of the open shells of both spins that are looked at.
_MOST = 2000


class ShellFilling:
    r"""Orbitals of an isotropic trap that electrons fill: all closed shells of each spin and some of an open one.

    Orbitals of a shell are real functions of a definite angular momentum, $\cos m\varphi$ and $\sin m\varphi$ times a
    radial function in two dimensions, real spherical harmonics in three.

    **Fields:** `coefficients`, for each spin those of the orbitals in the oscillator functions of `levels`; `momenta`,
    the angular momenta $|m|$ or l of the electrons in the open shell of each spin, none of a closed one.
    """

    def __init__(
        self,
        levels: Int[np.ndarray, "functions dim"],
        coefficients: tuple[Float[np.ndarray, "functions _"], Float[np.ndarray, "functions _"]],
        momenta: tuple[tuple[int, ...], tuple[int, ...]],
    ):
        self.levels = levels
        self.coefficients = coefficients
        self.momenta = momenta

    @property
    def name(self) -> str:
        """`closed_shells`, or the angular momenta in the open shells: `open_m2`, `open_m1_m1` of both spins."""
        letter = "m" if self.levels.shape[1] == 2 else "l"
        spins = ["".join(f"{letter}{m}" for m in spin) for spin in self.momenta if spin]
        return "_".join(["open", *spins]) if spins else "closed_shells"

    @property
    def words(self) -> str:
        """The open shells in words."""
        if not any(self.momenta):
            return "closed shells of the trap"
        what = "|m|" if self.levels.shape[1] == 2 else "l"
        of = [f"spin {s} {', '.join(map(str, m))}" for s, m in zip(("up", "down"), self.momenta, strict=True) if m]
        return f"open shell with {what} = {' and '.join(of)}"

    @property
    def quanta(self) -> float:
        r"""$Q = \sum (n + d/2)$ over all electrons: their energy is $\Omega Q$ where they do not interact."""
        dim = self.levels.shape[1]
        energies = self.levels.sum(axis=1) + dim / 2
        return float(sum(np.sum(energies @ c**2) for c in self.coefficients))


def shell_levels(dim: int, shells: int) -> Int[np.ndarray, "functions dim"]:
    """Oscillator levels of the lowest shells, shell by shell."""
    return np.array(harmonic_levels((1.0,) * dim, math.comb(shells - 1 + dim, dim)), dtype=np.int64)


def shell_size(dim: int, quanta: int) -> int:
    """Orbitals of one spin in the shell with so many quanta."""
    return math.comb(quanta + dim - 1, dim - 1)


def filled_shells(electrons: int, dim: int) -> int:
    """How many shells so many electrons of one spin fill, the open one included."""
    return next(shells for shells in itertools.count() if math.comb(shells - 1 + dim, dim) >= electrons)


def shell_fillings(electrons: tuple[int, int], dim: int, shells: int) -> tuple[ShellFilling, ...]:
    """All fillings of the lowest shells of a trap in two or three dimensions by (n_up, n_down) electrons.

    Orbitals of one shell that a rotation carries into one another are told apart, so that several of the fillings may
    be equivalent.

    **Arguments:** `shells`, of oscillator functions that the coefficients have: at least those that are filled.

    **Raises:** `ValueError` for other dimensions, too few shells, or more than 2000 fillings.
    """
    if dim not in (2, 3):
        raise ValueError(f"shells of a trap are those of two or three dimensions, got {dim}")
    levels = shell_levels(dim, shells)
    of_spins = [_fillings_of_spin(n, dim, levels) for n in electrons]
    count = len(of_spins[0]) * len(of_spins[1])
    if count > _MOST:
        raise ValueError(
            f"{electrons[0]} + {electrons[1]} electrons fill their open shells in {count} ways, more than {_MOST}: "
            "choose numbers closer to closed shells"
        )
    return tuple(ShellFilling(levels, (up[0], down[0]), (up[1], down[1])) for up, down in itertools.product(*of_spins))


def _fillings_of_spin(n: int, dim: int, levels) -> list[tuple[Float[np.ndarray, "functions n"], tuple[int, ...]]]:
    given = int(levels.sum(axis=1).max()) + 1
    if filled_shells(n, dim) > given:
        raise ValueError(f"{n} electrons of one spin fill more shells than the {given} given")
    columns, left, quanta = [], n, 0
    while left >= (size := shell_size(dim, quanta)):
        columns.append(_shell(dim, quanta)[0])
        left, quanta = left - size, quanta + 1
    closed = _placed(columns, len(levels))
    if not left:
        return [(closed, ())]
    functions, momenta = _shell(dim, quanta)
    found = []
    for chosen in itertools.combinations(range(len(momenta)), left):
        table = np.zeros((len(levels), left))
        start = sum(shell_size(dim, q) for q in range(quanta))
        table[start : start + len(functions)] = functions[:, list(chosen)]
        found.append((np.concatenate([closed, table], axis=1), tuple(momenta[i] for i in chosen)))
    return found


def _placed(shells: Sequence[np.ndarray], functions: int) -> np.ndarray:
    """Block-diagonal columns of closed shells, one after another."""
    table, place = np.zeros((functions, sum(len(shell) for shell in shells))), 0
    for shell in shells:
        table[place : place + len(shell), place : place + len(shell)] = shell
        place += len(shell)
    return table


@functools.cache
def _shell(dim: int, quanta: int) -> tuple[Float[np.ndarray, "size size"], tuple[int, ...]]:
    """Real functions of definite angular momentum in one shell as columns, in ascending order of it; the momenta."""
    levels = [tuple(n) for n in shell_levels(dim, quanta + 1) if sum(n) == quanta]
    size = len(levels)
    squares = []
    for i, j in itertools.combinations(range(dim), 2):
        turn = np.zeros((size, size))
        for column, level in enumerate(levels):
            for to, of, sign in ((i, j, 1), (j, i, -1)):
                if level[of]:
                    other = list(level)
                    other[to], other[of] = other[to] + 1, other[of] - 1
                    turn[levels.index(tuple(other)), column] += sign * np.sqrt(level[of] * (level[to] + 1))
        squares.append(-turn @ turn)
    total = sum(squares, np.zeros((size, size)))
    # Of one parity along every axis, functions of the same l differ in |m|.
    label = total + 1e-3 * squares[0]
    found: list[tuple[float, np.ndarray]] = []
    parities = np.array(levels) % 2
    for parity in np.unique(parities, axis=0):
        members = np.flatnonzero((parities == parity).all(axis=1))
        values, vectors = np.linalg.eigh(label[np.ix_(members, members)])
        for value, vector in zip(values, vectors.T, strict=True):
            column = np.zeros(size)
            column[members] = vector * np.sign(vector[np.argmax(np.abs(vector) > 1e-9)])
            found.append((value, column))
    found.sort(key=lambda entry: (round(entry[0], 6), *(-entry[1]).tolist()))
    columns = np.stack([column for _, column in found], axis=1)
    squared = np.einsum("ai,ab,bi->i", columns, total, columns)
    momenta = np.sqrt(np.maximum(squared, 0)) if dim == 2 else np.sqrt(np.maximum(squared, 0) + 0.25) - 0.5
    return columns, tuple(int(round(m)) for m in momenta)
