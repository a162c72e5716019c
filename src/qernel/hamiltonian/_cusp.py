import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ._coulomb_divergence import CoulombDivergence
from ._in_phase import without_phase
from ._kinetic import Kinetic


class Cusp(eqx.Module):
    r"""What the electron-electron cusps of a Hamiltonian need to know, a function of its parameters,

    $$ \gamma_{ij}(\lambda) = \frac{S(\lambda)\, q_i q_j}{p(\lambda)} , $$

    for a repulsion $S q_i q_j / r_{ij}$ beside a kinetic energy $-\frac p2\sum_i\nabla_i^2$. An eigenstate then has
    $\partial_{r}\log\psi = \gamma_{ij}\,\Gamma$ where electrons i and j meet, with the
    [Kato slope][qernel.orbitals.cusp_slope] Γ of effective atomic units (S = p = 1). In inverse units of length.

    Made by [`Hamiltonian.cusp`][qernel.hamiltonian.Hamiltonian.cusp]; it holds no arrays, and knows parameters
    [in a phase][qernel.hamiltonian.InPhase] as well as plain ones.

    **Source:** T. Kato, Commun. Pure Appl. Math. 10, 151 (1957).
    """

    kinetic: Kinetic
    divergences: tuple[CoulombDivergence, ...]
    electrons: int = eqx.field(static=True)

    def __call__(self, parameters: PyTree) -> Float[Array, "electrons electrons"]:
        """γ of every pair, with zeros on the diagonal."""
        plain = without_phase(parameters)
        prefactor = jnp.asarray(self.kinetic.prefactor(plain), float)
        nothing = jnp.zeros((self.electrons, self.electrons), prefactor.dtype)
        return sum((found(self.electrons, plain) for found in self.divergences), nothing) / prefactor
