"""The homogeneous electron gas as a family over its density."""

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Float

from qernel.hamiltonian import Coordinate, Ewald, Family, Hamiltonian, Kinetic, Points
from qernel.lattice import Lattice, bcc, cubic, fcc, square, triangular

# Makers of the periodic cells by name, from a lattice constant, which is one here.
_CELLS = {"square": square, "triangular": triangular, "cubic": cubic, "bcc": bcc, "fcc": fcc}
GAS_CELLS = tuple(_CELLS)

R_S = Coordinate("r_s", "r_s", "1", "r_s", "r_s", "density parameter")


def gas_cell(cell: str, electrons: int) -> Lattice:
    r"""The periodic cell of a gas at $r_s = 1$: as many spheres (circles) of radius one as electrons fill its volume.

    **Arguments:** `cell`: "square" or "triangular" in two dimensions, "cubic", "bcc" or "fcc" in three; `electrons`:
    their number.

    **Raises:** `ValueError` for another name.
    """
    if cell not in _CELLS:
        raise ValueError(f"a gas has no cell '{cell}': there are {', '.join(_CELLS)}")
    unit = _CELLS[cell](1.0)
    volume = electrons * (math.pi if unit.dim == 2 else 4 * math.pi / 3)
    return _CELLS[cell]((volume / unit.volume) ** (1 / unit.dim))


def gas_inverse_mass(parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
    r"""The prefactor $1/r_s^2$ of the kinetic energy where $r_s$ is the unit of length."""
    return parameters["r_s"] ** -2


def gas_strength(parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
    r"""The strength $1/r_s$ of the repulsion where $r_s$ is the unit of length."""
    return 1 / parameters["r_s"]


def gas_family(electrons: tuple[int, int], cell: str, points: Points, *, accuracy: float = 1e-10) -> Family:
    r"""Electrons with a neutralising background in a periodic cell, over their density,

    $$ H = -\frac1{2 r_s^2}\sum_i\nabla_i^2 + \frac1{r_s}\Bigl[\sum_{i<j}\psi(r_{ij}) + \frac N2\,\xi\Bigr] , $$

    with positions in units of $r_s$, the radius of the sphere (in two dimensions the circle) that one electron has for
    itself, in Bohr radii; energies in Hartree. ψ is the periodic potential of a unit charge and its background, and ξ
    the Madelung constant of the cell ([`Ewald`][qernel.hamiltonian.Ewald]). So the cell is the same at every density,
    and so is its Ewald sum. The potential is called "interaction".

    **Arguments:**

    - `electrons`: (n_up, n_down).
    - `cell`: its name, as in [`gas_cell`][qernel.systems.electron_gas.gas_cell]; it says how many dimensions there are.
    - `points`: values of $r_s$, as in [`Family.of`][qernel.hamiltonian.Family.of].
    - `accuracy`: of the Ewald sum.

    **Raises:** `ValueError` for an unknown cell, or densities that are not positive.

    **Example:** `gas_family((7, 7), "cubic", [1.0, 2.0, 5.0, 10.0])`.
    """
    lattice = gas_cell(cell, sum(electrons))
    ewald = Ewald(lattice, accuracy=accuracy, strength=gas_strength, electrons=sum(electrons))
    hamiltonian = Hamiltonian(Kinetic(inverse_mass=gas_inverse_mass), {"interaction": ewald}, electrons, cell=lattice)
    family = Family.of(hamiltonian, {"r_s": 1.0}, (R_S,), points)
    if np.any(family.points <= 0):
        raise ValueError(f"the density parameters r_s of a gas must be positive, got {family.points[:, 0].tolist()}")
    return family
