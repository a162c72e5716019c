"""A wavefunction with a good total momentum."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Complex, Float, PRNGKeyArray

from qernel.lattice import Supercell
from qernel.propagation import Probes

from ._contract import Ansatz, Derivatives, DifferentiableAnsatz, LogPsi, ProbedAnsatz


class MomentumProjected(eqx.Module):
    r"""The part of a wavefunction that has the total momentum K,

    $$ \psi_K(r) = \sum_t e^{-iK\cdot t}\,\psi(r + t), \qquad \psi_K(r + t) = e^{iK\cdot t}\,\psi_K(r) , $$

    where t are the translations of the primitive lattice inside the supercell (all electrons move together). A trained
    network may break this symmetry, as a crystal in one place does; the exact ground state of a finite cell does not,
    and where levels of other momenta are well apart the projected energy is the lower one. Costs as many evaluations as
    the supercell has cells. Train it, or project what is trained.

    **Arguments:** `ansatz`, any wavefunction that is periodic in the supercell and has `derivatives`; `supercell`;
    `momentum` K, one of [`Supercell.momenta`][qernel.lattice.Supercell.momenta] in inverse units of length, zero by
    default.

    **Raises:** `ValueError` if K is no momentum of the supercell, or the ansatz has no method `derivatives`.

    **Source:** quantum-number projection of neural wavefunctions, arXiv:2009.14777.
    """

    ansatz: DifferentiableAnsatz
    translations: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    characters: tuple[complex, ...] = eqx.field(static=True)

    def __init__(
        self,
        ansatz: Ansatz,
        supercell: Supercell,
        momentum: Float[np.ndarray, " dim"] | None = None,
    ):
        if not isinstance(ansatz, DifferentiableAnsatz):
            raise ValueError(f"{type(ansatz).__name__} has no method `derivatives`, which a projection needs")
        translations = supercell.primitive_translations()
        momentum = np.zeros(translations.shape[1]) if momentum is None else np.asarray(momentum, np.float64)
        turns = supercell.lattice.matrix @ momentum / (2 * np.pi)
        if not np.allclose(turns, np.round(turns), atol=1e-8):
            raise ValueError(f"{momentum.tolist()} is no momentum of this supercell: see Supercell.momenta()")
        characters = np.exp(-1j * translations @ momentum)
        self.ansatz = ansatz
        self.translations = tuple(map(tuple, translations.tolist()))
        self.characters = tuple(complex(np.round(x.real, 12), np.round(x.imag, 12)) for x in characters)

    def __call__(self, r: Float[Array, "electrons dim"], parameters: Any) -> LogPsi:
        """Logarithm of ψ at one configuration."""
        values = jax.vmap(lambda x: self.ansatz(x, parameters))(self._everywhere(r))
        return self._sum(values)[0]

    def derivatives(self, r: Float[Array, "electrons dim"], parameters: Any) -> Derivatives:
        r"""With the share $p_t$ of each translation in the sum, $\nabla\log\psi = \sum_t p_t\nabla\log\psi_t$ and
        $\nabla^2\log\psi = \sum_t p_t(\nabla^2\log\psi_t + (\nabla\log\psi_t)^2) - (\nabla\log\psi)^2$."""
        return self._derivatives(self.ansatz.derivatives, r, parameters)

    def probed_derivatives(self, r: Float[Array, "electrons dim"], parameters: Any, probes: Probes) -> Derivatives:
        """As `derivatives`, from estimates of the Laplacians of all translations along the same random directions if
        the ansatz has them."""
        if not isinstance(self.ansatz, ProbedAnsatz):
            return self.derivatives(r, parameters)
        of_one = self.ansatz.probed_derivatives
        return self._derivatives(lambda x, parameters: of_one(x, parameters, probes), r, parameters)

    def _derivatives(self, of_one, r, parameters):
        found = jax.vmap(lambda x: of_one(x, parameters))(self._everywhere(r))
        value, shares = self._sum(found.log_psi)
        gradients, laplacians = found.gradient, found.laplacian
        if not value.real:
            gradients, laplacians = gradients.astype(shares.dtype), laplacians.astype(shares.dtype)
        gradient = jnp.sum(shares[:, None, None] * gradients, axis=0)
        second = jnp.sum(shares * (laplacians + jnp.sum(gradients**2, axis=(1, 2))))
        return Derivatives(value, gradient, second - jnp.sum(gradient**2))

    def translated(
        self, positions: Float[Array, "hamiltonians walkers electrons dim"], *, key: PRNGKeyArray
    ) -> Float[Array, "hamiltonians walkers electrons dim"]:
        """Each walker moved by a random translation, under which $|\\psi|^2$ does not change.

        In a deep crystal walkers hardly ever change by themselves the registry in which the training left them.
        """
        chosen = jax.random.randint(key, positions.shape[:2], 0, len(self.translations))
        return positions + self._translations(positions.dtype)[chosen][:, :, None]

    def _everywhere(self, r):
        return r[None] + self._translations(r.dtype)[:, None]

    def _translations(self, dtype: DTypeLike) -> Float[Array, "translations dim"]:
        return jnp.asarray(self.translations, dtype)

    def _sum(self, values: LogPsi) -> tuple[LogPsi, Float[Array, " translations"] | Complex[Array, " translations"]]:
        """Logarithm of the sum, and the share of each translation in it."""
        characters = np.asarray(self.characters, np.complex128)
        largest = jax.lax.stop_gradient(jnp.max(values.log_magnitude))
        largest = jnp.where(jnp.isfinite(largest), largest, 0)
        modulus = jnp.exp(values.log_magnitude - largest)
        if values.real and not np.any(np.imag(characters)):
            signs = jnp.where(jnp.cos(jax.lax.stop_gradient(values.phase)) < 0, -1, 1).astype(modulus.dtype)
            terms = jnp.asarray(np.real(characters), modulus.dtype) * signs * modulus
            total = jnp.sum(terms)
            phase = jnp.where(total < 0, jnp.pi, 0).astype(modulus.dtype)
            return LogPsi(largest + jnp.log(jnp.abs(total)), phase, real=True), terms / total
        turns = jax.lax.complex(modulus * jnp.cos(values.phase), modulus * jnp.sin(values.phase))
        terms = jnp.asarray(characters, turns.dtype) * turns
        total = jnp.sum(terms)
        return LogPsi(largest + jnp.log(jnp.abs(total)), jnp.angle(total)), terms / total
