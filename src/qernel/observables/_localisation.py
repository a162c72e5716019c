"""Localisation length of the many-electron state."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from qernel.hamiltonian import Hamiltonian
from qernel.lattice import Lattice

from ._estimate import Estimate
from ._walker_means import in_float64, periodic_cell, walker_means


class Localisation(eqx.Module):
    r"""Localisation length λ and the modulus $|z|$ that it comes from; scalars.

    **Fields:** `length`, λ in effective Bohr radii; `modulus`, $|z|$. Where it is not above about three of its errors,
    λ is a lower bound only: metals have $z \to 0$.
    """

    length: Estimate
    modulus: Estimate


def localisation_length(
    samples: Float[np.ndarray | Array, "walkers records electrons dim"], hamiltonian: Hamiltonian
) -> Localisation:
    r"""Resta and Sorella's localisation length of N electrons in a periodic cell,

    $$ \lambda^2 = -\frac{1}{N|b|^2}\ln|z_b|^2 , \qquad z_b = \Bigl\langle e^{ib\cdot\sum_i r_i}\Bigr\rangle , $$

    with b the shortest reciprocal vectors of the periodic cell: $L = 2\pi/|b|$ makes it
    $-(L/2\pi)^2\ln|z|^2/N$. λ² is averaged over all shortest b (three directions of a triangular cell); each is the
    mean squared spread of the polarisation *along b*, so that in an elongated or skewed cell the result belongs to
    the directions across its most widely spaced lattice planes (spacing L), and is no isotropic average. λ stays
    finite in an insulator as the cell grows, and diverges in a metal. A state of definite lattice momentum has
    $z_b = 0$ exactly unless $Nb$ is a reciprocal vector of the potential's lattice. Error by jackknife.

    `modulus` is the root of the mean of $|z_b|^2$.

    **Raises:** `ValueError` for open boundaries.

    **Source:** arXiv:cond-mat/9808151.
    """
    cell = periodic_cell(hamiltonian)
    reciprocal = Lattice(cell.reciprocal)
    shell = cell.reciprocal_vectors(reciprocal.shortest_translation() * (1 + 1e-6))
    # One of each pair ±b: z of the other is its conjugate.
    vectors = shell[[i for i, b in enumerate(shell) if tuple(b) > tuple(-b)]]
    waves = walker_means(Partial(_twist_operator, vectors), in_float64(samples))
    scale = 1 / (hamiltonian.n_electrons * np.sum(vectors**2, axis=1))

    def length(z):
        with np.errstate(divide="ignore"):
            return np.sqrt(np.mean(-scale * np.log(np.abs(z) ** 2)))

    return Localisation(waves.jackknife(length), waves.jackknife(lambda z: np.sqrt(np.mean(np.abs(z) ** 2))))


def _twist_operator(vectors, r):
    phase = jnp.matmul(vectors, jnp.sum(r, axis=0), precision=jax.lax.Precision.HIGHEST)
    return jax.lax.complex(jnp.cos(phase), jnp.sin(phase))
