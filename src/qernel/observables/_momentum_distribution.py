"""Momentum distribution of a wavefunction."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from qernel.ansatz import Ansatz
from qernel.hamiltonian import Hamiltonian

from ._estimate import Estimate, estimates
from ._one_body import checked, moved_electrons
from ._walker_means import walker_means
from ._wave_vectors import check_wave_vectors, default_wave_vectors


class MomentumDistribution(eqx.Module):
    """Occupations n(k) of plane waves: `total`, and `of_spins`, up first.

    The sum of `total` over all k is the number of electrons, and no occupation of one spin exceeds 1.
    `wave_vectors` in inverse effective Bohr radii.
    """

    wave_vectors: Float[np.ndarray, "vectors dim"]
    total: Estimate
    of_spins: Estimate


def momentum_distribution(
    samples: Float[np.ndarray | Array, "walkers records electrons dim"],
    hamiltonian: Hamiltonian,
    ansatz: Ansatz,
    parameters: PyTree,
    wave_vectors: Float[np.ndarray, "vectors dim"] | None = None,
    *,
    key: PRNGKeyArray,
    points: int = 1,
    twist: Sequence[float] | None = None,
) -> MomentumDistribution:
    r"""Occupations $n_\sigma(k) = \langle c^\dagger_{k\sigma}c_{k\sigma}\rangle$: the diagonal of the one-body
    density matrix in plane waves,

    $$ n_\sigma(k) = \sum_{i\in\sigma}\Bigl\langle e^{ik\cdot(r_i - r')}
       \frac{\psi(\ldots r'\ldots)}{\psi(\ldots r_i\ldots)}\Bigr\rangle , \qquad \sum_{k\sigma} n_\sigma(k) = N . $$

    **Arguments:** as for [`one_body_density_matrix`][qernel.observables.one_body_density_matrix], and

    - `wave_vectors`: in inverse Bohr (default: 0 and all of the cell up to three inverse spacings 2π/d).
    - `twist`: angles in radians, one for each cell vector, of an ansatz with $\psi(r + A_d) = e^{i\theta_d}\psi$: its
      momenta are reciprocal vectors shifted by $\sum_d\theta_d b_d/2\pi$; so are the default ones.

    **Raises:** `ValueError` for open boundaries, no points, or a wave vector that does not fit cell and twist.
    """
    cell, up, points = checked(hamiltonian, points)
    angles = np.zeros(cell.dim) if twist is None else np.asarray(twist, np.float64)
    if angles.shape != (cell.dim,):
        raise ValueError(f"a twist needs {cell.dim} angles, got shape {angles.shape}")
    shift = angles @ cell.reciprocal / (2 * np.pi)
    if wave_vectors is None:
        wave_vectors = np.concatenate([np.zeros((1, cell.dim)), default_wave_vectors(hamiltonian)]) + shift
    vectors = check_wave_vectors(hamiltonian, wave_vectors - shift) + shift
    observe = Partial(_occupations, vectors, cell, up, points, ansatz, parameters)
    total, of_spins = estimates(walker_means(observe, samples, key=key))
    return MomentumDistribution(vectors, total, of_spins)


def _occupations(vectors, cell, up, points, ansatz, parameters, r, key):
    moved, ratios = moved_electrons(cell, points, ansatz, parameters, r, key)
    waves = lambda x: _plane_waves(x, vectors.astype(x.dtype))
    # <k|r'> of each point for every electron, before the sum over points.
    terms = jnp.real(waves(r) * (ratios.T @ jnp.conj(waves(moved)))) / points
    of_spins = jnp.stack([jnp.sum(terms[:up], axis=0), jnp.sum(terms[up:], axis=0)])
    return jnp.sum(of_spins, axis=0), of_spins


def _plane_waves(r, vectors):
    phase = jnp.matmul(r, vectors.T, precision=jax.lax.Precision.HIGHEST)
    return jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
