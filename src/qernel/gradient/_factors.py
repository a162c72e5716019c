r"""Scores as sums of outer products, found in the program that makes them.

The score of a weight that multiplies features is $\sum_t a_t\otimes b_t$, one term for each electron. Reverse-mode
differentiation ends in exactly this product, so its two factors, which are much smaller, can be taken instead.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


class Factors(NamedTuple):
    r"""Scores $O_{k,ab} = \sum_t \mathrm{left}_{kta}\,\mathrm{right}_{tb}$ of one array of parameters, in some order.

    Scores that are no such sum are `left`, with one term and a `right` of one.
    """

    left: Float[Array, "*walkers parts terms a"]
    right: Float[Array, "*walkers terms b"]


class OuterProducts(NamedTuple):
    r"""Scores $O_{k,mn} = \sum_t \mathrm{rows}_{ktm}\,\mathrm{columns}_{ktn}$ of one array of parameters.

    m is its leading axis and n all others. Without columns, $O_{k,mn} = \mathrm{rows}_{knm}$: scores that are no such
    sum, or of one axis.
    """

    rows: Float[Array, "*walkers parts terms m"]
    columns: Float[Array, "*walkers parts terms n"] | None


def finite_scores(scores: list[Factors]) -> Bool[Array, "*walkers"]:
    """The walkers whose scores are all finite, and the squares of their factors too."""
    finite = jnp.asarray(True)
    for left, right in scores:
        bound = jnp.sum(left**2, axis=(-3, -2, -1)) * jnp.sum(right**2, axis=(-2, -1))
        finite = finite & jnp.isfinite(bound)
    return finite


def factorised(function: Callable[..., Any]) -> Callable[..., list[Factors]]:
    """`function` returns scores `(parts, *shape)` of one walker; what is returned here computes their factors.

    Factors are taken where they are smaller than the scores.
    """
    return _instead(function, _factors)


def outer_products(function: Callable[..., Any]) -> Callable[..., list[OuterProducts]]:
    """`function` returns scores `(parts, *shape)` of one walker; what is returned here computes their
    [`OuterProducts`][qernel.gradient.OuterProducts]."""
    return _instead(function, _outer_products)


def _instead(function, form):
    """A function that computes, in place of each output, what `form` takes from the program that makes it."""

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
    """A product of matrices in the program, and the steps from it to the scores, that change only their order.

    `axis` is that of the parts, the one axis that is followed; `of` the number of the operand that has it.
    """

    operands: list
    contracted: tuple[tuple[int, ...], tuple[int, ...]]
    axis: int
    of: int
    steps: list[Callable]

    def factors(self, *values) -> Factors:
        free = _free_axes(values[self.of].ndim, self.contracted[self.of])
        left = free[self.axis - self.of * (values[0].ndim - len(self.contracted[0]))]
        return Factors(
            _terms_first(values[self.of], self.contracted[self.of], left),
            _terms_first(values[1 - self.of], self.contracted[1 - self.of])[0],
        )


def _found(variable, makers):
    """The variable before the steps that only change the order of scores, the axis of the parts there, and the
    product that makes it, if one does."""
    parts, axis, steps = variable.aval.shape[0], 0, []
    while (equation := _maker(variable, makers)) is not None:
        if equation.primitive.name == "transpose":
            permutation = equation.params["permutation"]
            steps.append(lambda x, permutation=permutation: x.transpose(permutation))
            axis = permutation[axis]
        elif equation.primitive.name == "reshape" and axis == 0 and equation.invars[0].aval.shape[:1] == (parts,):
            steps.append(lambda x, shape=equation.outvars[0].aval.shape: x.reshape(shape))
        else:
            break
        variable = equation.invars[0]
    if equation is None or equation.primitive.name != "dot_general":
        return variable, axis, None
    (contracted, batch), operands = equation.params["dimension_numbers"], equation.invars
    if batch != ((), ()):
        return variable, axis, None
    of = 0 if axis < operands[0].aval.ndim - len(contracted[0]) else 1
    return variable, axis, _Product(list(operands), contracted, axis, of, steps[::-1])


def _factors(variable, makers):
    """The variables that the scores in `variable` are made of, and the function from them to `Factors`."""
    parts = variable.aval.shape[0]
    variable, axis, product = _found(variable, makers)
    if product is not None and sum(operand.aval.size for operand in product.operands) < variable.aval.size:
        return product.operands, product.factors

    def whole(scores):
        scores = jnp.moveaxis(scores, axis, 0).reshape(parts, 1, -1)
        return Factors(scores, jnp.ones((1, 1), scores.dtype))

    return [variable], whole


def _outer_products(scores, makers):
    """The variables that `scores` are made of, and the function from them to `OuterProducts`."""
    _, _, product = _found(scores, makers)
    shape = scores.aval.shape
    if product is not None and len(shape) > 1:
        # Which factor has the leading axis of the array is found with numbers.
        numbers = np.random.default_rng(0)
        trial = [numbers.normal(size=operand.aval.shape) for operand in product.operands]
        expected = np.tensordot(trial[0], trial[1], product.contracted)
        for step in product.steps:
            expected = step(expected)
        expected = expected.reshape(*shape[:2], -1)
        left, right = product.factors(*trial)
        found = np.einsum("kta,tb->kab", left, right)
        for transposed, matrix in ((False, found), (True, found.swapaxes(1, 2))):
            if matrix.shape == expected.shape and np.allclose(matrix, expected):
                return product.operands, partial(_rows_and_columns, product, transposed)

    def whole(values):
        leading = shape[1] if len(shape) > 1 else 1
        return OuterProducts(jnp.swapaxes(values.reshape(shape[0], leading, -1), 1, 2), None)

    return [scores], whole


def _rows_and_columns(product, transposed, *values):
    left, right = product.factors(*values)
    right = jnp.broadcast_to(right, (len(left), *right.shape))
    return OuterProducts(right, left) if transposed else OuterProducts(left, right)


def _maker(variable, makers):
    return None if isinstance(variable, jex.Literal) else makers.get(variable)


def _free_axes(ndim, contracted):
    return [axis for axis in range(ndim) if axis not in contracted]


def _terms_first(operand, contracted, parts=None):
    """An operand of a product as (parts, terms, rest)."""
    rest = [axis for axis in _free_axes(operand.ndim, contracted) if axis != parts]
    count = 1 if parts is None else operand.shape[parts]
    terms = math.prod(operand.shape[axis] for axis in contracted)
    ordered = operand.transpose(*([] if parts is None else [parts]), *contracted, *rest)
    return ordered.reshape(count, terms, -1)
