"""Which operation makes the first number that is not one: a program run operation by operation."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp


def first_not_finite(function: Callable[..., Any], *arguments: Any) -> str:
    """Where `function(*arguments)`, of arrays alone, first makes NaN of numbers, in words; else where first infinity.

    An infinity may be meant, the logarithm of a weight of zero for instance, and NaN never is. Slow: every operation
    runs by itself, at its values. Loops and branches count as one operation.

    **Returns:** the name of the operation, with its
    [named scopes](https://docs.jax.dev/en/latest/_autosummary/jax.named_scope.html), those of the layers, and the line
    of the program that asks for it; empty if all is finite.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    found: dict[str, str] = {}
    _run(closed.jaxpr, closed.consts, jax.tree.leaves(arguments), "", found)
    if "nan" in found and "infinite" in found:
        return f"{found['nan']}, behind an infinity of {found['infinite']}"
    return found.get("nan", found.get("infinite", ""))


# How the operations of a call, which are looked into, are kept: by jit, by custom rules of differentiation, by remat.
_INNER = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_LOOPS = ("scan", "while", "cond")


def _run(jaxpr, constants, values, scopes, found):
    known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *values), strict=True))
    read = lambda atom: atom.val if isinstance(atom, jex.Literal) else known[atom]
    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        here = "/".join(part for part in (scopes, str(equation.source_info.name_stack)) if part)
        inner = next((equation.params[name] for name in _INNER if name in equation.params), None)
        if inner is not None and equation.primitive.name not in _LOOPS:
            program, constants = (inner.jaxpr, inner.consts) if isinstance(inner, jex.ClosedJaxpr) else (inner, ())
            outputs = _run(program, constants, inputs, here, found)
        else:
            outputs = _values(jaxpr, equation, known)
            _note(equation, inputs, outputs, here, found)
        if "nan" in found:
            # Nothing after it tells more; the callers end as well.
            return [jnp.zeros(v.aval.shape, v.aval.dtype) for v in jaxpr.outvars]
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _values(jaxpr, equation, known):
    """The outputs of one operation, as those of a program of one."""
    variables = list(dict.fromkeys(atom for atom in equation.invars if not isinstance(atom, jex.Literal)))
    single = jaxpr.replace(
        constvars=[],
        invars=variables,
        outvars=equation.outvars,
        eqns=[equation],
        debug_info=jaxpr.debug_info.with_unknown_names(),
    )
    return jex.jaxpr_as_fun(jex.ClosedJaxpr(single, []))(*(known[variable] for variable in variables))


def _line(equation) -> str:
    """The innermost line of a program that is none of JAX's or Equinox's own."""
    frames = getattr(equation.source_info.traceback, "frames", [])
    for frame in frames:
        path = Path(frame.file_name)
        if not {"jax", "jaxlib", "equinox"} & set(path.parts):
            return f"{path.name}:{frame.line_num}"
    return ""


def _note(equation, inputs, outputs, scopes, found):
    places = [place for place in (scopes, _line(equation)) if place]
    where = " ".join([equation.primitive.name, *(["in", ", ".join(places)] if places else [])])
    if any(_has(jnp.isnan, x) for x in outputs) and not any(_has(jnp.isnan, x) for x in inputs):
        found.setdefault("nan", where)
    elif any(_has(jnp.isinf, x) for x in outputs) and not any(_has(jnp.isinf, x) for x in inputs):
        found.setdefault("infinite", where)


def _has(test, x):
    return jnp.issubdtype(jnp.result_type(x), jnp.inexact) and bool(jnp.any(test(x)))
