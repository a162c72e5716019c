"""The static structure factor from samples."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from qernel.hamiltonian import Hamiltonian

from ._estimate import Estimate
from ._walker_means import in_float64, walker_means
from ._wave_vectors import check_wave_vectors


def structure_factor(
    samples: Float[np.ndarray | Array, "walkers records electrons dim"],
    hamiltonian: Hamiltonian,
    wave_vectors: Float[np.ndarray, "vectors dim"],
) -> Estimate:
    r"""Static structure factor $S(q) = \langle|\rho_q|^2\rangle/N$ with $\rho_q = \sum_i e^{iq\cdot r_i}$.

    At `wave_vectors` in inverse Bohr.

    Independent electrons of uniform density have $S = 1$. A lattice-periodic density contributes
    $|\langle\rho_q\rangle|^2/N$ at its own wave vectors.

    **Raises:** `ValueError` if a wave vector is not periodic in the cell.
    """
    vectors = check_wave_vectors(hamiltonian, wave_vectors)
    return walker_means(Partial(_structure_factor, vectors), in_float64(samples)).estimate()


def _structure_factor(vectors, r):
    return jnp.sum(density_waves(r, vectors) ** 2, axis=0) / r.shape[0]


def density_waves(r: Float[Array, "electrons dim"], vectors: Float[Array, "vectors dim"]) -> Float[Array, "2 vectors"]:
    """Real and imaginary part of ρ_q = Σ_i exp(iq·r_i) of one configuration."""

    # One electron at a time: electrons x vectors of every walker at once would be gigabytes at N = 150.
    def add(total, position):
        phase = jnp.matmul(vectors, position, precision=jax.lax.Precision.HIGHEST)
        return total + jnp.stack([jnp.cos(phase), jnp.sin(phase)]), None

    return jax.lax.scan(add, jnp.zeros((2, len(vectors)), r.dtype), r)[0]
