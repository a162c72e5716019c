from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, PyTree

from ..lattice import Lattice
from ._orbitals import AbstractOrbitals


class LowestPlaneWaves(AbstractOrbitals):
    r"""The plane waves $e^{i(G + \theta)\cdot r}$ of lowest energy under a twist that the parameters say.

    Which G are filled changes with the twist. Of waves of one length the first are taken.

    **Arguments:**

    - `lattice`: the periodic cell; `count`, the number of orbitals.
    - `twist`: θ as a function of the parameters, an angle in radians for each vector of the cell.

    **Raises:** `ValueError` if the number is not positive.
    """

    lattice: Lattice
    count: int = eqx.field(static=True)
    twist: Callable[[PyTree], Float[Array, " dim"]] = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"the number of plane waves must be positive, got {self.count}")

    @property
    def orbitals(self) -> int:
        return self.count

    def wave_vectors(self, parameters: PyTree) -> Float[Array, "orbitals dim"]:
        """G + θ of the orbitals, in inverse units of length."""
        turns = self.twist(parameters) / (2 * np.pi)
        # A whole turn is none: what is left moves no wave farther than half the diagonal of the reciprocal cell.
        turns = turns - jnp.round(turns)
        reciprocal = jnp.asarray(self.lattice.reciprocal, turns.dtype)
        offset = jnp.matmul(turns, reciprocal, precision="highest")
        waves = jnp.asarray(self._candidates(), turns.dtype) + offset[None]
        # Rounded, so that waves of one length keep their order.
        squares = jnp.sum(waves**2, axis=1)
        scale = float(np.sum(self.lattice.reciprocal[0] ** 2)) * 1e-9
        return waves[jnp.argsort(jnp.round(squares / scale) * scale, stable=True)[: self.count]]

    def _candidates(self) -> np.ndarray:
        """All vectors of a sphere that holds what any twist fills."""
        shift = 0.5 * float(np.sum(np.linalg.norm(self.lattice.reciprocal, axis=1)))
        radius = shift
        while True:
            vectors = self.lattice.reciprocal_vectors(radius)
            lengths = np.linalg.norm(vectors, axis=1)
            if 1 + np.sum(lengths < radius - 2 * shift) >= self.count:
                return np.concatenate([np.zeros((1, self.lattice.dim)), vectors])
            radius *= 1.2

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Complex[Array, "electrons orbitals"]:
        with jax.named_scope("qernel.orbitals.LowestPlaneWaves"):
            waves = self.wave_vectors(parameters).astype(r.dtype)
            phases = jnp.matmul(r, waves.T, precision="highest")
            return jax.lax.complex(jnp.cos(phases), jnp.sin(phases))
