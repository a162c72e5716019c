"""The wavefunction of `compose_ansatz.py` with closed rules for its derivatives."""

import equinox as eqx
import jax.numpy as jnp
from compose_ansatz import TwoPhases

from qernel.ansatz import dressed_derivatives, dressed_probed_derivatives
from qernel.propagation import add, elementwise, own_jet


# --8<-- [start:derivatives]
class Faster(eqx.Module):
    """Any layer passes a jet (value, Jacobian, Laplacian) on; the last step makes log ψ of it."""

    ansatz: TwoPhases

    def __call__(self, r, parameters):
        return self.ansatz(r, parameters)

    def derivatives(self, r, parameters):
        a = self.ansatz
        weights = jnp.ones(len(a.references), r.dtype)
        jastrows = [a.cusp.derivatives(r, parameters)]
        return dressed_derivatives(self.jet(r, parameters), a.references, weights, r, parameters, jastrows=jastrows)

    def jet(self, r, parameters, directions=None):
        a = self.ansatz
        condition = a.conditioner(parameters).astype(r.dtype)
        h = elementwise(jnp.tanh, a.lift.propagate(own_jet(a.embedding, r, directions)))
        return a.dressing.propagate(add(h, a.attention.propagate(a.film.propagate(h, condition))))
        # --8<-- [end:derivatives]

    # --8<-- [start:probed]
    def probed_derivatives(self, r, parameters, probes):
        a = self.ansatz
        return dressed_probed_derivatives(
            self.jet(r, parameters, probes),
            lambda x: a.network(x, parameters),
            a.references,
            jnp.ones(len(a.references), r.dtype),
            r,
            parameters,
            probes,
            jastrows=[a.cusp.derivatives(r, parameters)],
        )
        # --8<-- [end:probed]
