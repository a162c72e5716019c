"""The two kinetic estimators of one step, compared."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from qernel.gradient import LocalEnergy
from qernel.observables import node_factor

# In units of the mean kinetic energy: from there on a sample counts as near a node. A bound from the samples' order, as
# in an evaluation, would be one more sort to compile.
_NEAR = 10.0


def kinetic_difference(
    energies: LocalEnergy, finite: Bool[Array, "hamiltonians walkers"]
) -> tuple[Float[Array, " hamiltonians"], Float[Array, " hamiltonians"]]:
    r"""Mean of $-\frac12\nabla^2\psi/\psi - \frac12|\nabla\log\psi|^2$ over the walkers of one step, and its error.

    Zero within its error if ψ is smooth. Samples of the second estimator near a node, where it has no finite variance,
    are smoothed as in [`smooth_node_tails`][qernel.observables.smooth_node_tails].

    **Arguments:** `energies` of all walkers; `finite`, those that count. In effective Hartree; NaN without a walker.
    """
    laplacian, gradient = energies.kinetic.real, energies.kinetic_from_gradient
    finite = finite & jnp.isfinite(laplacian) & jnp.isfinite(gradient)
    count = jnp.sum(finite, axis=1, keepdims=True).astype(laplacian.dtype)
    mean = lambda x: jnp.sum(jnp.where(finite, x, 0), axis=1, keepdims=True) / count
    near = _NEAR * mean(jnp.abs(laplacian))
    tiny = jnp.finfo(gradient.dtype).tiny
    smooth = gradient * node_factor(near / jnp.maximum(gradient, tiny), not jnp.iscomplexobj(energies.kinetic))
    difference = laplacian - jnp.where(gradient > near, smooth, gradient)
    centre = mean(difference)
    error = jnp.sqrt(mean((difference - centre) ** 2) / count)
    return centre[:, 0], error[:, 0]
