from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Num, PyTree

from ._expanded import checked_twist, with_twist
from ._interpolation import interpolated, node_tables
from ._orbitals import AbstractOrbitals
from ._plane_waves import PlaneWaves


class InterpolatedOrbitals(AbstractOrbitals):
    """Orbitals that change with the Hamiltonian: φ_n(r; λ) = e^{iθ·f(r)} Σ_a χ_a(r) C_an(s(λ)).

    The coefficients are known at nodes of one coordinate s (the potential depth, say) and joined by cubic
    Hermite polynomials with the slopes of the parabola through three neighbours: exact at the nodes, once
    continuously differentiable between them, constant outside. Between nodes the orbitals are orthonormal
    only to the order of the interpolation, which no determinant minds.

    **Arguments:**

    - `waves`: the plane waves χ_a.
    - `nodes`: ascending values of s.
    - `coefficients`: (nodes, basis, orbitals), real or complex, in a gauge that varies smoothly, such as
      those of `liquid_branch` and `crystal_branch`.
    - `coordinate`: the function s(λ) of the Hamiltonian's parameters, a scalar in the units of the nodes.
    - `twist`: as for `ExpandedOrbitals`.

    Raises `ValueError` if the nodes do not ascend or the shapes do not fit.
    """

    waves: PlaneWaves
    values: Num[Array, "nodes basis orbitals"]
    slopes: Num[Array, "nodes basis orbitals"]
    nodes: tuple[float, ...] = eqx.field(static=True)
    coordinate: Callable[[PyTree], Float[Array, ""]]
    twist: tuple[float, ...] = eqx.field(static=True)

    def __init__(
        self,
        waves: PlaneWaves,
        nodes: Float[np.ndarray, " nodes"] | Sequence[float],
        coefficients: Num[Array | np.ndarray, "..."],
        coordinate: Callable[[PyTree], Float[Array, ""]],
        twist: Sequence[float] | None = None,
    ):
        self.waves = waves
        self.nodes, self.values, self.slopes = node_tables(nodes, coefficients, waves.size)
        self.coordinate = coordinate
        self.twist = checked_twist(twist, waves.lattice.dim)

    @property
    def orbitals(self) -> int:
        return self.values.shape[2]

    def coefficients(self, parameters: PyTree) -> Num[Array, "basis orbitals"]:
        """C(s(λ)): depends on the parameters alone, so it is computed once for all walkers under `vmap`."""
        return interpolated(self.nodes, self.values, self.slopes, self.coordinate(parameters))

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Num[Array, "electrons orbitals"]:
        with jax.named_scope("qernel.orbitals.InterpolatedOrbitals"):
            return with_twist(r, self.waves.expand(r, self.coefficients(parameters)), self.waves, self.twist)
