"""The wavefunction of `compose_ansatz.py` with closed rules for its derivatives."""

import equinox as eqx
import jax.numpy as jnp
from compose_ansatz import TwoPhases

from qernel.ansatz import dressed_derivatives
from qernel.propagation import add, elementwise, own_jet


# --8<-- [start:derivatives]
class Faster(eqx.Module):
    """Any layer passes a jet (value, Jacobian, Laplacian) on; the last step makes log ψ of it."""

    ansatz: TwoPhases

    def __call__(self, r, parameters):
        return self.ansatz(r, parameters)

    def derivatives(self, r, parameters):
        a = self.ansatz
        condition = a.conditioner(parameters).astype(r.dtype)
        h = elementwise(jnp.tanh, a.lift.propagate(own_jet(a.embedding, r)))
        h = add(h, a.attention.propagate(a.film.propagate(h, condition)))
        weights = jnp.ones(len(a.references), r.dtype)
        jastrows = [a.cusp.derivatives(r, parameters)]
        return dressed_derivatives(a.dressing.propagate(h), a.references, weights, r, parameters, jastrows=jastrows)
        # --8<-- [end:derivatives]
