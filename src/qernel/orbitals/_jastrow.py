"""Jastrow factors: the electron-electron cusp and a smooth conditioned pair function."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from qernel.layers import MLP, FiLM, Frozen, Linear

from ._cos_sin import cos_sin
from ._floored_range import floored_range
from ._pair_factor import AbstractPairFactor
from ._spin_blocks import check_electrons

# From the Hamiltonian's parameters to the strength of each pair's cusp: one number, or one for each pair.
CuspStrength = Callable[[Any], Float[Array, "electrons electrons"] | Float[Array, ""]]
PairFunction = Callable[[Float[Array, "pairs dim"], Bool[ArrayLike, " pairs"]], Float[Array, " pairs"]]


def _pairs(electrons: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Indices i < j of all pairs and whether the pair has parallel spins."""
    first, second = np.triu_indices(sum(electrons), k=1)
    spins = np.repeat([0, 1], electrons)
    return first, second, spins[first] == spins[second]


def cusp_slope(dim: int, parallel: bool) -> float:
    r"""Kato slope $\partial_r \log\psi$ at contact of two electrons, in effective atomic units.

    2D: 1 antiparallel, 1/3 parallel; 3D: 1/2 and 1/4: that is $1/(d-1)$ and $1/(d+1)$.

    **Raises:** `ValueError` in one dimension, where the Coulomb repulsion has no cusp of this kind.
    """
    if dim < 2:
        raise ValueError(f"no Coulomb cusp in {dim} dimension: give a Jastrow factor without one")
    return 1 / (dim + 1) if parallel else 1 / (dim - 1)


class CuspJastrow(eqx.Module):
    r"""Satisfies the electron-electron cusp condition, with a trained range:

    $$ J(r;\lambda) = -\sum_{i<j} \gamma_{ij}(\lambda)\,\Gamma_{ij}\, b\, e^{-d(r_i - r_j)/b}, \qquad
       \partial_d J|_{d=0} = \gamma_{ij}\,\Gamma_{ij} , $$

    with the Kato slope Γ of [`cusp_slope`][qernel.orbitals.cusp_slope] and the strength γ of the repulsion over the
    prefactor of the kinetic energy. The ranges $b > 0$ (parallel, antiparallel) are trained, and stay above a
    tenth of what they are at the start.

    **Arguments:**

    - `electrons`: (n_up, n_down).
    - `range_`: b at the start, in units of length.
    - `strength`: γ as a function of the Hamiltonian's parameters:
      [`Hamiltonian.cusp`][qernel.hamiltonian.Hamiltonian.cusp]. It is not trained.
    - `squared_distance`: $d^2$, smooth and periodic, for instance
      [`PeriodicDistance`][qernel.lattice.PeriodicDistance]; open boundaries without one.

    **Raises:** `ValueError` for a range that is not positive, or no strength: the `cusp` of a Hamiltonian without
    Coulomb repulsion is None, and its wavefunctions have no such factor.

    **Source:** T. Kato, Commun. Pure Appl. Math. 10, 151 (1957).
    """

    log_range: Float[Array, "2"]
    strength: Frozen
    squared_distance: eqx.Module | None
    electrons: tuple[int, int] = eqx.field(static=True)
    start: float = eqx.field(static=True)

    def __init__(
        self,
        electrons: tuple[int, int],
        range_: float,
        strength: CuspStrength | None,
        *,
        squared_distance: eqx.Module | None = None,
        dtype: DTypeLike = jnp.float32,
    ):
        check_electrons(electrons)
        if not (np.isfinite(range_) and range_ > 0):
            raise ValueError(f"the range of a Jastrow factor must be positive, got {range_}")
        if not callable(strength):
            raise ValueError(
                "the strength of a cusp is a function of the Hamiltonian's parameters, such as Hamiltonian.cusp (None "
                f"there says that no electrons repel as 1/r: leave the factor out); got {strength!r}"
            )
        self.log_range = jnp.full((2,), np.log(range_), dtype)
        self.strength = Frozen(strength)
        self.squared_distance = squared_distance
        self.electrons = electrons
        self.start = float(range_)

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> Float[Array, ""]:
        """Logarithm of the factor at one configuration, for the parameters of one Hamiltonian."""
        return _pair_sum(self._of_pairs(parameters), r, self.electrons)

    def derivatives(
        self, r: Float[Array, "electrons dim"], parameters: Any
    ) -> tuple[Float[Array, ""], Float[Array, "electrons dim"], Float[Array, ""]]:
        """The logarithm with its gradient and Laplacian."""
        return _pair_sum_derivatives(self._of_pairs(parameters), r, self.electrons)

    def _of_pairs(self, parameters):
        strength = jnp.asarray(self.strength(parameters))
        if strength.ndim:
            first, second, _ = _pairs(self.electrons)
            strength = strength[first, second]

        def of_pairs(displacement, parallel):
            dtype = displacement.dtype
            slopes = [cusp_slope(displacement.shape[1], one) for one in (True, False)]
            slope = jnp.where(parallel, *(jnp.asarray(x, dtype) for x in slopes)) * strength.astype(dtype)
            length = jnp.where(parallel, *floored_range(self.log_range.astype(dtype), self.start))
            if self.squared_distance is None:
                squared = jnp.sum(displacement**2, axis=-1)
            else:
                squared = self.squared_distance(displacement)  # type: ignore[operator]
            # Two electrons on one spot have probability zero; the floor only keeps derivatives finite there.
            distance = jnp.sqrt(squared + jnp.finfo(dtype).tiny ** 0.5)
            return -slope * length * jnp.exp(-distance / length)

        return of_pairs


class PairJastrow(AbstractPairFactor):
    r"""A smooth two-body factor that depends on the Hamiltonian through FiLM:

    $$ J(r; c) = \sum_{i<j} u_{s}\bigl([\cos G\cdot r_{ij}]_G;\, c\bigr), \qquad
       u = w_s\cdot\mathrm{silu}\bigl(\mathrm{FiLM}_c(W_2\tanh(W_1 x))\bigr) . $$

    Even in $r_{ij}$ and smooth at contact, so that it leaves the cusp alone. `waves` are the vectors G (for a
    periodic cell, its shortest reciprocal vectors). Starts at zero.
    """

    hidden: MLP
    film: FiLM
    output: Linear
    waves: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    electrons: tuple[int, int] = eqx.field(static=True)

    def __init__(
        self,
        electrons: tuple[int, int],
        waves: np.ndarray,
        condition_size: int,
        *,
        width: int = 16,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
    ):
        check_electrons(electrons)
        if np.ndim(waves) != 2 or 0 in np.shape(waves):
            raise ValueError(
                "a pair factor needs at least one wave, an array (waves, dim), got the shape "
                f"{np.shape(waves)}: leave the factor out"
            )
        keys = jax.random.split(key, 3)
        self.waves = tuple(tuple(map(float, wave)) for wave in waves)
        self.hidden = MLP((len(waves), width, width), key=keys[0], dtype=dtype)
        self.film = FiLM(condition_size, width, key=keys[1], dtype=dtype)
        self.output = Linear(width, 2, key=keys[2], bias=False, scale=0.0, dtype=dtype)
        self.electrons = electrons

    def __call__(
        self, r: Float[Array, "electrons dim"], parameters: Any, condition: Float[Array, " condition"]
    ) -> Float[Array, ""]:
        del parameters
        return _pair_sum(self.of_pairs(condition), r, self.electrons)

    def derivatives(
        self, r: Float[Array, "electrons dim"], parameters: Any, condition: Float[Array, " condition"]
    ) -> tuple[Float[Array, ""], Float[Array, "electrons dim"], Float[Array, ""]]:
        del parameters
        return _pair_sum_derivatives(self.of_pairs(condition), r, self.electrons)

    def of_pairs(self, condition: Float[Array, " condition"]) -> PairFunction:
        """The pair function u of `(displacement, parallel)`, both with a leading axis over pairs."""

        def of_pairs(displacement, parallel):
            dtype = displacement.dtype
            turns = jnp.matmul(displacement, jnp.asarray(self.waves, dtype).T / (2 * np.pi), precision="highest")
            features, _ = cos_sin(turns)
            hidden = jax.nn.silu(self.film(self.hidden(features), condition.astype(dtype)))
            channels = self.output(hidden)
            return jnp.where(parallel, channels[:, 0], channels[:, 1])

        return of_pairs


def _pair_sum(of_pairs, r, electrons):
    """Σ_{i<j} u(r_i - r_j)."""
    first, second, parallel = _pairs(electrons)
    if len(first) == 0:
        return jnp.zeros((), r.dtype)
    return jnp.sum(of_pairs(r[first] - r[second], parallel))


def _pair_sum_derivatives(of_pairs, r, electrons):
    """Σ_{i<j} u(r_i - r_j) with its gradient and Laplacian: every pair has `dim` directions, however many electrons."""
    first, second, parallel = _pairs(electrons)
    if len(first) == 0:
        return jnp.zeros((), r.dtype), jnp.zeros_like(r), jnp.zeros((), r.dtype)
    displacement = r[first] - r[second]
    of_displacement = lambda x: of_pairs(x, parallel)
    slopes, curvature = [], jnp.zeros((), r.dtype)
    for axis in jnp.eye(r.shape[1], dtype=r.dtype):
        direction = jnp.broadcast_to(axis, displacement.shape)
        slope_of = lambda x, t=direction: jax.jvp(of_displacement, (x,), (t,))[1]
        slope, second_slope = jax.jvp(slope_of, (displacement,), (direction,))
        slopes.append(slope)
        # Both electrons of a pair move.
        curvature = curvature + 2 * jnp.sum(second_slope)
    incidence = np.zeros((len(r), len(first)))
    incidence[first, np.arange(len(first))], incidence[second, np.arange(len(first))] = 1, -1
    gradient = jnp.matmul(jnp.asarray(incidence, r.dtype), jnp.stack(slopes, axis=1), precision="highest")
    return jnp.sum(of_displacement(displacement)), gradient, curvature
