"""Any optax optimiser on the energy gradient."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Inexact, PyTree

from ._contract import AbstractOptimiser, LogPsiDerivatives, Update


class FirstOrder(AbstractOptimiser):
    """Feeds the energy gradient of all Hamiltonians to any optax transformation.

    Its steps are cheap; stochastic reconfiguration needs far fewer. The gradient is in effective Hartree: steps of
    plain gradient descent, unlike those of Adam, depend on the unit of energy.

    **Arguments:**

    - `transformation`: an `optax.GradientTransformation`.

    **Example:**

    ```python
    import optax
    from qernel.optimise import FirstOrder

    optimiser = FirstOrder(optax.adam(1e-3))
    ```
    """

    transformation: optax.GradientTransformation = eqx.field(static=True)

    def init(self, trained: PyTree) -> Any:
        return self.transformation.init(trained)

    def update(
        self,
        derivatives: LogPsiDerivatives,
        residuals: Inexact[Array, "hamiltonians walkers"],
        mask: Bool[Array, "hamiltonians walkers"],
        state: Any,
    ) -> Update:
        trained = derivatives.trained
        updates, state = self.transformation.update(derivatives.gradient(residuals), state, trained)
        one = jnp.ones(())
        return Update(
            eqx.apply_updates(trained, updates),
            state,
            optax.tree.norm(updates),
            jnp.nan * one,
            one,
            jnp.zeros((), bool),
        )
