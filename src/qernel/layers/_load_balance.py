import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class LoadBalance(eqx.Module):
    r"""Statistics of how evenly experts are used, over all electrons (and walkers, Hamiltonians) given.

    - `load`: $f_e$, the fraction of electrons whose largest gate is that of expert $e$; sums to 1.
    - `importance`: $P_e$, the mean gate of expert $e$; sums to 1 for `Softmax`.
    - `active`: the fraction of electrons for which the gate of expert $e$ is not zero.
    - `loss`: $E \sum_e f_e P_e$; 1 for equal use, $E$ if one expert does everything.
    """

    load: Float[Array, " experts"]
    importance: Float[Array, " experts"]
    active: Float[Array, " experts"]
    loss: Float[Array, ""]


def load_balance(gates: Float[Array, "*batch electrons experts"]) -> LoadBalance:
    r"""Statistics of the use of experts from the gates of `MixtureOfExperts.gates`.

    Every axis but the last is averaged over. An electron with several equal largest gates counts for the
    first, and one with all gates zero for none.

    **Source:** arXiv:2101.03961, equations 4 to 6.
    """
    experts = gates.shape[-1]
    axes = tuple(range(gates.ndim - 1))
    with jax.named_scope("qernel.layers.load_balance"):
        fixed = jax.lax.stop_gradient(gates)
        chosen = jax.nn.one_hot(jnp.argmax(fixed, axis=-1), experts, dtype=gates.dtype)
        on = (fixed > 0).astype(gates.dtype)
        load = jnp.mean(chosen * on, axis=axes)
        importance = jnp.mean(gates, axis=axes)
        return LoadBalance(load, importance, jnp.mean(on, axis=axes), experts * jnp.sum(load * importance))


def load_balancing_loss(gates: Float[Array, "*batch electrons experts"]) -> Float[Array, ""]:
    r"""Auxiliary loss $E \sum_e f_e P_e$ that spreads electrons over experts; differentiable through $P$.

    Give it a small weight in a total loss, 0.01 in the source. For a router of the condition alone, give it the
    gates of all Hamiltonians of the family: balance over one Hamiltonian has no meaning there.

    **Source:** arXiv:2101.03961, equation 4.
    """
    return load_balance(gates).loss
