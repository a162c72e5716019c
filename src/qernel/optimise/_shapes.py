"""Arrays of one shape stacked: one kernel for all of them in place of one for each."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Shapes(eqx.Module):
    """Groups of the arrays of a list that have one shape and dtype, by their positions in the list."""

    positions: list[list[int]] = eqx.field(static=True)

    @staticmethod
    def of(arrays: Sequence[Float[Array, "..."]]) -> "Shapes":
        """Group arrays."""
        positions = defaultdict(list)
        for number, array in enumerate(arrays):
            positions[array.shape, array.dtype].append(number)
        return Shapes(list(positions.values()))

    def stacked(self, entries: Sequence) -> list:
        """Stack the entries at the positions of each shape."""
        return [_stack(self._at(numbers, entries)) for numbers in self.positions]

    def map(self, function: Callable[..., Any], stacked: Sequence, entries: Sequence) -> list:
        """Stack `function(one of a stack, its entry)`; entries may differ in form where the arrays do not."""
        results = []
        for numbers, stack in zip(self.positions, stacked, strict=True):
            own = self._at(numbers, entries)
            forms = {(jax.tree.structure(entry), *(leaf.shape for leaf in jax.tree.leaves(entry))) for entry in own}
            if len(forms) == 1:
                results.append(jax.vmap(function)(stack, _stack(own)))
            else:
                each = [jax.tree.map(lambda x, number=number: x[number], stack) for number in range(len(own))]
                results.append(_stack([function(*pair) for pair in zip(each, own, strict=True)]))
        return results

    def split(self, stacked: Sequence[Float[Array, "..."]]) -> list:
        """Undo `stacked`: the entries in their order."""
        entries: dict[int, Any] = {}
        for numbers, arrays in zip(self.positions, stacked, strict=True):
            entries |= zip(numbers, arrays, strict=True)
        return [entries[number] for number in range(len(entries))]

    @staticmethod
    def _at(numbers, entries):
        return [entries[number] for number in numbers]


def _stack(entries):
    # Of NumPy's arrays one of its own: JAX would compile a program for each shape.
    return jax.tree.map(lambda *x: (np if isinstance(x[0], np.ndarray) else jnp).stack(x), *entries)
