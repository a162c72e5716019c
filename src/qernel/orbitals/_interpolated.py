from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num, PyTree

from ._expanded import checked_twist, with_twist
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
        s, table = np.asarray(nodes, dtype=np.float64), np.asarray(coefficients)
        if s.ndim != 1 or not len(s) or np.any(np.diff(s) <= 0):
            raise ValueError(f"the nodes of an interpolation must ascend, got {s.tolist()}")
        if table.ndim != 3 or table.shape[:2] != (len(s), waves.size) or not table.shape[2]:
            raise ValueError(
                f"coefficients need the shape (nodes, basis, orbitals) with {len(s)} nodes, "
                f"{waves.size} basis functions and at least one orbital, got {table.shape}"
            )
        self.waves = waves
        self.nodes = tuple(float(x) for x in s)
        self.values = jnp.asarray(table)
        self.slopes = jnp.asarray(_slopes(s, table))
        self.coordinate = coordinate
        self.twist = checked_twist(twist, waves.lattice.dim)

    @property
    def orbitals(self) -> int:
        return self.values.shape[2]

    def coefficients(self, parameters: PyTree) -> Num[Array, "basis orbitals"]:
        """C(s(λ)): depends on the parameters alone, so it is computed once for all walkers under `vmap`."""
        if len(self.nodes) == 1:
            return self.values[0]
        nodes = np.array(self.nodes)
        real = jnp.real(self.values).dtype
        # Relative to the first node and in steps of the mean spacing: float32 keeps close nodes apart.
        scale = float(nodes[-1] - nodes[0]) / (len(nodes) - 1)
        reduced = (nodes - nodes[0]) / scale
        s = (self.coordinate(parameters) - float(nodes[0])) / scale
        s = jnp.clip(jnp.asarray(s).astype(real), 0.0, float(reduced[-1]))
        edges = jnp.asarray(reduced, real)
        i = jnp.clip(jnp.searchsorted(edges, s, side="right") - 1, 0, len(nodes) - 2)
        step = edges[i + 1] - edges[i]
        t = (s - edges[i]) / step
        width = step * scale
        # One product with all nodes: what follows a sum of four is worked out anew for each of its uses.
        left, right = (jax.nn.one_hot(j, len(nodes), dtype=s.dtype) for j in (i, i + 1))
        of_values = left * ((1 + 2 * t) * (1 - t) ** 2) + right * (t**2 * (3 - 2 * t))
        of_slopes = width * (left * (t * (1 - t) ** 2) - right * (t**2 * (1 - t)))
        weights = jnp.concatenate([of_values, of_slopes]).astype(self.values.dtype)
        return jnp.tensordot(weights, jnp.concatenate([self.values, self.slopes]), 1, precision="highest")

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Num[Array, "electrons orbitals"]:
        with jax.named_scope("qernel.orbitals.InterpolatedOrbitals"):
            return with_twist(r, self.waves.expand(r, self.coefficients(parameters)), self.waves, self.twist)


def _slopes(nodes: Float[np.ndarray, " nodes"], values: Num[np.ndarray, "nodes ..."]) -> Num[np.ndarray, "nodes ..."]:
    if len(nodes) == 1:
        return np.zeros_like(values)
    # Three-point differences on unequal spacings inside, one-sided (parabolic where possible) at the ends.
    return np.gradient(values, nodes, axis=0, edge_order=2 if len(nodes) > 2 else 1)
