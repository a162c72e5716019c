from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from qernel.hamiltonian import Coordinate, Ewald, Family, Hamiltonian, Kinetic
from qernel.lattice import Lattice, Supercell, supercell, triangular

from ._material import Material
from ._potential import MoireParameters, MoirePotential, moire_coulomb_strength, moire_inverse_mass

# One number for the whole family, or one for each Hamiltonian.
Numbers = float | int | Sequence[float | int] | np.ndarray | Array


def moire_hamiltonian(
    material: Material, cell: Supercell | Lattice, electrons: tuple[int, int], *, accuracy: float = 1e-10
) -> Hamiltonian:
    """Electrons with Coulomb repulsion in the moiré potential of a material, in a periodic supercell.

    The potentials are called "moire" and "interaction"; the parameters are `MoireParameters`.

    **Arguments:**

    - `material`: the reference material.
    - `cell`: the supercell, in effective Bohr radii; must consist of whole moiré cells
      `triangular(material.lattice_constant)`.
    - `electrons`: numbers of electrons (n_up, n_down).
    - `accuracy`: of the Ewald sum.

    **Raises:** `ValueError` if the supercell is incommensurate or the counts are invalid.
    """
    primitive = triangular(material.lattice_constant)
    lattice = cell.lattice if isinstance(cell, Supercell) else cell
    moire = MoirePotential(primitive, lattice)
    ewald = Ewald(lattice, accuracy=accuracy, strength=moire_coulomb_strength, electrons=max(1, sum(electrons)))
    kinetic = Kinetic(inverse_mass=moire_inverse_mass)
    return Hamiltonian(kinetic, {"moire": moire, "interaction": ewald}, electrons, cell=lattice)


def moire_parameters(
    material: Material,
    depth_meV: Numbers,
    *,
    phi_degrees: Numbers = 45.0,
    effective_mass: Numbers | None = None,
    dielectric: Numbers | None = None,
    lattice_constant_nm: Numbers | None = None,
) -> MoireParameters:
    """`MoireParameters` from meV, degrees and nm; `None` means the reference material's value.

    Arrays are broadcast against each other and give a leading axis.

    **Raises:** `ValueError` if a mass, dielectric constant or lattice constant is not positive, or the shapes do
    not match.
    """
    given = {
        "depth": np.asarray(depth_meV, np.float64) / material.hartree_meV,
        "phi": np.deg2rad(np.asarray(phi_degrees, np.float64)),
    }
    for name, label, value, reference in (
        ("mass", "effective mass", effective_mass, material.effective_mass),
        ("dielectric", "dielectric constant", dielectric, material.dielectric),
        ("scale", "moiré lattice constant", lattice_constant_nm, material.lattice_constant_nm),
    ):
        array = np.asarray(reference if value is None else value, np.float64)
        if not np.all(np.isfinite(array) & (array > 0)):
            raise ValueError(f"the {label} must be positive, got {array.tolist()}")
        given[name] = array / reference
    if not all(np.all(np.isfinite(array)) for array in given.values()):
        raise ValueError("the potential depths and angles φ must be finite")
    shapes = {name: array.shape for name, array in given.items()}
    try:
        common = np.broadcast_shapes(*shapes.values())
    except ValueError:
        raise ValueError(f"the parameters of the family have different lengths: {shapes}") from None
    if len(common) > 1:
        raise ValueError(f"the parameters of a family must be numbers or one-dimensional, got {shapes}")
    return MoireParameters(**{k: jnp.asarray(np.broadcast_to(v, common), dtype=float) for k, v in given.items()})


def moire_coordinates(material: Material) -> tuple[Coordinate, ...]:
    """All coordinates of moiré Hamiltonians in units of a reference material: depth, φ, mass, dielectric, lattice."""
    return (
        Coordinate(
            "depth_meV",
            "depth",
            "meV",
            "V₀",
            "V_0",
            "moiré potential depth",
            scale=material.hartree_meV,
            linear=True,
        ),
        Coordinate("phi_degrees", "phi", "degrees", "φ", r"\varphi", "moiré angle", scale=180 / np.pi),
        Coordinate(
            "effective_mass",
            "mass",
            "1",
            "m*",
            "m^*",
            "effective mass in electron masses",
            scale=material.effective_mass,
        ),
        Coordinate(
            "dielectric", "dielectric", "1", "εᵣ", r"\varepsilon_r", "dielectric constant", scale=material.dielectric
        ),
        Coordinate(
            "lattice_constant_nm",
            "scale",
            "nm",
            "a_M",
            "a_M",
            "moiré lattice constant",
            scale=material.lattice_constant_nm,
        ),
    )


def moire_family(
    material: Material,
    supercell_index: int | Sequence[int] | Sequence[Sequence[int]] | np.ndarray,
    electrons: tuple[int, int],
    depths_meV: Numbers,
    *,
    phi_degrees: Numbers = 45.0,
    effective_mass: Numbers | None = None,
    dielectric: Numbers | None = None,
    lattice_constant_nm: Numbers | None = None,
) -> Family:
    """A family of moiré Hamiltonians: potential depths, and whatever else differs between members.

    Its coordinates are those that differ, or the depth alone if none does.

    **Arguments:**

    - `material`: the reference material, whose effective atomic units are used throughout.
    - `supercell_index`: n, (n_1, n_2) or a matrix of integers, as in `supercell`.
    - `electrons`: numbers of electrons (n_up, n_down).
    - `depths_meV`: potential depths V₀, one for each Hamiltonian.
    - `phi_degrees`, `effective_mass`, `dielectric`, `lattice_constant_nm`: numbers, or one for each
      Hamiltonian.

    **Raises:** `ValueError` as `moire_hamiltonian` and `moire_parameters` do.
    """
    cell = supercell(triangular(material.lattice_constant), supercell_index)
    hamiltonian = moire_hamiltonian(material, cell, electrons)
    parameters = moire_parameters(
        material,
        np.atleast_1d(np.asarray(depths_meV, np.float64)),
        phi_degrees=phi_degrees,
        effective_mass=effective_mass,
        dielectric=dielectric,
        lattice_constant_nm=lattice_constant_nm,
    )
    known = moire_coordinates(material)
    differing = [np.ptp(np.asarray(jax.vmap(c.of)(parameters))) > 0 for c in known]
    varying = tuple(c for c, differs in zip(known, differing, strict=True) if differs)
    return Family(hamiltonian, parameters, varying or known[:1])
