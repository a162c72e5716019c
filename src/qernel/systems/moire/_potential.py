import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Float

from qernel.hamiltonian import AbstractLatticePotential
from qernel.lattice import Lattice, Supercell, check_commensurate


class MoireParameters(eqx.Module):
    """Parameters of a moiré Hamiltonian, in units of a reference material.

    In effective atomic units of the reference material, and with positions that stay in the reference cell
    when the lattice constant varies (r = scale · r_reference, `scale` = a_M / a_M,reference),

        H = -1/(2 mass scale²) Σ ∇² + Σ V(r_i; depth, phi) + 1/(dielectric scale) Σ_{i<j} 1/r_ij,

    so that a varying lattice constant changes two prefactors, not the geometry. Energies stay in the
    reference material's effective Hartree. Each field is a scalar array, or carries a leading axis of
    Hamiltonians in a `Family`.

    **Fields:**

    - `depth`: V₀ in effective Hartree.
    - `phi`: φ in radians.
    - `mass`: effective mass relative to the reference.
    - `dielectric`: dielectric constant relative to the reference.
    - `scale`: moiré lattice constant relative to the reference.
    """

    depth: Float[Array, "..."]
    phi: Float[Array, "..."]
    mass: Float[Array, "..."]
    dielectric: Float[Array, "..."]
    scale: Float[Array, "..."]


def moire_inverse_mass(parameters: MoireParameters) -> Float[Array, ""]:
    """Kinetic prefactor 1/(mass scale²) in reference coordinates."""
    return 1.0 / (parameters.mass * parameters.scale**2)


def moire_coulomb_strength(parameters: MoireParameters) -> Float[Array, ""]:
    """Coulomb prefactor 1/(dielectric scale) in reference coordinates."""
    return 1.0 / (parameters.dielectric * parameters.scale)


class MoirePotential(AbstractLatticePotential):
    """First-shell moiré potential V = -2 V₀ Σ_i Σ_{j=1..3} cos(G_j·r_i + φ) (arXiv:2604.26018).

    The G_j are the three of the six shortest reciprocal vectors that lie at 120° to each other and include
    the one that points most along +y: for `triangular(a)`, G_1 = b_2 = (4π/√3a)(0, 1), G_2 = -(b_1 + b_2)
    and G_3 = b_1, at 90°, 210° and 330°. The choice depends on the lattice only, not on its primitive
    vectors. The opposite triple, or -φ, gives the mirrored potential V(-r). For |φ| < 60° and V₀ > 0 the
    minima are the lattice points, V = -6 V₀ cos φ.

    V₀ and φ are `parameters.depth` (effective Hartree) and `parameters.phi` (radians).

    **Arguments:**

    - `primitive`: the moiré lattice; must be triangular.
    - `supercell`: if given, is checked to be commensurate.

    **Raises:** `ValueError` if the lattice is not triangular or the supercell is incommensurate.
    """

    vectors: Float[Array, "3 2"]
    primitive: Lattice

    def __init__(self, primitive: Lattice, supercell: Lattice | Supercell | None = None):
        if supercell is not None:
            lattice = supercell.lattice if isinstance(supercell, Supercell) else supercell
            check_commensurate(lattice, primitive)
        self.primitive = primitive
        self.vectors = jnp.asarray(_triple(primitive), dtype=float)

    @property
    def boundary(self) -> Lattice:
        """The moiré lattice."""
        return self.primitive

    def __call__(self, r: Float[Array, "electrons 2"], parameters: MoireParameters) -> Float[Array, ""]:
        angles = jnp.matmul(r, self.vectors.astype(r.dtype).T, precision=Precision.HIGHEST)
        waves = jnp.cos(angles + parameters.phi.astype(r.dtype))
        return -2.0 * parameters.depth.astype(r.dtype) * jnp.sum(waves)


def _triple(primitive: Lattice) -> np.ndarray:
    if primitive.dim != 2:
        raise ValueError(f"the moiré potential is two-dimensional, got a lattice of dimension {primitive.dim}")
    shortest = Lattice(primitive.reciprocal).shortest_translation()
    shell = primitive.reciprocal_vectors(1.001 * shortest)
    if len(shell) != 6:
        raise ValueError(f"the moiré potential needs a triangular lattice, got vectors {primitive.matrix.tolist()}")
    keys = np.round(shell / shortest, 7) + 0.0
    first = shell[np.lexsort((-keys[:, 0], -keys[:, 1]))[0]]
    angle = 2 * np.pi / 3
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    triple = np.stack([first, first @ turn, first @ turn @ turn])
    # Equal to rounding to vectors of the shell; those are exactly on the reciprocal lattice.
    nearest = np.argmin(np.linalg.norm(shell[None] - triple[:, None], axis=-1), axis=1)
    return shell[nearest]
