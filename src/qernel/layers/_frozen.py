from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree


class Frozen(eqx.Module):
    """A module whose arrays are constants: used as it is, never trained.

    `Frozen(module)(...)` calls the `module`; [`trainable`][qernel.layers.trainable] leaves its arrays out, so
    that no score, gradient or optimiser state is spent on them.
    """

    module: Any

    def __call__(self, *args: Any) -> Any:
        """Call the module with its arrays held constant."""
        arrays, static = eqx.partition(self.module, eqx.is_array)
        return eqx.combine(jax.lax.stop_gradient(arrays), static)(*args)


def trainable(model: PyTree) -> PyTree[bool]:
    """Mark the arrays of `model` that are trained: the floating ones that are not `Frozen`.

    **Returns:** a pytree of the structure of `model`, `True` where trained, made for `equinox.partition`.

    **Example:**

    ```python
    import equinox as eqx
    import jax
    from qernel.layers import Frozen, Linear, trainable

    key_a, key_b = jax.random.split(jax.random.key(0))
    model = Linear(2, 3, key=key_a), Frozen(Linear(3, 3, key=key_b))
    trained, fixed = eqx.partition(model, trainable(model))
    assert len(jax.tree.leaves(trained)) == 2
    ```
    """

    def mark(node):
        if isinstance(node, Frozen):
            return jax.tree.map(lambda _: False, node)
        return eqx.is_inexact_array(node)

    return jax.tree.map(mark, model, is_leaf=lambda node: isinstance(node, Frozen))
