"""Is a wavefunction real that says it is?"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qernel.ansatz import Ansatz
from qernel.compilation import compiled

from ._finding import Finding
from ._values import log_psi

# In radians: float64 rounds at 1e-16, and a phase that turns does so by about one from place to place.
_LIMIT = 1e-6


def realness(ansatz: Ansatz, parameters: Any, r: Float[Array, "walkers electrons dim"]) -> Finding:
    """The phase of a `LogPsi(real=True)` is 0 or π at random places and along a path, and has no derivative."""
    if not eqx.filter_eval_shape(ansatz, r[0], parameters).real:
        return Finding("realness", True, "complex, and says so")
    # Straight from one configuration to another, in as many steps as there are walkers: the same program serves.
    steps = jnp.linspace(0, 1, len(r), dtype=r.dtype)[:, None, None]
    path = (1 - steps) * r[:1] + steps * r[-1:]
    phases = np.concatenate([log_psi(ansatz, parameters, x)[1] for x in (r, path)])
    few, others = r[:8], jnp.roll(r, 1, axis=0)[:8]
    off, turn = _largest(np.sin(phases)), _largest(_turns(ansatz, parameters, few, others - few))
    return Finding(
        "realness",
        max(off, turn) < _LIMIT,
        f"says it is real; its phase is off 0 and π by {off:.1e} and turns at {turn:.1e} rad from one to another",
    )


@compiled
def _turns(ansatz, parameters, r, towards):
    of_one = lambda x, t: jax.jvp(lambda y: ansatz(y, parameters).phase, (x,), (t,))[1]
    return jax.vmap(of_one)(r, towards)


def _largest(values):
    """Of the finite ones: what is not finite has a finding of its own."""
    values = np.abs(np.asarray(values))
    return float(np.max(values[np.isfinite(values)], initial=0.0))
