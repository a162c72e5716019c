"""Local energies, term by term."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from qernel.ansatz import Ansatz
from qernel.hamiltonian import Hamiltonian
from qernel.laplacian import AbstractLaplacian, ForwardLaplacian


class LocalEnergy(eqx.Module):
    r"""The terms of $E_\mathrm{loc} = (\hat H\psi)/\psi$ of one or many configurations, in effective Hartree.

    `kinetic` is $-\frac{1}{2m}(\nabla^2\log\psi + \nabla\log\psi\cdot\nabla\log\psi)$, complex where ψ is;
    `kinetic_from_gradient` is $\frac{1}{2m}|\nabla\log\psi|^2$, whose mean is the same (integration by parts) if ψ
    is smooth: it is a check, not part of the energy. For a real ψ it is regularised near the nodes, see
    [`node_regularisation`][qernel.gradient.node_regularisation]. `potentials` holds each named term.
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
) -> LocalEnergy:
    """Local energy of one configuration, term by term, in effective Hartree.

    **Arguments:** `r`, positions; `parameters`, the parameter pytree of one Hamiltonian; `laplacian`, how to
    differentiate ([`ForwardLaplacian`][qernel.laplacian.ForwardLaplacian] by default).
    """
    laplacian = ForwardLaplacian() if laplacian is None else laplacian
    derivatives = laplacian(lambda x: ansatz(x, parameters), r)
    prefactor = jnp.asarray(hamiltonian.kinetic.prefactor(parameters)).astype(r.dtype) / 2
    gradient = derivatives.gradient
    square = jnp.sum(gradient**2)
    norm = jnp.sum(jnp.abs(gradient) ** 2)
    if derivatives.log_psi.real:
        norm = norm * node_regularisation(norm, 0.02 * _spacing(hamiltonian))
    return LocalEnergy(
        kinetic=-prefactor.astype(square.dtype) * (derivatives.laplacian + square),
        kinetic_from_gradient=prefactor * norm,
        potentials=hamiltonian.potential_energies(r, parameters),
    )


def _spacing(hamiltonian: Hamiltonian) -> float:
    """Length that an electron has to itself; one effective Bohr radius with open boundaries."""
    if hamiltonian.cell is None:
        return 1.0
    return (hamiltonian.cell.volume / hamiltonian.n_electrons) ** (1 / hamiltonian.dim)


def node_regularisation(square: Float[Array, "*batch"], width: float) -> Float[Array, "*batch"]:
    r"""Factor that gives $|\nabla\log\psi|^2$ of a real ψ a finite variance, with a bias of third order in `width`.

    At distance d from a node of a real ψ the estimator grows as $d^{-2}$ while $|\psi|^2\propto d^2$: its mean exists, its
    variance does not, and no error bar of it could be believed. With $x = d/\epsilon$ and the estimate
    $d = 1/|\nabla\log\psi|$, the factor is $7x^6 - 15x^4 + 9x^2$ for $x < 1$ and one beyond; its integral over a node is that of one.

    **Arguments:** `square`, $|\nabla\log\psi|^2$; `width` ε, in the unit of length.

    **Source:** S. Pathak and L. K. Wagner, arXiv:2002.01434.
    """
    inverse = square * width**2
    x2 = 1 / jnp.maximum(inverse, 1)
    return x2 * (9 + x2 * (7 * x2 - 15))


def local_energies(
    ansatz: Ansatz,
    hamiltonian: Hamiltonian,
    positions: Float[Array, "hamiltonians walkers electrons dim"],
    parameters: Any,
    laplacian: AbstractLaplacian | None = None,
    chunk: int | None = None,
) -> LocalEnergy:
    """Local energies of all walkers of all Hamiltonians.

    `chunk` walkers of each Hamiltonian are done at once (all of them by default), which bounds the memory of the
    Jacobians. The numbers do not depend on it.
    """

    def one(parameters, r):
        return local_energy(ansatz, hamiltonian, r, parameters, laplacian)

    def of_one_hamiltonian(parameters, walkers):
        if chunk is None or chunk >= walkers.shape[0]:
            return jax.vmap(lambda r: one(parameters, r))(walkers)
        return jax.lax.map(lambda r: one(parameters, r), walkers, batch_size=chunk)

    return jax.vmap(of_one_hamiltonian)(parameters, positions)
