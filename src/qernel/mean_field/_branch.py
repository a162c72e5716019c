import warnings
from collections.abc import Callable, Sequence

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, Num, PyTree

from ..hamiltonian import Family
from ..orbitals import PlaneWaves
from ._bloch import bloch_orbitals
from ._crystal import crystal_sites
from ._descent import orthonormalise
from ._fillings import Filling
from ._hartree_fock import hartree_fock
from ._orbital_set import OrbitalSet
from ._space_group import crystal_symmetries
from ._starts import crystal_start


class OrbitalBranch(eqx.Module):
    """Orbitals of a chain of Hamiltonians, with a gauge that varies smoothly along it.

    **Fields:**

    - `waves`: the real plane waves.
    - `nodes`: the coordinate of each Hamiltonian, ascending.
    - `coefficients`: per spin (nodes, basis, orbitals).
    - `overlaps`: the smallest singular value of the overlap matrix with the neighbour, for each of the
      nodes - 1 links: near 1 on a smooth branch, 0 where the occupied space jumped.
    """

    waves: PlaneWaves
    nodes: Float[np.ndarray, " nodes"]
    coefficients: tuple[Num[np.ndarray, "nodes basis up"], Num[np.ndarray, "nodes basis down"]]
    overlaps: Float[np.ndarray, " links"]


def align(
    coefficients: Num[np.ndarray, "basis orbitals"], previous: Num[np.ndarray, "basis orbitals"]
) -> tuple[Num[np.ndarray, "basis orbitals"], float]:
    """C U with the unitary U that brings C closest to `previous` (Procrustes), and the smallest singular
    value of C†C_prev.

    The determinant keeps its modulus: U mixes occupied orbitals only.
    """
    left, singular, right = np.linalg.svd(coefficients.conj().T @ previous)
    return coefficients @ (left @ right), float(singular.min(initial=1.0))


def potential_depth(parameters: PyTree) -> Float[Array, "..."]:
    """The default coordinate of a family, `parameters.depth`."""
    return parameters.depth


def orbital_branch(
    family: Family,
    solve: Callable[[PyTree, OrbitalSet | None], OrbitalSet],
    *,
    coordinate: Callable[[PyTree], Float[Array, ""]] = potential_depth,
    least_overlap: float = 0.0,
) -> OrbitalBranch:
    """Follow orbitals along a family, from the largest coordinate to the smallest.

    **Arguments:**

    - `solve`: called with the parameters of one member and the orbitals of its deeper neighbour (`None` for
      the first);
      returns the member's orbitals.
    - `coordinate`: the scalar of the parameters that orders the members.
    - `least_overlap`: where the smallest singular value of the overlap with the neighbour falls below this,
      the branch has ended, and the neighbour's orbitals are kept in place of the new ones.

    Raises `ValueError` if two members have the same coordinate.
    """
    members = [family.select(i) for i in range(family.size)]
    nodes = np.array([float(coordinate(p)) for p in members])
    if len(np.unique(nodes)) != len(nodes):
        raise ValueError(f"the members of a branch need different coordinates, got {np.sort(nodes).tolist()}")
    order = np.argsort(nodes)[::-1]
    previous: OrbitalSet | None = None
    found, overlaps = [], []
    for i in order:
        current = solve(members[i], previous)
        if previous is not None:
            (up, first), (down, second) = (
                align(c, p) for c, p in zip(current.coefficients, previous.coefficients, strict=True)
            )
            overlaps.append(min(first, second))
            held = overlaps[-1] < least_overlap
            current = previous if held else OrbitalSet(current.waves, (up, down))
        found.append(current)
        previous = current
    up, down = (np.stack([o.coefficients[spin] for o in found[::-1]]) for spin in (0, 1))
    return OrbitalBranch(found[0].waves, nodes[order][::-1].copy(), (up, down), np.array(overlaps[::-1]))


def liquid_branch(
    family: Family,
    *,
    cutoff: float | None = None,
    self_consistent: bool = False,
    filling: Filling | None = None,
    coordinate: Callable[[PyTree], Float[Array, ""]] = potential_depth,
) -> OrbitalBranch:
    """Translation-symmetric orbitals along a family: the liquid.

    Real non-interacting Bloch orbitals or, `self_consistent`, complex Hartree-Fock orbitals of the same
    momenta. An open shell warns once, and its first members are taken; or those of a `filling`, one of
    [`open_shell_fillings`][qernel.mean_field.open_shell_fillings], at all members of the family. The orbitals are
    complex then if no real ones stand for it.
    """
    real = not self_consistent and (filling is None or filling.real)
    momenta = None if filling is None else filling.momenta

    def solve(parameters: PyTree, previous: OrbitalSet | None) -> OrbitalSet:
        with warnings.catch_warnings():
            if previous is not None:
                warnings.simplefilter("ignore", UserWarning)
            found = bloch_orbitals(family.hamiltonian, parameters, cutoff=cutoff, real=real, momenta=momenta)
            start = found.orbitals
        if not self_consistent:
            return start
        return hartree_fock(family.hamiltonian, parameters, start, keep_momentum=True).orbitals

    return orbital_branch(family, solve, coordinate=coordinate)


def crystal_branch(
    family: Family,
    *,
    cutoff: float | None = None,
    sites: Float[np.ndarray, "electrons dim"] | Sequence[Sequence[float]] | None = None,
    seed: int = 0,
    coordinate: Callable[[PyTree], Float[Array, ""]] = potential_depth,
) -> OrbitalBranch:
    """Hartree-Fock orbitals of the crystal along a family, also where it is only metastable.

    Starts from Gaussians on the sites at the largest coordinate and continues to the smallest, each from the line
    through the two before it. All symmetries of the sites that every member of the family has are kept. Where the
    crystal has lost even metastability (an orbital overlaps its neighbour by less than a half) the last crystal
    orbitals are kept.

    **Arguments:** as for `crystal_start`.
    """

    hamiltonian = family.hamiltonian
    deepest = max(range(family.size), key=lambda i: float(coordinate(family.select(i))))
    if sites is None:
        sites = crystal_sites(hamiltonian, family.select(deepest), cutoff=cutoff, seed=seed)
    members = [family.select(i) for i in range(family.size)]
    symmetries = crystal_symmetries(hamiltonian, np.asarray(sites, np.float64), *members, cutoff=cutoff)

    # Energies are then good to 1e-5 meV per electron, and a network starts from the orbitals.
    tolerance, solved = 1e-5, []

    def solve(parameters: PyTree, previous: OrbitalSet | None) -> OrbitalSet:
        if previous is None:
            start = crystal_start(hamiltonian, parameters, cutoff=cutoff, sites=sites)
        else:
            solved[-1] = (solved[-1][0], previous)
            start = _extrapolated(solved[-2:], float(coordinate(parameters)))
        result = hartree_fock(hamiltonian, parameters, start, symmetries=symmetries, tolerance=tolerance)
        # Canonical orbitals spread over the cell; those nearest to the start are images of one another again.
        found = result.orbitals
        up, down = (align(c, s)[0] for c, s in zip(found.coefficients, start.coefficients, strict=True))
        solved.append((float(coordinate(parameters)), OrbitalSet(found.waves, (up, down))))
        return solved[-1][1]

    return orbital_branch(family, solve, coordinate=coordinate, least_overlap=0.5)


def _extrapolated(solved: list[tuple[float, OrbitalSet]], place: float) -> OrbitalSet:
    """The line through the last two members of a branch, at the next one."""
    if len(solved) < 2:
        return solved[-1][1]
    (before, first), (last, second) = solved
    share = (place - last) / (last - before)
    up, down = (
        orthonormalise(b + share * (b - a)) for a, b in zip(first.coefficients, second.coefficients, strict=True)
    )
    return OrbitalSet(second.waves, (up, down))
