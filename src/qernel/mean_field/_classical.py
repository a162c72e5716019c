"""The crystal of classical electrons."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jaxtyping import Float, PyTree

from ..hamiltonian import Hamiltonian
from ._crystal import crystal_sites


class ClassicalCrystal(eqx.Module):
    """Classical electrons at rest in a minimum of their potential energy. Ha*, totals, the self-image energy included.

    **Fields:** `sites`, one for each electron, Bohr; `energies`, one entry per potential under the Hamiltonian's name:
    with one electron to a cell and no other potential the interaction is the lattice's Madelung energy.
    """

    sites: Float[np.ndarray, "electrons dim"]
    energies: dict[str, float]

    @property
    def energy(self) -> float:
        """The total energy, Ha*: below that of any quantum state if the minimum is the lowest."""
        return sum(self.energies.values())


def classical_crystal(hamiltonian: Hamiltonian, parameters: PyTree, *, seed: int = 0) -> ClassicalCrystal:
    """The classical ground state: the limit of infinite mass, which every crystal of electrons approaches.

    From the sites of [`crystal_sites`][qernel.mean_field.crystal_sites] the potential energy is minimised over all
    positions (L-BFGS, float64). A good minimum, not proven to be the lowest: compare several seeds.

    **Raises:** `ValueError` for open boundaries.
    """
    with jax.enable_x64(True):
        start = crystal_sites(hamiltonian, parameters, seed=seed)

        @eqx.filter_jit
        def terms(positions, parameters):
            return hamiltonian.potential_energies(positions.reshape(start.shape), parameters)

        @eqx.filter_jit
        @eqx.filter_value_and_grad
        def total(positions, parameters):
            return sum(terms(positions, parameters).values(), jnp.zeros(()))

        found = scipy.optimize.minimize(
            lambda x: tuple(np.asarray(y, np.float64) for y in total(jnp.asarray(x), parameters)),
            start.ravel(),
            jac=True,
            method="L-BFGS-B",
            options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 2000},
        )
        energies = {name: float(value) for name, value in terms(jnp.asarray(found.x), parameters).items()}
    return ClassicalCrystal(found.x.reshape(start.shape), energies)
