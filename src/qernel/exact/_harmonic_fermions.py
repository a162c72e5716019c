r"""Spin-polarised fermions with harmonic interaction in a harmonic trap: everything in closed form.

    $$ H = \sum_i \Bigl[\frac{p_i^2}{2} + \frac12\sum_a \omega_a^2 x_{ia}^2\Bigr] + \frac\kappa2 \sum_{i<j} r_{ij}^2 $$

separates into the centre of mass R, of frequencies $\omega_a$, and relative motion, of frequencies $\Omega_a$ with
$\Omega_a^2 = \omega_a^2 + N\kappa$. For a filling of levels $(n_x, n_y, \ldots)$ that holds with a level all those
below it

    $$ \psi = \det\bigl[\textstyle\prod_a x_{ia}^{n_{ja}}\bigr]\;
       \exp\Bigl(-\frac12\sum_a\bigl[\Omega_a \textstyle\sum_i (x_{ia} - R_a)^2 + N\omega_a R_a^2\bigr]\Bigr) $$

is an eigenstate: the determinant does not change when all electrons move alike, and is homogeneous in the coordinates
along each axis. So $\Omega_a\sum_i (x_{ia} - R_a)^2$ has a Gamma distribution of shape
$Q_a = \sum_\mathrm{levels} n_a + (N - 1)/2$, independently for each axis, and $N\omega_a R_a^2$ one of shape 1/2. All
that follows is means and variances of these.

Every function is vectorised: `frequencies` $(\ldots, \mathrm{dim})$ and `kappa` $(\ldots)$ are broadcast against each
other.

**Source:** Moshinsky, Am. J. Phys. 36, 52 (1968); Johnson and Payne, Phys. Rev. Lett. 67, 1157 (1991).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from qernel.orbitals import levels_below

# Numbers that are sorted at once: a few hundred megabytes.
_BLOCK = 10**7

Filling = Sequence[Sequence[int]]
Numbers = float | int | Sequence | np.ndarray | Array


class HarmonicTerms(NamedTuple):
    """Expectation values of the terms of the Hamiltonian, which sum to the energy."""

    kinetic: Float[np.ndarray, "*points"]
    trap: Float[np.ndarray, "*points"]
    interaction: Float[np.ndarray, "*points"]


class HarmonicSlopes(NamedTuple):
    r"""$\partial E/\partial\omega_a$ for each axis, and $\partial E/\partial\kappa$."""

    frequencies: Float[np.ndarray, "*points dim"]
    kappa: Float[np.ndarray, "*points"]


def relative_frequencies(electrons: int, frequencies: Numbers, kappa: Numbers) -> Float[np.ndarray, "*points dim"]:
    r"""$\Omega_a = \sqrt{\omega_a^2 + N\kappa}$, the frequencies of the relative motion.

    **Raises:** `ValueError` for frequencies that are not positive, or a repulsion that drives the particles out of the
    trap, $\omega_a^2 + N\kappa \le 0$.
    """
    omega, strength = np.asarray(frequencies, np.float64), np.asarray(kappa, np.float64)
    if electrons < 1:
        raise ValueError(f"a trap needs at least one electron, got {electrons}")
    if omega.ndim == 0 or not 1 <= omega.shape[-1] <= 3:
        raise ValueError(f"frequencies need a last axis over 1, 2 or 3 dimensions, got the shape {omega.shape}")
    if not np.all(np.isfinite(omega) & (omega > 0)):
        raise ValueError(f"the trap frequencies must be positive, got {omega.tolist()}")
    squares = omega**2 + electrons * strength[..., None]
    # One electron does not interact.
    if electrons > 1 and not np.all(squares > 0):
        lowest = -(float(np.min(omega)) ** 2) / electrons
        raise ValueError(
            f"{electrons} electrons of this repulsion leave the trap: kappa must be larger than -omega²/N, here "
            f"{lowest:.6g}, got {float(np.min(strength)):.6g}"
        )
    return np.sqrt(squares) if electrons > 1 else np.broadcast_to(omega, squares.shape)


def filling_energy(filling: Filling, frequencies: Numbers, kappa: Numbers) -> Float[np.ndarray, "*points"]:
    r"""Energy in effective Hartree of spin-polarised fermions in a trap that interact by $\frac\kappa2 r_{ij}^2$,

    $$ E = \sum_a \Omega_a Q_a + \frac{\omega_a}2, \qquad \Omega_a = \sqrt{\omega_a^2 + N\kappa}, \qquad
       Q_a = \sum_\mathrm{levels} n_a + \frac{N - 1}2 , $$

    that of the relative motion and of the centre of mass along each axis.

    **Arguments:** `filling`, quantum numbers of the filled levels, one tuple for each electron; it must hold with a
    level all those below it, as every filling of the lowest levels does.

    **Raises:** `ValueError` for another filling, and what
    [`relative_frequencies`][qernel.exact.relative_frequencies] raises.
    """
    return np.asarray(np.sum(_of_axes(filling, frequencies, kappa).energy, axis=-1))


def filling_slopes(filling: Filling, frequencies: Numbers, kappa: Numbers) -> HarmonicSlopes:
    r"""Slopes of the energy, which by Hellmann and Feynman are $\langle\partial H/\partial\lambda\rangle$:

    $$ \frac{\partial E}{\partial\omega_a} = \frac{\omega_a Q_a}{\Omega_a} + \frac12 , \qquad
       \frac{\partial E}{\partial\kappa} = \sum_a \frac{N Q_a}{2\,\Omega_a} . $$

    **Arguments** and **Raises:** those of [`filling_energy`][qernel.exact.filling_energy].
    """
    axes = _of_axes(filling, frequencies, kappa)
    of_kappa = np.asarray(np.sum(axes.quanta * axes.by_kappa, axis=-1))
    return HarmonicSlopes(axes.quanta * axes.trap / axes.relative + 0.5, of_kappa)


def filling_terms(filling: Filling, frequencies: Numbers, kappa: Numbers) -> HarmonicTerms:
    r"""Expectation values term by term, in effective Hartree,

    $$ \langle T\rangle = \sum_a \frac{\Omega_a Q_a}2 + \frac{\omega_a}4, \qquad
       \langle V\rangle = \sum_a \frac{\omega_a^2 Q_a}{2\,\Omega_a} + \frac{\omega_a}4, \qquad
       \langle W\rangle = \sum_a \frac{N\kappa\,Q_a}{2\,\Omega_a} . $$

    **Arguments** and **Raises:** those of [`filling_energy`][qernel.exact.filling_energy].
    """
    axes = _of_axes(filling, frequencies, kappa)
    half = axes.quanta / 2
    return HarmonicTerms(
        np.asarray(np.sum(half * axes.relative + axes.trap / 4, axis=-1)),
        np.asarray(np.sum(half * axes.trap**2 / axes.relative + axes.trap / 4, axis=-1)),
        np.asarray(np.sum(half * (axes.relative**2 - axes.trap**2) / axes.relative, axis=-1)),
    )


def filling_widths(filling: Filling, frequencies: Numbers, kappa: Numbers) -> Float[np.ndarray, "*points dim"]:
    r"""Standard deviation of an electron's position along each axis, $\sqrt{\langle x_a^2\rangle}$,

    $$ N\langle x_a^2\rangle = \frac{Q_a}{\Omega_a} + \frac1{2\omega_a} , $$

    in effective Bohr radii: of that width are the clouds that walkers start from.

    **Arguments** and **Raises:** those of [`filling_energy`][qernel.exact.filling_energy].
    """
    axes = _of_axes(filling, frequencies, kappa)
    return np.sqrt((axes.quanta / axes.relative + 0.5 / axes.trap) / len(filling))


def filling_metric(
    filling: Filling, frequencies: Numbers, kappa: Numbers
) -> Float[np.ndarray, "*points coordinates coordinates"]:
    r"""The Fubini-Study metric $g_{\mu\nu} = \mathrm{Cov}(\partial_\mu\log\psi, \partial_\nu\log\psi)$ of a filling,

    $$ g_{\mu\nu} = \sum_a \frac{Q_a}{4\,\Omega_a^2}\,\partial_\mu\Omega_a\,\partial_\nu\Omega_a
       + \frac{\partial_\mu\omega_a\,\partial_\nu\omega_a}{8\,\omega_a^2} , $$

    in the coordinates $(\omega_1, \ldots, \omega_\mathrm{dim}, \kappa)$. The fidelity susceptibility along a coordinate
    is its diagonal; along any curve λ it is [`filling_susceptibility`][qernel.exact.filling_susceptibility].

    **Arguments** and **Raises:** those of [`filling_energy`][qernel.exact.filling_energy].
    """
    axes = _of_axes(filling, frequencies, kappa)
    dim = axes.trap.shape[-1]
    # points, axes a, coordinates
    slopes = np.zeros((*axes.trap.shape, dim + 1))
    slopes[..., range(dim), range(dim)] = axes.trap / axes.relative
    slopes[..., dim] = axes.by_kappa
    metric = np.einsum("...a,...am,...an->...mn", axes.quanta / (4 * axes.relative**2), slopes, slopes)
    metric[..., range(dim), range(dim)] += 1 / (8 * axes.trap**2)
    return metric


def filling_susceptibility(
    filling: Filling, frequencies: Numbers, kappa: Numbers, direction: Numbers
) -> Float[np.ndarray, "*points"]:
    r"""The fidelity susceptibility $\chi = \mathrm{Var}(\partial_\lambda\log\psi)$ along a curve of Hamiltonians.

    **Arguments:** `direction`, $(\partial_\lambda\omega_1, \ldots, \partial_\lambda\omega_\mathrm{dim},
    \partial_\lambda\kappa)$, one for all points or one for each; the others and **Raises** are those of
    [`filling_energy`][qernel.exact.filling_energy].
    """
    metric, along = filling_metric(filling, frequencies, kappa), np.asarray(direction, np.float64)
    if along.shape[-1:] != metric.shape[-1:]:
        raise ValueError(
            f"a direction has {metric.shape[-1]} components, one for each frequency and one for kappa, got the shape "
            f"{along.shape}"
        )
    return np.asarray(np.einsum("...m,...mn,...n->...", along, metric, along))


def filling_boundary(
    first: Filling, second: Filling, frequencies: Numbers, kappa: Numbers, *, axis: int = -1
) -> Float[np.ndarray, "*points"]:
    r"""The trap frequency $\omega_a^*$ along one axis at which two fillings have the same energy,

    $$ \Omega_a^* = -\frac{\sum_{b\ne a} \Omega_b\,\Delta Q_b}{\Delta Q_a}, \qquad
       \omega_a^* = \sqrt{\Omega_a^{*2} - N\kappa} ; $$

    NaN where there is none.

    **Arguments:** `frequencies`, of which that along `axis` counts for nothing; the others and **Raises** are those of
    [`filling_energy`][qernel.exact.filling_energy].
    """
    omega = np.array(frequencies, np.float64)
    # What stands there is not used, and must not be what an error is about.
    omega[..., axis] = np.max(omega)
    one, other = (_of_axes(filling, omega, kappa) for filling in (first, second))
    if len(first) != len(second) or one.trap.shape != other.trap.shape:
        raise ValueError(f"fillings of {len(first)} and {len(second)} electrons do not compete: they need as many")
    change = one.quanta - other.quanta
    if change[axis] == 0:
        return np.full(one.energy.shape[:-1], np.nan)
    rest = np.sum(np.delete(one.relative, axis, axis=-1) * np.delete(change, axis), axis=-1)
    found = -rest / change[axis]
    square = found**2 - len(first) * np.asarray(kappa, np.float64)
    there = (found > 0) & (square > 0)
    return np.where(there, np.sqrt(np.where(there, square, 1.0)), np.nan)


def ground_energy(electrons: int, frequencies: Numbers, kappa: Numbers) -> Float[np.ndarray, "*points"]:
    """Energy of the ground state, that of the filling of the lowest levels at the frequencies of relative motion.

    **Raises:** what [`relative_frequencies`][qernel.exact.relative_frequencies] raises.
    """
    relative = relative_frequencies(electrons, frequencies, kappa)
    energies = relative @ (_candidates(electrons, relative.shape[-1]) + 0.5).T
    lowest = np.sum(np.sort(energies, axis=-1)[..., :electrons], axis=-1)
    return np.asarray(lowest + 0.5 * np.sum(np.asarray(frequencies, np.float64) - relative, axis=-1))


def ground_fillings(electrons: int, frequencies: Numbers, kappa: Numbers) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The fillings that are the ground state anywhere in a set of points, in the order in which the points come.

    These are the phases that compete over a family. Of degenerate levels those with more quanta along the first axis
    are taken, as in [`harmonic_levels`][qernel.orbitals.harmonic_levels].

    **Raises:** what [`relative_frequencies`][qernel.exact.relative_frequencies] raises.
    """
    relative = relative_frequencies(electrons, frequencies, kappa)
    relative = relative.reshape(-1, relative.shape[-1])
    levels = _candidates(electrons, relative.shape[-1])
    # Of levels of one energy, a stable sort keeps this order: those with more quanta along the first axis first.
    levels = levels[np.lexsort(-levels.T[::-1])]
    found: dict[tuple[int, ...], None] = {}
    for block in np.array_split(relative, -(-relative.size * len(levels) // _BLOCK)):
        # Rounded, so that degenerate levels are told apart by their quanta alone.
        energies = np.round(block @ levels.T / np.min(block, axis=1, keepdims=True), 9)
        lowest = np.sort(np.argsort(energies, axis=1, kind="stable")[:, :electrons], axis=1)
        _, first = np.unique(lowest, axis=0, return_index=True)
        found |= dict.fromkeys(tuple(row.tolist()) for row in lowest[np.sort(first)])
    fillings = [[tuple(int(n) for n in levels[number]) for number in row] for row in found]
    return tuple(tuple(sorted(filling, key=lambda n: (sum(n), tuple(-m for m in n)))) for filling in fillings)


class _Axes(NamedTuple):
    """Of each axis: ω, Ω, ∂Ω/∂κ, the quanta Q of relative motion, and the energy."""

    trap: np.ndarray
    relative: np.ndarray
    by_kappa: np.ndarray
    quanta: np.ndarray
    energy: np.ndarray


def _of_axes(filling: Filling, frequencies: Numbers, kappa: Numbers) -> _Axes:
    levels = [tuple(level) for level in filling]
    relative = relative_frequencies(len(levels), frequencies, kappa)
    dim = relative.shape[-1]
    if any(len(level) != dim for level in levels):
        raise ValueError(f"the levels need {dim} quantum numbers, one for each frequency, got {levels}")
    for level in levels:
        below = [tuple(n - (a == axis) for a, n in enumerate(level)) for axis in range(dim) if level[axis] > 0]
        if min(level) < 0 or not set(below) <= set(levels):
            raise ValueError(
                f"the level {level} is filled and not all of those below it: such a determinant is no eigenstate of "
                "interacting fermions"
            )
    if len(set(levels)) != len(levels):
        raise ValueError(f"a level is filled twice: {levels}")
    trap = np.broadcast_to(np.asarray(frequencies, np.float64), relative.shape)
    quanta = np.sum(np.asarray(levels, np.float64), axis=0) + (len(levels) - 1) / 2
    return _Axes(trap, relative, len(levels) / (2 * relative), quanta, relative * quanta + trap / 2)


def _candidates(electrons: int, dim: int) -> np.ndarray:
    """The levels that N fermions may fill: below a level lie all those with fewer quanta, Π (n + 1) of them."""
    return np.asarray(levels_below(electrons, dim), dtype=np.int64)
