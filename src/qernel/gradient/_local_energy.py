"""Local energies, term by term."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, PRNGKeyArray

from qernel.ansatz import Ansatz, AtParameters
from qernel.chunks import map_walkers, walker_keys
from qernel.hamiltonian import Hamiltonian
from qernel.laplacian import AbstractLaplacian, ForwardLaplacian


class LocalEnergy(eqx.Module):
    r"""Terms of $E_\mathrm{loc} = (\hat H\psi)/\psi$ of one or many configurations, in effective Hartree.

    `kinetic` is $-\frac{1}{2m}(\nabla^2\log\psi + \nabla\log\psi\cdot\nabla\log\psi)$, complex where ψ is;
    `kinetic_from_gradient` is $\frac{1}{2m}|\nabla\log\psi|^2$, whose mean is the same (integration by parts) if ψ
    is smooth: it is a check, not part of the energy. Of a real ψ it has no finite variance (it grows as the
    inverse square of the distance to a node): average it with
    [`smooth_node_tails`][qernel.observables.smooth_node_tails].
    `potentials` holds each named term.
    """

    kinetic: Inexact[Array, "*batch"]
    kinetic_from_gradient: Float[Array, "*batch"]
    potentials: dict[str, Float[Array, "*batch"]]

    @property
    def total(self) -> Inexact[Array, "*batch"]:
        """Kinetic plus potential energy."""
        potential = sum(self.potentials.values(), jnp.zeros_like(self.kinetic_from_gradient))
        return self.kinetic + potential.astype(self.kinetic.dtype)


def local_energy(
    ansatz: Ansatz,
    hamiltonian: Hamiltonian,
    r: Float[Array, "electrons dim"],
    parameters: Any,
    laplacian: AbstractLaplacian | None = None,
    *,
    key: PRNGKeyArray | None = None,
) -> LocalEnergy:
    r"""Local energy of one configuration, term by term, in effective Hartree.

    **Arguments:** `r`, positions in effective Bohr radii; `parameters`, the parameter pytree of one Hamiltonian;
    `laplacian`, how to differentiate ([`ForwardLaplacian`][qernel.laplacian.ForwardLaplacian] by default); `key`, for
    one that is random, such as a [`ProbedLaplacian`][qernel.laplacian.ProbedLaplacian].
    """
    laplacian = ForwardLaplacian() if laplacian is None else laplacian
    derivatives = laplacian(AtParameters(ansatz, parameters), r, key=key)
    prefactor = jnp.asarray(hamiltonian.kinetic.prefactor(parameters)).astype(r.dtype) / 2
    gradient = derivatives.gradient
    square = jnp.sum(gradient**2)
    norm = jnp.sum(jnp.abs(gradient) ** 2)
    # What an ansatz works out in more digits cancels in them, too.
    kinetic = -prefactor.astype(square.dtype) * (derivatives.laplacian + square)
    narrow = np.promote_types(r.dtype, np.complex64) if jnp.iscomplexobj(kinetic) else r.dtype
    return LocalEnergy(
        kinetic=kinetic.astype(narrow),
        kinetic_from_gradient=prefactor * norm.astype(r.dtype),
        potentials=hamiltonian.potential_energies(r, parameters),
    )


def local_energies(
    ansatz: Ansatz,
    hamiltonian: Hamiltonian,
    positions: Float[Array, "hamiltonians walkers electrons dim"],
    parameters: Any,
    laplacian: AbstractLaplacian | None = None,
    chunk: int | None = None,
    *,
    key: PRNGKeyArray | None = None,
) -> LocalEnergy:
    """Local energies of all walkers of all Hamiltonians, term by term, in effective Hartree.

    **Arguments:** `positions`, in effective Bohr radii; `parameters`, the parameter pytree with a leading axis of
    Hamiltonians; `laplacian`, how to differentiate
    ([`ForwardLaplacian`][qernel.laplacian.ForwardLaplacian] by default); `chunk`, the number of walkers of each
    Hamiltonian that are done at once (all by default), which bounds the memory of the Jacobians and changes no number;
    `key`, for a random Laplacian, folded with the number of each walker.

    **Returns:** a [`LocalEnergy`][qernel.gradient.LocalEnergy] whose arrays are `(hamiltonians, walkers)`.
    """

    def one(parameters, r, key=None):
        return local_energy(ansatz, hamiltonian, r, parameters, laplacian, key=key)

    walkers = (positions,) if key is None else (positions, walker_keys(key, positions.shape[:2]))
    return map_walkers(one, parameters, walkers, positions.shape[1], chunk)
