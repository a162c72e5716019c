"""The unit in which an optimiser sees energies, so that one length of step suits every Hamiltonian."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from qernel.hamiltonian import Family
from qernel.lattice import Lattice

# In imaginary time an excitation of energy E decays as exp(-E t), and a step of more than 2/E overshoots. Networks
# reach excitations of several times the scale E that is measured below. Three fermions in traps: 0.3/E converges
# fastest, 0.8/E runs away, whatever the trust region. Electrons in periodic potentials take 0.1/E well.
_SCALES = 10


def energy_unit(
    kinetic: Float[Array, "hamiltonians walkers"], finite: Bool[Array, "hamiltonians walkers"], family: Family
) -> Float[Array, " hamiltonians"]:
    r"""Ten times the energy scale of each Hamiltonian of a family,

    $$ E_h = \max\Bigl(\frac{4\,\langle T\rangle_h}{N d},\ \frac{p_h}2 \Bigl(\frac\pi a\Bigr)^2,\
       \frac{p_h}2\,b^2\Bigr), $$

    in d dimensions: the quantum of an oscillator that holds as much kinetic energy T as one electron does along one
    axis; and in a periodic cell no less than what confines one electron to its share $a^d$ of the volume, nor than the
    kinetic energy of its shortest reciprocal vector b, since there a state may have hardly any kinetic energy: half of
    what a pair costs that is excited to ±b, the lowest excitation of two electrons. p is the prefactor of the kinetic
    energy, 1/m.

    **Arguments:** `kinetic`, local kinetic energies; `finite`, the walkers that count.
    """
    hamiltonian = family.hamiltonian
    count = jnp.maximum(jnp.sum(finite, axis=1), 1).astype(kinetic.dtype)
    mean = jnp.sum(jnp.where(finite, kinetic, 0), axis=1) / count
    # A mean over few walkers may have either sign.
    scale = 4 * jnp.abs(mean) / (hamiltonian.n_electrons * hamiltonian.dim)
    if hamiltonian.cell is not None:
        share = (hamiltonian.cell.volume / hamiltonian.n_electrons) ** (1 / hamiltonian.dim)
        prefactors = jax.vmap(hamiltonian.kinetic.prefactor, axis_size=family.size)(family.parameters)
        wave = max(np.pi / share, Lattice(hamiltonian.cell.reciprocal).shortest_translation())
        scale = jnp.maximum(scale, (0.5 * wave**2 * prefactors).astype(scale.dtype))
    return _SCALES * jnp.maximum(scale, jnp.finfo(scale.dtype).tiny ** 0.25)
