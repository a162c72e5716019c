"""Where the walkers stand before the first move."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from qernel.hamiltonian import Hamiltonian


def initial_positions(
    hamiltonian: Hamiltonian,
    hamiltonians: int,
    walkers: int,
    *,
    key: PRNGKeyArray,
    sites: Float[ArrayLike, "electrons dim"] | None = None,
    width: float | Float[ArrayLike, " widths"] | None = None,
    crystal: Bool[ArrayLike, " hamiltonians"] | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "hamiltonians walkers electrons dim"]:
    r"""Starting walkers: in a periodic cell half of them uniform and half near the sites of a crystal, with open
    boundaries a Gaussian cloud.

    In a cell both phases are then within reach of every Hamiltonian, whatever the wavefunction turns out to prefer. Of
    a large cell that is known to be in one phase all walkers should start in it: a liquid's do not find the crystal.

    With open boundaries each coordinate is normal about the origin, or about the electron's site, with the standard
    deviation `width`. Take about the size of the ground state: $\sqrt{n/2\omega}$ where the lowest n levels of a trap
    of frequency ω are filled in this direction. The burn-in mends a width that is wrong by a small factor.

    **Arguments:**

    - `sites`: one site for each electron, spin up first, such as those of `qernel.mean_field.crystal_sites` or the
      nuclei of a molecule; without them all walkers are uniform, or in a cloud about the origin.
    - `width`: standard deviation about the sites or the origin, unit of length, one number or one for each dimension
      (default: 0.2 mean spacings in a cell; needed with open boundaries).
    - `crystal`: in a cell, for each Hamiltonian, whether all of its walkers start near the sites, or all uniform.

    **Raises:** `ValueError` for wrong numbers or shapes, for a width that is not positive, and with open boundaries
    without a width, or for `crystal`.
    """
    if hamiltonians < 1 or walkers < 1:
        raise ValueError(f"a run needs at least one Hamiltonian and one walker, got {hamiltonians}, {walkers}")
    cell, electrons, dim = hamiltonian.cell, hamiltonian.n_electrons, hamiltonian.dim
    centres = np.zeros((electrons, dim)) if sites is None else np.asarray(sites)
    if centres.shape != (electrons, dim):
        raise ValueError(f"{electrons} electrons in {dim} dimensions need as many sites, got {centres.shape}")
    spread = None if width is None else np.asarray(width, np.float64)
    if spread is not None and (spread.shape not in ((), (dim,)) or not np.all(np.isfinite(spread) & (spread > 0))):
        raise ValueError(f"the width must be one positive number or one for each of {dim} dimensions, got {width}")
    # Drawn by NumPy: the programs of `jax.random` and those that follow take a second to compile.
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)).reshape(-1))
    shape = (hamiltonians, walkers, electrons, dim)
    if cell is None:
        if spread is None:
            raise ValueError(
                "with open boundaries nothing says how far apart electrons start: give the width of a Gaussian cloud, "
                "width=, about the size of the ground state"
            )
        if crystal is not None:
            raise ValueError("with open boundaries no walkers are uniform: leave `crystal` out")
        return jnp.asarray((centres + spread * random.standard_normal(shape)).astype(dtype))
    uniform = random.random(shape) @ np.asarray(cell.matrix)
    if sites is None:
        return jnp.asarray(uniform.astype(dtype))
    spread = 0.2 * (cell.volume / electrons) ** (1 / dim) if spread is None else spread
    near = centres + spread * random.standard_normal(shape)
    odd = np.arange(walkers)[None] % 2 == 1
    chosen = odd if crystal is None else np.asarray(crystal)[:, None]
    if chosen.shape[0] not in (1, hamiltonians):
        raise ValueError(f"`crystal` needs one entry for each of {hamiltonians} Hamiltonians, got {chosen.shape[0]}")
    positions = np.where(chosen[..., None, None], near, uniform)
    return jnp.asarray((positions - np.floor(positions @ np.linalg.inv(cell.matrix)) @ cell.matrix).astype(dtype))
