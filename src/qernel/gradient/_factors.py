r"""Scores as sums of outer products, found in the program that makes them.

The score of a weight that multiplies features is $\sum_t a_t\otimes b_t$, one term for each electron. Reverse-mode
differentiation ends in exactly this product, so its two factors, which are much smaller, can be taken instead.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Factors(NamedTuple):
    r"""Scores $O_{k,ab} = \sum_t \mathrm{left}_{kta}\,\mathrm{right}_{tb}$ of one array of parameters, in some order.

    Scores that are no such sum are `left`, with one term and a `right` of one.
    """

    left: Float[Array, "*walkers parts terms a"]
    right: Float[Array, "*walkers terms b"]


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

    def factors(*arguments):
        closed = jax.make_jaxpr(function)(*arguments)
        makers = {variable: equation for equation in closed.jaxpr.eqns for variable in equation.outvars}
        sources = [_source(variable, makers) for variable in closed.jaxpr.outvars]
        wanted = closed.jaxpr.replace(
            outvars=[variable for variables, _ in sources for variable in variables],
            debug_info=closed.jaxpr.debug_info.with_unknown_names(),
        )
        values = iter(jex.jaxpr_as_fun(jex.ClosedJaxpr(wanted, closed.consts))(*jax.tree.leaves(arguments)))
        return [form(*(next(values) for _ in variables)) for variables, form in sources]

    return factors


def _source(variable, makers):
    """The variables that the scores in `variable` are made of, and the function from them to `Factors`."""
    parts, axis = variable.aval.shape[0], 0
    # The order of parameters does not matter: only the axis of the parts is followed through the last steps.
    while (equation := _maker(variable, makers)) is not None:
        if equation.primitive.name == "transpose":
            axis = equation.params["permutation"][axis]
        elif not (equation.primitive.name == "reshape" and axis == 0 and equation.invars[0].aval.shape[:1] == (parts,)):
            break
        variable = equation.invars[0]
    if equation is not None and equation.primitive.name == "dot_general":
        (contracted, batch), operands = equation.params["dimension_numbers"], equation.invars
        free = [operand.aval.ndim - len(axes) for operand, axes in zip(operands, contracted, strict=True)]
        smaller = sum(operand.aval.size for operand in operands) < variable.aval.size
        if smaller and batch == ((), ()):
            first, second = (0, 1) if axis < free[0] else (1, 0)
            left = _free_axes(operands[first].aval.ndim, contracted[first])[axis - first * free[0]]

            def product(*values):
                return Factors(
                    _terms_first(values[first], contracted[first], left),
                    _terms_first(values[second], contracted[second])[0],
                )

            return list(operands), product

    def whole(scores):
        scores = jnp.moveaxis(scores, axis, 0).reshape(parts, 1, -1)
        return Factors(scores, jnp.ones((1, 1), scores.dtype))

    return [variable], whole


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
