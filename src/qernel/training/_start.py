"""Before the first step: where the walkers stand, and whether the Laplacian can be trusted."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from qernel.ansatz import AtParameters
from qernel.compilation import compiler_options
from qernel.hamiltonian import Hamiltonian
from qernel.laplacian import AbstractLaplacian, ForwardLaplacian, HessianTrace


def initial_positions(
    hamiltonian: Hamiltonian,
    hamiltonians: int,
    walkers: int,
    *,
    key: PRNGKeyArray,
    sites: Float[ArrayLike, "electrons dim"] | None = None,
    width: float | None = None,
    crystal: Bool[ArrayLike, " hamiltonians"] | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "hamiltonians walkers electrons dim"]:
    """Starting walkers in a periodic cell: half of them uniform, half near the sites of a crystal.

    Both phases are then within reach of every Hamiltonian, whatever the wavefunction turns out to prefer. Of a large
    cell that is known to be in one phase all walkers should start in it: a liquid's do not find the crystal.

    **Arguments:**

    - `sites`: one site for each electron, spin up first, such as those of `qernel.mean_field.crystal_sites`;
      without them all walkers are uniform.
    - `width`: standard deviation about the sites, unit of length (default: 0.2 mean spacings).
    - `crystal`: for each Hamiltonian, whether all of its walkers start near the sites, or all uniform.

    **Raises:** `ValueError` for open boundaries or wrong numbers.
    """
    cell = hamiltonian.cell
    if cell is None:
        raise ValueError("uniform walkers need a periodic cell; with open boundaries give positions of your own")
    if hamiltonians < 1 or walkers < 1:
        raise ValueError(f"a run needs at least one Hamiltonian and one walker, got {hamiltonians}, {walkers}")
    electrons, dim = hamiltonian.n_electrons, hamiltonian.dim
    # Drawn by NumPy: the programs of `jax.random` and those that follow take a second to compile.
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).reshape(-1))
    shape = (hamiltonians, walkers, electrons, dim)
    uniform = random.random(shape) @ np.asarray(cell.matrix)
    if sites is None:
        return jnp.asarray(uniform.astype(dtype))
    centres = np.asarray(sites)
    if centres.shape != (electrons, dim):
        raise ValueError(f"{electrons} electrons in {dim} dimensions need as many sites, got {centres.shape}")
    spread = 0.2 * (cell.volume / electrons) ** (1 / dim) if width is None else width
    near = centres[None, None] + spread * random.standard_normal(shape)
    odd = np.arange(walkers)[None] % 2 == 1
    chosen = odd if crystal is None else np.asarray(crystal)[:, None]
    positions = np.where(chosen[..., None, None], near, uniform)
    return jnp.asarray((positions - np.floor(positions @ np.linalg.inv(cell.matrix)) @ cell.matrix).astype(dtype))


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
    """Compile what [`check_laplacian`][qernel.training.check_laplacian] needs, which takes seconds; to be called, which
    takes none, when nothing else is computed: the matrices of two programs at once can wait for each other for ever."""
    methods = (ForwardLaplacian() if laplacian is None else laplacian, HessianTrace())
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
        return jax.lax.map(lambda x: method(AtParameters(ansatz, x[1]), x[0]), (r, chosen))

    # Two walkers need no fast program, and a third of the time goes without one.
    options = {**compiler_options(), "xla_backend_optimization_level": "0"}
    arguments = (arrays, positions, parameters)
    program = jax.jit(derivatives, compiler_options=options).lower(*arguments).compile()
    # To the host, with no small programs for what follows: these would wait for those that other threads compile.
    return lambda: jax.device_get(program(*arguments))
