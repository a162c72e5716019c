"""Electrons in a moiré heterobilayer whose potential depth is tuned."""

import functools
from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.hamiltonian import Family
from qernel.lattice import Lattice
from qernel.observables import zone_corners
from qernel.sampling import initial_positions
from qernel.systems import System

from ._family import Numbers, moire_family
from ._known_values import moire_known_values
from ._liquids import liquids
from ._material import Material
from ._orbitals import MoireOrbitals, available_orbitals, orbital_nodes
from ._order_parameters import CrystalOrders, order_parameters


def moire_system(
    material: Material,
    supercell_index: int | Sequence[int] | Sequence[Sequence[int]] | np.ndarray,
    electrons: tuple[int, int],
    depths_meV: Numbers,
    *,
    phi_degrees: float = 45.0,
    depth_range_meV: tuple[float, float] | None = None,
    orbital_spacing_meV: float = 2.5,
) -> System:
    r"""Electrons in a moiré potential of varying depth V₀, liquid or crystal: the system of QERNEL.

    The phases `liquid` (Bloch orbitals) and `crystal` (Hartree-Fock) are told apart by S(K), the structure factor at
    the corners of the moiré Brillouin zone; `gaussians` and `plane_waves` stand for the same two where these cost too
    much. Where an open shell can be filled in inequivalent ways, `liquid` is the one with the lowest Hartree-Fock
    energy at the smallest depth, and `liquid_2` and so on are those that are lowest elsewhere or close:
    [`open_shell_fillings`][qernel.mean_field.open_shell_fillings].

    **Arguments:** as for [`moire_family`][qernel.systems.moire.moire_family], and

    - `depth_range_meV`: the range that wavefunctions are made for (default: that of the depths).
    - `orbital_spacing_meV`: orbitals are solved for at depths about so far apart, and interpolated.

    **Raises:** `ValueError` as `moire_family` does, for a range that does not hold the depths, or for more
    electrons of one spin than there are orbitals.

    **Source:** arXiv:2604.26018.
    """
    family = moire_family(material, supercell_index, electrons, depths_meV, phi_degrees=phi_degrees)
    depths = family.points[:, 0]
    low, high = (depths.min(), depths.max()) if depth_range_meV is None else depth_range_meV
    if not low <= depths.min() <= depths.max() <= high:
        raise ValueError(f"the range of depths, {low:g} to {high:g} meV, must hold all of {depths.tolist()}")
    span = family.at(sorted({float(low), float(high)}))
    cells = family.hamiltonian.supercell
    assert cells is not None
    available, wanted = available_orbitals(family), max(electrons)
    if wanted > available:
        raise ValueError(
            f"{wanted} electrons of one spin need as many orbitals, and {cells.cells} moiré cells "
            f"have {available}: choose fewer electrons or a larger supercell"
        )
    nodes = orbital_nodes(float(low), float(high), orbital_spacing_meV)
    orbitals = MoireOrbitals(family, nodes, liquids(material, cells.index, tuple(electrons), nodes, phi_degrees))
    filling = Fraction(sum(electrons), cells.cells)
    area = abs(np.linalg.det(family.hamiltonian.cell.matrix))  # pyright: ignore[reportOptionalMemberAccess]
    return System(
        "moire",
        family,
        material.units,
        phases=orbitals.phases,
        order_parameters=order_parameters(),
        observables=(CrystalOrders(),),
        known=functools.partial(_known, material),
        walkers=functools.partial(_walkers, orbitals),
        span=span,
        words=(
            f"Electrons of effective mass m* in the moiré potential of a triangular lattice, at a filling of {filling} "
            "electrons per moiré cell, repelling each other as e²/(4πε₀εᵣr). V = -2 V₀ Σ cos(G_j·r + φ) over three "
            "reciprocal vectors of the first shell, at 90°, 210° and 330°. The repulsion is an Ewald sum over the "
            "periodic cell with a neutralising background, each electron's own images (the Madelung constant) included."
        ),
        terms={"moire": "moiré potential"},
        zone_points=_zone_points(cells.primitive),
        facts=(
            ("Moiré angle", f"φ = {phi_degrees:g}°"),
            ("Effective mass", f"m* = {material.effective_mass:g} mₑ"),
            ("Dielectric constant", f"εᵣ = {material.dielectric:g}"),
            ("Moiré lattice constant", f"a_M = {material.lattice_constant_nm:g} nm"),
            ("Effective Bohr radius", f"a_B* = {material.bohr_nm:.6g} nm"),
            ("Effective Hartree", f"Ha* = {material.hartree_meV:.6g} meV"),
            ("Wigner-Seitz radius", f"r_s = {np.sqrt(area / np.pi / sum(electrons)):.3g}"),
        ),
    )


def _zone_points(moire: Lattice) -> dict[str, Float[np.ndarray, "points 2"]]:
    """Centre, corners and the middles of the edges of the moiré Brillouin zone."""
    corners = zone_corners(moire)
    # In the order of their angle, K and K' alternate; between two of them lies the middle of an edge.
    middles = (corners + np.roll(corners, -1, axis=0)) / 2
    return {"Γ": np.zeros((1, 2)), "K": corners[::2], "K'": corners[1::2], "M": middles}


def _known(material: Material, family: Family):
    return moire_known_values(family, material)


def _walkers(
    orbitals: MoireOrbitals, family: Family, walkers: int, phases: Sequence[str], key: PRNGKeyArray, dtype: DTypeLike
) -> Float[Array, "members walkers electrons dim"]:
    """Walkers of a liquid uniform, those of a crystal near its sites; half and half where either is possible."""
    with jax.enable_x64(True):
        crystal = None if "" in phases else jnp.asarray([phase == "crystal" for phase in phases])
        return initial_positions(
            family.hamiltonian, family.size, walkers, key=key, sites=orbitals.sites, crystal=crystal, dtype=dtype
        )
