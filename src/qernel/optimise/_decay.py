"""A learning rate that falls with the step."""

import dataclasses
from typing import Any

import jax.numpy as jnp

from ._checked import check_positive


@dataclasses.dataclass(frozen=True)
class Decay:
    r"""The schedule $\eta/(1 + t/\tau)$ of a learning rate, t the number of the step.

    It compares and hashes by value, so that a rebuilt run compiles nothing anew.

    **Arguments:** `start`, η; `decay`, τ in steps.

    **Raises:** `ValueError` if one of them is not positive.
    """

    start: float
    decay: float

    def __post_init__(self) -> None:
        check_positive(learning_rate=self.start, decay=self.decay)

    def __call__(self, step: Any) -> Any:
        """Learning rate at step t."""
        return self.start / (1 + jnp.asarray(step).astype(float) / self.decay)
