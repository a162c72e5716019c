"""Can the Laplacian of a wavefunction be trusted? Compared with the exact slow one before a run."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qernel.ansatz import AtParameters
from qernel.compilation import compiler_options
from qernel.laplacian import AbstractLaplacian, AbstractRandomLaplacian, ForwardLaplacian, HessianTrace


class LaplacianCheck(eqx.Module):
    """Largest relative difference between a Laplacian and the exact slow one, on two walkers."""

    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the two agree."""
        return self.difference <= self.tolerance


def check_laplacian(
    ansatz: Any,
    parameters: Any,
    positions: Float[Array, "hamiltonians walkers electrons dim"],
    laplacian: AbstractLaplacian | None = None,
) -> LaplacianCheck:
    """Compare a Laplacian with the trace of the Hessian, on one walker each of the first and last Hamiltonian.

    Carried out in float64, whatever the precision of the run, so that only a mistake can make a difference.
    """
    return compiled_check(ansatz, parameters, positions, laplacian)()


def compiled_check(
    ansatz: Any,
    parameters: Any,
    positions: Float[Array, "hamiltonians walkers electrons dim"],
    laplacian: AbstractLaplacian | None = None,
) -> Callable[[], LaplacianCheck]:
    """Compile what [`check_laplacian`][qernel.check.check_laplacian] needs, which takes seconds; to be called, which
    takes none, when nothing else is computed: the matrices of two programs at once can wait for each other for ever."""
    method = ForwardLaplacian() if laplacian is None else laplacian
    if isinstance(method, AbstractRandomLaplacian):
        method = method.exact(positions.shape[2])
    methods = (method, HessianTrace())
    with jax.enable_x64(True):
        programs = [_derivatives_at_the_ends(ansatz, method, positions, parameters) for method in methods]

    def check() -> LaplacianCheck:
        with jax.enable_x64(True):
            fast, slow = (program() for program in programs)
        scale = np.abs(slow.laplacian) + np.sum(np.abs(slow.gradient) ** 2, axis=(1, 2)) + 1e-300
        differences = [
            np.abs(fast.laplacian - slow.laplacian) / scale,
            np.sum(np.abs(fast.gradient - slow.gradient) ** 2, axis=(1, 2)) / scale,
        ]
        worst = float(np.max(differences))
        return LaplacianCheck(difference=worst if worst == worst else float("inf"), tolerance=1e-6)

    return check


def _derivatives_at_the_ends(ansatz: Any, method: AbstractLaplacian, positions: Any, parameters: Any) -> Any:
    """A compiled program: derivatives, in float64, at the first walker of the first and of the last Hamiltonian."""
    arrays, static = eqx.partition((ansatz, method), eqx.is_array)

    def derivatives(arrays, positions, parameters):
        ansatz, method = eqx.combine(arrays, static)
        # Layers compute at the walkers' precision, whatever that of their parameters.
        r, chosen = jax.tree.map(lambda x: jnp.stack([x[0], x[-1]]), (positions[:, 0].astype(float), parameters))
        return jax.lax.map(lambda x: method(AtParameters(ansatz, x[1]), x[0], key=jax.random.key(0)), (r, chosen))

    # Two walkers need no fast program, and a third of the time goes without one.
    options = {**compiler_options(), "xla_backend_optimization_level": "0"}
    arguments = (arrays, positions, parameters)
    program = jax.jit(derivatives, compiler_options=options).lower(*arguments).compile()
    # To the host, with no small programs for what follows: these would wait for those that other threads compile.
    return lambda: jax.device_get(program(*arguments))
