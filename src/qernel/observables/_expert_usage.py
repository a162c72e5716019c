"""Which experts serve which Hamiltonians."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from qernel.ansatz import Qernel
from qernel.hamiltonian import Family


def expert_usage(
    ansatz: Qernel, family: Family, samples: Float[np.ndarray, "hamiltonians walkers records electrons dim"]
) -> tuple[Float[np.ndarray, "hamiltonians layers experts"], Float[np.ndarray, "hamiltonians layers experts"]]:
    """Mean gate of every expert over electrons and samples, and its error from the spread of the walkers.

    For softmax gates the shares of a layer sum to one. Where an expert serves one phase alone its share changes with
    the phase; where the share jumps and no energies cross, the routing makes a transition that the Hamiltonian has not.

    **Arguments:** `samples`: positions drawn from |ψ|² at every Hamiltonian.
    """

    @eqx.filter_jit
    def of_record(ansatz, parameters, r):
        gates = jax.vmap(jax.vmap(ansatz.expert_gates, in_axes=(0, None)))(r, parameters)
        return jnp.mean(gates, axis=3)

    records = [np.asarray(of_record(ansatz, family.parameters, jnp.asarray(r))) for r in np.moveaxis(samples, 2, 0)]
    of_walkers = np.nanmean(np.stack(records).astype(np.float64), axis=0)
    count = np.sum(np.isfinite(of_walkers), axis=1)
    return np.nanmean(of_walkers, axis=1), np.nanstd(of_walkers, axis=1, ddof=1) / np.sqrt(count)
