from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree


class Frozen(eqx.Module):
    """A module whose arrays are constants: used as it is, never trained.

    `Frozen(module)(...)` calls the module; [`trainable`][qernel.layers.trainable] leaves its arrays out, so
    that no score, gradient or optimiser state is spent on them.
    """

    module: Any

    def __call__(self, *args: Any) -> Any:
        """Call the module with its arrays held constant."""
        arrays, static = eqx.partition(self.module, eqx.is_array)
        return eqx.combine(jax.lax.stop_gradient(arrays), static)(*args)


def trainable(model: PyTree) -> PyTree[bool]:
    """True for every array of `model` that is trained: the real floating ones that are not `Frozen`.

    The result has the shape of `model` and is made for `equinox.partition(model, trainable(model))`.
    """

    def mark(node):
        if isinstance(node, Frozen):
            return jax.tree.map(lambda _: False, node)
        return eqx.is_inexact_array(node)

    return jax.tree.map(mark, model, is_leaf=lambda node: isinstance(node, Frozen))
