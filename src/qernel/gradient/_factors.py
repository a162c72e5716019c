r"""Scores as sums of outer products, found in the program that makes them.

The score of a weight that multiplies features is $\sum_t a_t\otimes b_t$, one term for each electron. Reverse-mode
differentiation ends in exactly this product, so its two factors, which are much smaller, can be taken instead.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped


@dataclasses.dataclass(frozen=True)
class Layout:
    """Permutation that makes scores (parts, *shape) of matrices (parts, a, b).

    **Fields:**

    - `matrix`: (a, b).
    - `steps`: each a `transpose` with its axes or a `reshape` to what follows the parts, for any number of parts.
    """

    matrix: tuple[int, int]
    steps: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def scores(self, matrices: Shaped[Array | np.ndarray, "parts a b"]) -> Shaped[Array | np.ndarray, " parts *shape"]:
        """Order matrices like the parameters."""
        for step, argument in self.steps:
            matrices = matrices.transpose(argument) if step == "transpose" else matrices.reshape(-1, *argument)
        return matrices

    def matrices(self, scores: Float[Array, " parts *shape"]) -> Float[Array, "parts a b"]:
        """Order scores, or parameters, like the factors: undoes [`scores`][qernel.gradient.Layout.scores]."""
        # The transpose of a permutation is its inverse.
        shape = jax.ShapeDtypeStruct((len(scores), *self.matrix), scores.dtype)
        return jax.linear_transpose(self.scores, shape)(scores)[0]


class Factors(eqx.Module):
    r"""Scores $O_{k,ab} = \sum_t \mathrm{left}_{kta}\,\mathrm{right}_{tb}$ of one array of parameters.

    `left` has one term an electron for each part k (log-modulus, and phase of a complex ψ). Scores that are no such sum
    are `left`, with one term and a `right` of one. `layout` puts them into the order of the parameters.
    """

    left: Float[Array, "*walkers parts terms a"]
    right: Float[Array, "*walkers terms b"]
    layout: Layout = eqx.field(static=True)

    @property
    def size(self) -> int:
        """Number of parameters."""
        return math.prod(self.layout.matrix)


class OuterProducts(NamedTuple):
    r"""Scores $O_{k,mn} = \sum_t \mathrm{rows}_{ktm}\,\mathrm{columns}_{ktn}$ of one array of parameters.

    m is its leading axis and n all others. If `columns` is None, $O_{k,mn} = \mathrm{rows}_{knm}$ with the scores
    themselves as `rows`: they are no such sum, or have one axis.
    """

    rows: Float[Array, "*walkers parts terms m"]
    columns: Float[Array, "*walkers parts terms n"] | None


def factorised(function: Callable[..., Any]) -> Callable[..., list[Factors]]:
    """Make of a `function` that returns scores `(parts, *shape)` of one walker one that computes their factors.

    Factors are taken where they are smaller than the scores.
    """
    return _instead(function, _factors)


def outer_products(function: Callable[..., Any]) -> Callable[..., list[OuterProducts]]:
    """Make of a `function` that returns scores `(parts, *shape)` of one walker one that computes their
    [`OuterProducts`][qernel.gradient.OuterProducts]."""
    return _instead(function, _outer_products)


def _instead(function, form):
    """Make a function that computes, in place of each output, what `form` takes from the program that makes it."""

    def instead(*arguments):
        closed = jax.make_jaxpr(function)(*arguments)
        makers = {variable: equation for equation in closed.jaxpr.eqns for variable in equation.outvars}
        forms = [form(variable, makers) for variable in closed.jaxpr.outvars]
        wanted = closed.jaxpr.replace(
            outvars=[variable for variables, _ in forms for variable in variables],
            debug_info=closed.jaxpr.debug_info.with_unknown_names(),
        )
        values = iter(jex.jaxpr_as_fun(jex.ClosedJaxpr(wanted, closed.consts))(*jax.tree.leaves(arguments)))
        return [made(*(next(values) for _ in variables)) for variables, made in forms]

    return instead


class _Product(NamedTuple):
    """Product of matrices in the program, and the steps from it to the scores, that change only their order.

    `axis` is that of the parts, the one axis that is followed; `of` the number of the operand that has it.
    """

    operands: list
    contracted: tuple[tuple[int, ...], tuple[int, ...]]
    axis: int
    of: int
    steps: tuple[tuple[str, tuple[int, ...]], ...]

    def factors(self, *values) -> Factors:
        free = [_free_axes(value.ndim, axes) for value, axes in zip(values, self.contracted, strict=True)]
        parts = free[self.of][self.axis - self.of * len(free[0])]
        left = _terms_first(values[self.of], self.contracted[self.of], parts)
        right = _terms_first(values[1 - self.of], self.contracted[1 - self.of])[0]
        # From (parts, a, b) to the free axes of one operand, the parts among them, and those of the other.
        own = [axis for axis in free[self.of] if axis != parts]
        sizes = [values[self.of].shape[axis] for axis in own]
        sizes += [values[1 - self.of].shape[axis] for axis in free[1 - self.of]]
        order = [1 + own.index(axis) if axis != parts else 0 for axis in free[self.of]]
        others = list(range(1 + len(own), 1 + len(sizes)))
        order = order + others if self.of == 0 else others + order
        steps = (("reshape", tuple(sizes)), ("transpose", tuple(order)), *self.steps)
        return Factors(left, right, Layout((left.shape[-1], right.shape[-1]), steps))


def _found(variable, makers):
    """Go back from a variable through the steps that only change the order of scores.

    **Returns:** the variable before them, the axis of the parts there, the product that makes it (or None), the steps.
    """
    parts, axis, steps = variable.aval.shape[0], 0, []
    while (equation := _maker(variable, makers)) is not None:
        if equation.primitive.name == "transpose":
            permutation = tuple(equation.params["permutation"])
            steps.append(("transpose", permutation))
            axis = permutation[axis]
        elif equation.primitive.name == "reshape" and axis == 0 and equation.invars[0].aval.shape[:1] == (parts,):
            steps.append(("reshape", tuple(equation.outvars[0].aval.shape[1:])))
        else:
            break
        variable = equation.invars[0]
    steps = tuple(reversed(steps))
    if equation is None or equation.primitive.name != "dot_general":
        return variable, axis, None, steps
    (contracted, batch), operands = equation.params["dimension_numbers"], equation.invars
    if batch != ((), ()):
        return variable, axis, None, steps
    of = 0 if axis < operands[0].aval.ndim - len(contracted[0]) else 1
    return variable, axis, _Product(list(operands), contracted, axis, of, steps), steps


def _factors(variable, makers):
    """Find the variables that the scores in `variable` are made of, and the function from them to `Factors`."""
    size = variable.aval.size
    variable, axis, product, steps = _found(variable, makers)
    if product is not None and sum(operand.aval.size for operand in product.operands) < size:
        return product.operands, product.factors

    def whole(scores):
        scores = jnp.moveaxis(scores, axis, 0)
        back = [*range(1, 1 + axis), 0, *range(1 + axis, scores.ndim)]
        ordered = (("reshape", scores.shape[1:]), ("transpose", tuple(back)), *steps)
        scores = scores.reshape(len(scores), 1, -1)
        return Factors(scores, jnp.ones((1, 1), scores.dtype), Layout((scores.shape[-1], 1), ordered))

    return [variable], whole


def _outer_products(scores, makers):
    """Find the variables that `scores` are made of, and the function from them to `OuterProducts`."""
    shape = scores.aval.shape
    product = _found(scores, makers)[2]
    if product is not None and len(shape) > 1:
        layout = jax.eval_shape(product.factors, *(operand.aval for operand in product.operands)).layout
        # Which factor has the leading axis of the array.
        numbers = np.arange(math.prod(shape[1:])).reshape(1, *layout.matrix)
        ordered = layout.scores(numbers).reshape(shape[1], -1)
        for transposed, matrix in ((False, numbers[0]), (True, numbers[0].T)):
            if matrix.shape == ordered.shape and np.array_equal(matrix, ordered):
                return product.operands, partial(_rows_and_columns, product, transposed)

    def whole(values):
        leading = shape[1] if len(shape) > 1 else 1
        return OuterProducts(jnp.swapaxes(values.reshape(shape[0], leading, -1), 1, 2), None)

    return [scores], whole


def _rows_and_columns(product, transposed, *values):
    factors = product.factors(*values)
    right = jnp.broadcast_to(factors.right, (len(factors.left), *factors.right.shape))
    return OuterProducts(right, factors.left) if transposed else OuterProducts(factors.left, right)


def _maker(variable, makers):
    return None if isinstance(variable, jex.Literal) else makers.get(variable)


def _free_axes(ndim, contracted):
    return [axis for axis in range(ndim) if axis not in contracted]


def _terms_first(operand, contracted, parts=None):
    """Reshape an operand of a product to (parts, terms, rest)."""
    rest = [axis for axis in _free_axes(operand.ndim, contracted) if axis != parts]
    count = 1 if parts is None else operand.shape[parts]
    terms = math.prod(operand.shape[axis] for axis in contracted)
    ordered = operand.transpose(*([] if parts is None else [parts]), *contracted, *rest)
    return ordered.reshape(count, terms, -1)
