"""One-body density matrix of a wavefunction, from samples and the wavefunction itself."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Complex, Float, Num, PRNGKeyArray, PyTree

from qernel.ansatz import Ansatz
from qernel.hamiltonian import Hamiltonian
from qernel.lattice import Lattice

from ._estimate import Estimate, WalkerMeans
from ._walker_means import periodic_cell, walker_means

Orbitals = Callable[[Float[Array, "points dim"], Any], Num[Array, "points orbitals"]]


def one_body_density_matrix(
    samples: Float[np.ndarray | Array, "walkers records electrons dim"],
    hamiltonian: Hamiltonian,
    ansatz: Ansatz,
    parameters: PyTree,
    orbitals: Orbitals,
    *,
    key: PRNGKeyArray,
    points: int = 1,
) -> WalkerMeans:
    r"""One-body density matrix $\gamma^\sigma_{ab} = \langle c^\dagger_{a\sigma}c_{b\sigma}\rangle$ in a basis.

    $$ \gamma^\sigma_{ab} = \sum_{i\in\sigma}\Bigl\langle \phi_a(r_i)\,\phi_b^*(r')\,
       \frac{\psi(\ldots r'\ldots)}{\psi(\ldots r_i\ldots)}\Bigr\rangle , $$

    $r'$ uniform in the cell in the place of electron i; the density within the basis is
    $\sum_{ab}\gamma_{ab}\,\phi_a^*\phi_b/\Omega$. The variance is finite, since $|\psi|^2$ is sampled.

    **Arguments:**

    - `samples`: drawn from $|\psi|^2$ of this `ansatz` at these `parameters`.
    - `orbitals(r, parameters)`: orthonormal under the average over the cell,
      $\frac1\Omega\int\phi_a^*\phi_b = \delta_{ab}$, as all of `qernel.orbitals` are.
    - `points`: positions $r'$ for each sample; each costs N evaluations of the wavefunction.

    **Returns:** [`WalkerMeans`][qernel.observables.WalkerMeans] of the shape (2 spins, orbitals, orbitals), complex, up
    first: `.estimate()` is the matrix with errors, and
    [`natural_occupations`][qernel.observables.natural_occupations] diagonalises it.

    **Raises:** `ValueError` for open boundaries or no points.
    """
    observe = Partial(_matrix, orbitals, *checked(hamiltonian, points), ansatz, parameters)
    return walker_means(observe, samples, key=key)


def natural_occupations(matrix: WalkerMeans) -> Estimate:
    """Eigenvalues of the Hermitian part of a one-body density matrix, descending, of shape (2 spins, orbitals).

    Errors by jackknife over the walkers. **Noise spreads eigenvalues**: of a noisy matrix the largest are too large and
    the smallest too small, negative even, by about the error of an element times the root of the number of (nearly)
    degenerate orbitals; no resampling removes it. More samples do, or a smaller basis.
    """

    def occupations(gamma):
        return np.linalg.eigvalsh((gamma + np.conj(np.swapaxes(gamma, 1, 2))) / 2)[:, ::-1]

    return matrix.jackknife(occupations)


def checked(hamiltonian: Hamiltonian, points: int) -> tuple[Lattice, int, int]:
    """Cell, number of electrons with spin up, and number of points."""
    if points < 1:
        raise ValueError(f"a one-body density matrix needs at least one point for each sample, got {points}")
    return periodic_cell(hamiltonian), hamiltonian.electrons[0], points


def _matrix(orbitals, cell, up, points, ansatz, parameters, r, key):
    moved, ratios = moved_electrons(cell, points, ansatz, parameters, r, key)
    here, there = (orbitals(x, parameters).astype(ratios.dtype) for x in (r, moved))
    of = lambda spin: here[spin].T @ (ratios[:, spin].T @ jnp.conj(there)) / points
    return jnp.stack([of(slice(None, up)), of(slice(up, None))])


def moved_electrons(
    cell: Lattice,
    points: int,
    ansatz: Ansatz,
    parameters: PyTree,
    r: Float[Array, "electrons dim"],
    key: PRNGKeyArray,
) -> tuple[Float[Array, "points dim"], Complex[Array, "points electrons"]]:
    """Uniform positions r', and ψ with electron i at r' relative to ψ as it is."""
    n = len(r)
    uniform = jax.random.uniform(key, (points, cell.dim), r.dtype)
    moved = jnp.matmul(uniform, jnp.asarray(cell.matrix, r.dtype), precision=jax.lax.Precision.HIGHEST)

    def log_psi(number):
        # The configuration as it is comes last, in the same loop: a determinant of its own beside the loop would be
        # a second batched LAPACK call that does not wait for the first.
        point, electron = number // n, number % n
        place = jnp.where(number < points * n, moved[point % points], r[electron])
        value = ansatz(r.at[electron].set(place), parameters)
        return value.log_magnitude, value.phase

    log, phase = jax.lax.map(log_psi, jnp.arange(points * n + 1))
    modulus, angle = jnp.exp(log[:-1] - log[-1]), phase[:-1] - phase[-1]
    ratios = jax.lax.complex(modulus * jnp.cos(angle), modulus * jnp.sin(angle))
    return moved, ratios.reshape(points, n)
