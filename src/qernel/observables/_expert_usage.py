"""Which experts serve which Hamiltonians."""

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Float

from qernel.ansatz import CompetingPhases, Qernel
from qernel.hamiltonian import Family

from ._estimate import Estimate
from ._walker_means import walker_means


def expert_usage(
    ansatz: Qernel | CompetingPhases,
    family: Family,
    samples: Float[np.ndarray, "hamiltonians walkers records electrons dim"],
) -> Estimate:
    """Mean gate of every expert over electrons and samples, of the shape (hamiltonians, layers, experts).

    For softmax gates the shares of a layer sum to one. Where an expert serves one phase alone its share changes with
    the phase; where the share jumps and no energies cross, the routing makes a transition that the Hamiltonian has not.

    **Arguments:** `samples`: positions drawn from |ψ|² at every Hamiltonian.
    """
    rows = [walker_means(Partial(_gates, ansatz, family.select(h)), x).estimate() for h, x in enumerate(samples)]
    return Estimate(np.stack([row.value for row in rows]), np.stack([row.error for row in rows]))


def _gates(ansatz, parameters, r):
    return jnp.mean(ansatz.expert_gates(r, parameters), axis=1)
