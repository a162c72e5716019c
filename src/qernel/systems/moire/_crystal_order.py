"""Order parameter of a charge crystal on the sites of the potential."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from qernel.hamiltonian import Hamiltonian
from qernel.observables import (
    Estimate,
    check_wave_vectors,
    density_waves,
    in_float64,
    periodic_cell,
    walker_means,
    zone_corners,
)


class CrystalOrder(eqx.Module):
    r"""Order of a crystal by $m_K = |\rho_K|/N$, $\rho_K = \sum_i e^{iK\cdot r_i}$; scalars but for `registries`.

    **Fields:**

    - `order`, `squared`: $\langle m\rangle$ and $\langle m^2\rangle$, averaged over the wave vectors.
      $N\langle m^2\rangle = S(K)$; it tends to 0 in a liquid as 1/N, and to a constant in a crystal.
    - `binder`: $2 - \langle m^4\rangle/\langle m^2\rangle^2$: 1 in a crystal, 0 where $\rho_K$ is a complex Gaussian
      (1/N for N independent electrons). Curves of different sizes cross at a continuous transition.
    - `registries`: share of samples in each of the three states of a √3 x √3 crystal, by the phase of
      $\sum_K\rho_K$ (K and the two corners equivalent to it, which a rotation by 120° about a site of the potential
      exchanges): nearest to 0, 120° and 240°, after a turn by 180° where $\langle\rho_K^3\rangle < 0$, as when one
      of the three sublattices is empty and not one alone is filled. A true ground state of a finite cell has thirds;
      None for other wave vectors.
    - `cubed`: $\mathrm{Re}\langle\bar\rho_K^3\rangle/N^3$ of the average over the three corners; None as well.

    **Source:** K. Binder, Z. Phys. B 43, 119 (1981), in the form for two components.
    """

    order: Estimate
    squared: Estimate
    binder: Estimate
    registries: Estimate | None
    cubed: Estimate | None


def crystal_order(
    samples: Float[np.ndarray | Array, "walkers records electrons dim"],
    hamiltonian: Hamiltonian,
    wave_vectors: Float[np.ndarray, "vectors dim"] | None = None,
) -> CrystalOrder:
    """Order parameter, Binder ratio and registries of a crystal with the given equivalent Bragg vectors.

    `wave_vectors` (inverse Bohr) defaults to the corner K of the first zone of the potential's lattice and the two
    equivalent to it, the crystal of one or two electrons on three sites.

    **Raises:** `ValueError` for open boundaries, wave vectors that are not periodic in the cell, or no default.
    """
    periodic_cell(hamiltonian)
    corners = wave_vectors is None
    if wave_vectors is None:
        primitive = hamiltonian.primitive
        # In the order of their angle, K and K' alternate.
        wave_vectors = np.zeros((0, 2)) if primitive is None else zone_corners(primitive)[::2]
        if len(wave_vectors) == 0:
            raise ValueError("the potential has no triangular lattice with zone corners: say which wave_vectors")
    vectors = check_wave_vectors(hamiltonian, wave_vectors)
    samples = in_float64(samples)
    order, powers, cubes = walker_means(Partial(_moments, vectors), samples)
    cubed = cubes.estimate()
    registries = None
    if corners:
        sign = -1.0 if cubed.value < 0 else 1.0
        registries = walker_means(Partial(_registries, vectors, np.float64(sign)), samples).estimate()
    return CrystalOrder(
        order=order.estimate(),
        squared=powers.jackknife(lambda moments: moments[0]),
        binder=powers.jackknife(lambda moments: 2 - moments[1] / moments[0] ** 2),
        registries=registries,
        cubed=cubed if corners else None,
    )


def _moments(vectors, r):
    re, im = density_waves(r, vectors) / len(r)
    squared = re**2 + im**2
    x, y = jnp.mean(re), jnp.mean(im)
    powers = jnp.stack([jnp.mean(squared), jnp.mean(squared**2)])
    return jnp.mean(jnp.sqrt(squared)), powers, x**3 - 3 * x * y**2


def _registries(vectors, sign, r):
    re, im = sign * jnp.mean(density_waves(r, vectors), axis=1)
    # cos(arg - 2πs/3) times the modulus, for s = 0, 1, 2.
    angles = 2 * np.pi / 3 * np.arange(3)
    nearest = jnp.argmax(re * np.cos(angles) + im * np.sin(angles))
    return (jnp.arange(3) == nearest).astype(r.dtype)
