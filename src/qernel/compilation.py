"""Just-in-time compilation with the options that many-electron programs want."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Inexact, PyTree


@functools.cache
def compiler_options() -> dict[str, str]:
    """Options of the XLA compiler for `jax.jit(..., compiler_options=...)` on the default backend.

    On a CPU, XLA of jax 0.10 hands groups of operations to the library YNNPACK. Matrix products gain by it, but sums
    over an axis take ten times as long as in XLA's own loops, and larger groups have ended in segmentation faults and
    in numbers from uninitialised memory: here single products alone are left to it. A forward Laplacian takes half of
    the time. Empty on other backends, or where this version of XLA has no such option.
    """
    if jax.default_backend() != "cpu":
        return {}
    options = {"xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"}
    try:
        jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
    except Exception:
        # What an unknown option raises differs between versions.
        return {}
    return options


class compiled:  # noqa: N801 (a decorator)
    """Decorator: `equinox.filter_jit` with [`compiler_options`][qernel.compilation.compiler_options].

    The options are found at the first call, so that importing a module starts no backend.
    """

    def __init__(self, function: Callable[..., Any]):
        functools.update_wrapper(self, function)
        self._function = function

    @functools.cached_property
    def _jitted(self):
        return eqx.filter_jit(self._function, compiler_options=compiler_options())  # type: ignore[call-overload]

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Compile for these shapes, if that is still to do, and run."""
        return self._jitted(*arguments, **keywords)

    def lower(self, *arguments: Any, **keywords: Any) -> Any:
        """The lowered program, to look at."""
        return self._jitted.lower(*arguments, **keywords)


def as_one(tree: PyTree[Inexact[Array, "..."]]) -> Inexact[Array, " size"]:
    """All arrays one after another, for one reduction over them: one kernel, where one for each array takes XLA
    longest to compile. (It makes many reductions of one over many arrays, if it is not kept from doing so.)"""
    return jax.lax.optimization_barrier(ravel_pytree(tree)[0])
