import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.propagation import Jet

from ._check import along_last, check_width
from ._linear import Linear


class AbstractRouter(eqx.Module):
    """Scores the experts of a mixture; a gate turns the scores into weights.

    A router of one's own returns logits of shape `(electrons, experts)`, one row an electron, or `(experts,)`
    if they do not depend on the electrons; `MixtureOfExperts` then does the routing once per Hamiltonian.

    The routers here all take `features`, `condition_size`, `experts`, `key` and `dtype` as keywords, needed
    or not, so that a wavefunction can build any of them alike.

    `experts` is the number of experts that are scored.
    """

    experts: eqx.AbstractVar[int]

    @abc.abstractmethod
    def __call__(
        self, x: Float[Array, "electrons features"], condition: Float[Array, " condition"] | None
    ) -> Float[Array, "*electrons experts"]:
        """Logits of the experts, higher for an expert that should contribute more."""


class ElectronRouter(AbstractRouter):
    r"""Routes each electron by its features, $\ell_i = x_i W + b$. The condition is not used.

    **Arguments:**

    - `features`: width of the electrons' features.
    - `experts`: number of experts.
    - `condition_size`: not used.
    - `scale`: factor of the initial weights, whose logits for features of unit variance have unit variance.
    - `key`, `dtype`, `precision`: see [`Linear`][qernel.layers.Linear].

    **Shapes:** `x (electrons, features)` -> `(electrons, experts)`.

    **Raises:** `ValueError` where [`Linear`][qernel.layers.Linear] does.
    """

    linear: Linear
    experts: int = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        experts: int,
        *,
        key: PRNGKeyArray,
        condition_size: int | None = None,
        scale: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        precision: str = "highest",
    ):
        del condition_size
        self.linear = Linear(features, experts, key=key, scale=scale, dtype=dtype, precision=precision)
        self.experts = experts

    def __call__(
        self, x: Float[Array, "electrons features"], condition: Float[Array, " condition"] | None
    ) -> Float[Array, "electrons experts"]:
        with jax.named_scope("qernel.layers.ElectronRouter"):
            return self.linear(x)

    def propagate(self, x: Jet, condition: Float[Array, " condition"] | None) -> Jet:
        """Apply the router to a [`Jet`][qernel.propagation.Jet], features with their first and second derivatives."""
        return self.linear.propagate(x)


class ConditionRouter(AbstractRouter):
    r"""Routes by the condition alone, $\ell = c W + b$: all electrons of a Hamiltonian use the same mixture.

    Nothing depends on the electrons, so that the gates are computed once per Hamiltonian, cost nothing in a
    Laplacian, and cannot harm smoothness in the positions.

    **Arguments:**

    - `condition_size`: width of the condition.
    - `experts`: number of experts.
    - `features`: not used.
    - `scale`: factor of the initial weights, whose logits for a condition of unit variance have unit variance.
    - `key`, `dtype`, `precision`: see [`Linear`][qernel.layers.Linear].

    **Shapes:** `condition (condition_size,)` -> `(experts,)`.

    **Raises:** `ValueError` if no condition is given, and where [`Linear`][qernel.layers.Linear] does.
    """

    linear: Linear
    experts: int = eqx.field(static=True)

    def __init__(
        self,
        condition_size: int,
        experts: int,
        *,
        key: PRNGKeyArray,
        features: int | None = None,
        scale: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        precision: str = "highest",
    ):
        del features
        self.linear = Linear(condition_size, experts, key=key, scale=scale, dtype=dtype, precision=precision)
        self.experts = experts

    def __call__(
        self, x: Float[Array, "electrons features"], condition: Float[Array, " condition"] | None
    ) -> Float[Array, " experts"]:
        if condition is None:
            raise ValueError("ConditionRouter: needs a condition; call the layer with layer(x, condition).")
        check_width("ConditionRouter", "a condition", condition, self.linear.in_size)
        with jax.named_scope("qernel.layers.ConditionRouter"):
            return self.linear(condition)

    def propagate(self, x: Jet, condition: Float[Array, " condition"] | None) -> Float[Array, " experts"]:
        """Apply the router; its logits depend on no position and have no derivatives."""
        return self(x.value, condition)


class JointRouter(AbstractRouter):
    r"""Routes by both, $\ell_i = x_i W^x + c W^c + b$: a condition shifts the choice of every electron.

    **Arguments:**

    - `features`: width of the electrons' features.
    - `condition_size`: width of the condition.
    - `experts`: number of experts.
    - `scale`: factor of the initial weights, whose logits for inputs of unit variance have unit variance.
    - `key`, `dtype`, `precision`: see [`Linear`][qernel.layers.Linear].

    **Shapes:** `x (electrons, features)`, `condition (condition_size,)` -> `(electrons, experts)`.

    **Raises:** `ValueError` if no condition is given, and where [`Linear`][qernel.layers.Linear] does.
    """

    electron: Linear
    condition: Linear
    experts: int = eqx.field(static=True)

    def __init__(
        self,
        features: int,
        condition_size: int,
        experts: int,
        *,
        key: PRNGKeyArray,
        scale: float = 1.0,
        dtype: DTypeLike = jnp.float32,
        precision: str = "highest",
    ):
        key_x, key_c = jax.random.split(key)
        # the two parts add in variance: together they have the scale of one
        part = scale / 2**0.5
        self.electron = Linear(features, experts, key=key_x, bias=False, scale=part, dtype=dtype, precision=precision)
        self.condition = Linear(condition_size, experts, key=key_c, scale=part, dtype=dtype, precision=precision)
        self.experts = experts

    def __call__(
        self, x: Float[Array, "electrons features"], condition: Float[Array, " condition"] | None
    ) -> Float[Array, "electrons experts"]:
        if condition is None:
            raise ValueError("JointRouter: needs a condition; call the layer with layer(x, condition).")
        check_width("JointRouter", "a condition", condition, self.condition.in_size)
        with jax.named_scope("qernel.layers.JointRouter"):
            return self.electron(x) + along_last(self.condition(condition), x)

    def propagate(self, x: Jet, condition: Float[Array, " condition"] | None) -> Jet:
        """Apply the router to a [`Jet`][qernel.propagation.Jet], features with their first and second derivatives."""
        logits = self.electron.propagate(x)
        return eqx.tree_at(lambda jet: jet.value, logits, self(x.value, condition))
