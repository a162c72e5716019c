"""The Laplacian from a few random directions."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.ansatz import AtParameters, Derivatives, LogPsi, ProbedAnsatz, node_noise
from qernel.propagation import Probes, random_probes

from ._derivatives import AbstractLaplacian, AbstractRandomLaplacian, without_constants
from ._forward import FolxLaplacian


class ProbedLaplacian(AbstractRandomLaplacian):
    r"""Estimates the Laplacian of log ψ from `colours` times dim random directions in place of one for each coordinate.

    In every direction all electrons of one colour move along one axis, forwards or backwards at random
    ([`Probes`][qernel.propagation.Probes]): the sum of the second derivatives along them is the Laplacian in the mean
    over the signs, and so is the mean energy. Value and gradient are exact. Two control variates keep the noise below
    the spread of the local energies between walkers:

    - the same directions through the wavefunction whose network is held at its values, and whose whole Laplacian costs
      next to nothing ([`log_sum_determinants_probed`][qernel.orbitals.log_sum_determinants_probed]);
    - next to a node, the products of the gradient ([`node_noise`][qernel.ansatz.node_noise]).

    An ansatz with a method `probed_derivatives` ([`ProbedAnsatz`][qernel.ansatz.ProbedAnsatz],
    [`Qernel`][qernel.ansatz.Qernel] among them) does both. Any other goes through a general forward Laplacian along the
    directions, with the second control variate only: give it as many colours as its noise needs.

    The cost of a local energy is that of 2 + `colours` dim passes and one backward pass, where the exact one takes
    2 + N dim: the more electrons, the more it saves. As many colours as electrons make it exact. Its estimates take a
    `key` each: [`local_energies`][qernel.gradient.local_energies] gives every walker its own.

    **Arguments:** `colours`, at most as many as there are electrons are used.

    **Raises:** `ValueError` for no colour; where it is called, without a key.

    **Source:** forward Laplacian, arXiv:2307.08214; estimates of traces, see [`Probes`][qernel.propagation.Probes].

    **Example:**

    ```python
    import jax
    import jax.numpy as jnp
    from qernel.ansatz import LogPsi
    from qernel.laplacian import ProbedLaplacian

    def harmonic(r):
        return LogPsi(-jnp.sum(r**2) / 2, jnp.zeros((), r.dtype), real=True)

    r = jnp.array([[0.3, 0.1], [0.2, 0.4]])
    derivatives = ProbedLaplacian(colours=2)(harmonic, r, key=jax.random.key(0))
    assert jnp.allclose(derivatives.laplacian, -4.0)
    ```
    """

    colours: int = eqx.field(static=True, default=2)

    def __check_init__(self):
        if self.colours < 1:
            raise ValueError(f"a probed Laplacian needs at least one colour, got {self.colours}")

    def __call__(
        self,
        log_psi: Callable[[Float[Array, "electrons dim"]], LogPsi],
        r: Float[Array, "electrons dim"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Derivatives:
        if key is None:
            raise ValueError("a probed Laplacian draws random directions: give it a key")
        n, dim = r.shape
        return probed_derivatives(log_psi, r, random_probes(key, n, dim, min(self.colours, n), r.dtype))

    def exact(self, electrons: int) -> AbstractLaplacian:
        """Return the method with as many colours as electrons, a direction for every coordinate."""
        return ProbedLaplacian(colours=electrons)


def probed_derivatives(
    log_psi: Callable[[Float[Array, "electrons dim"]], LogPsi], r: Float[Array, "electrons dim"], probes: Probes
) -> Derivatives:
    """Differentiate log ψ along given directions, as [`ProbedLaplacian`][qernel.laplacian.ProbedLaplacian] does.

    **Arguments:** `log_psi`, function of the positions `r`; `probes`, directions, such as those of
    [`random_probes`][qernel.propagation.random_probes].
    """
    log_psi = without_constants(log_psi)
    if isinstance(log_psi, AtParameters) and isinstance(log_psi.ansatz, ProbedAnsatz):
        return log_psi.ansatz.probed_derivatives(r, log_psi.parameters, probes)
    vectors = probes.vectors()

    def along(distances):
        return log_psi(r + jnp.tensordot(distances[:, 0], vectors, 1))

    found = FolxLaplacian()(along, jnp.zeros((len(vectors), 1), r.dtype))
    # The gradient waits for the rest (`where` changes nothing): two batched factorisations at once can deadlock XLA's
    # CPU pool.
    gradient = _gradient(log_psi, jnp.where(jnp.isnan(found.laplacian.real), jnp.nan, r), found.log_psi.real)
    return Derivatives(found.log_psi, gradient, found.laplacian + node_noise(probes, gradient))


def _gradient(log_psi, r, real):
    if real:
        return jax.grad(lambda x: log_psi(x).log_magnitude)(r)

    def parts(x):
        value = log_psi(x)
        return value.log_magnitude, value.phase

    _, pull = jax.vjp(parts, r)
    one, zero = jnp.ones((), r.dtype), jnp.zeros((), r.dtype)
    return jax.lax.complex(pull((one, zero))[0], pull((zero, one))[0])
