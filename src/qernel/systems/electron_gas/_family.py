"""The homogeneous electron gas as a family over its density and its boundary condition."""

import math
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qernel.hamiltonian import Coordinate, Ewald, Family, Hamiltonian, Kinetic, Points
from qernel.lattice import Lattice, bcc, cubic, fcc, square, triangular

# Makers of the periodic cells by name, from a lattice constant, which is one here.
_CELLS = {"square": square, "triangular": triangular, "cubic": cubic, "bcc": bcc, "fcc": fcc}
GAS_CELLS = tuple(_CELLS)

# All coordinates of gases: density parameter, and twist along each vector of the cell.
GAS_COORDINATES = (
    Coordinate("r_s", "r_s", "1", "r_s", "r_s", "density parameter", logarithmic=True),
    *[
        Coordinate(f"twist_{k}", f"twist_{k}", "1", f"θ_{k}", rf"\theta_{k}", f"twist along cell vector {k}, in turns")
        for k in (1, 2, 3)
    ],
)


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


def log_r_s(parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
    r"""The logarithm of $r_s$, along which orbitals are interpolated."""
    return jnp.log(parameters["r_s"])


def gas_twist(parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, " dim"]:
    r"""The twist of one Hamiltonian, an angle in radians for each vector of the cell."""
    return 2 * math.pi * jnp.stack([parameters[name] for name in sorted(parameters) if name.startswith("twist")])


def gas_family(
    electrons: tuple[int, int],
    cell: str,
    points: Points,
    *,
    coordinates: Sequence[str] = ("r_s",),
    r_s: float = 1.0,
    twist: Sequence[float] = (),
    accuracy: float = 1e-10,
) -> Family:
    r"""Electrons with a neutralising background in a periodic cell, over their density,

    $$ H = -\frac1{2 r_s^2}\sum_i\nabla_i^2 + \frac1{r_s}\Bigl[\sum_{i<j}\psi(r_{ij}) + \frac N2\,\xi\Bigr] , $$

    with positions in units of $r_s$, the radius of the sphere (in two dimensions the circle) that one electron has for
    itself, in Bohr radii; energies in Hartree. ψ is the periodic potential of a unit charge and its background, and ξ
    the Madelung constant of the cell ([`Ewald`][qernel.hamiltonian.Ewald]). So the cell is the same at every density,
    and so is its Ewald sum. The potential is called "interaction". Wavefunctions have
    $\psi(r_i + A_k) = e^{2\pi i\theta_k}\psi$ with the twist θ.

    **Arguments:**

    - `electrons`: (n_up, n_down).
    - `cell`: its name, as in [`gas_cell`][qernel.systems.electron_gas.gas_cell]; it says how many dimensions there are.
    - `points`: the members, as in [`Family.of`][qernel.hamiltonian.Family.of]: values of $r_s$ alone by default.
    - `coordinates`: names of what varies, among "r_s", "twist_1", "twist_2" and, in space, "twist_3", twists in turns.
    - `r_s`, `twist`: what does not vary; no twist by default.
    - `accuracy`: of the Ewald sum.

    **Raises:** `ValueError` for an unknown cell or coordinate, another number of twists than dimensions, or densities
    that are not positive.

    **Example:** `gas_family((7, 7), "cubic", [1.0, 2.0, 5.0, 10.0])`.
    """
    lattice = gas_cell(cell, sum(electrons))
    known = {c.name: c for c in GAS_COORDINATES[: 1 + lattice.dim]}
    for name in coordinates:
        if name not in known:
            raise ValueError(f"a gas in a {cell} cell has no coordinate '{name}': there are {', '.join(known)}")
    turns = tuple(twist) or (0.0,) * lattice.dim
    if len(turns) != lattice.dim:
        raise ValueError(f"a {cell} cell needs {lattice.dim} twists, got {list(turns)}")
    ewald = Ewald(lattice, accuracy=accuracy, strength=gas_strength, electrons=sum(electrons))
    hamiltonian = Hamiltonian(
        Kinetic(inverse_mass=gas_inverse_mass), {"interaction": ewald}, electrons, cell=lattice, twist=gas_twist
    )
    parameters = {"r_s": float(r_s)} | {f"twist_{k + 1}": float(x) for k, x in enumerate(turns)}
    family = Family.of(hamiltonian, parameters, tuple(known[name] for name in coordinates), points)
    values = gas_values(family)
    if np.any(values[:, 0] <= 0):
        raise ValueError(f"the density parameters r_s of a gas must be positive, got {values[:, 0].tolist()}")
    return family


def gas_values(family: Family) -> Float[np.ndarray, "members values"]:
    """Density parameter and twists, in turns, of every member, as a user typed them where they vary."""
    typed = dict(zip((c.name for c in family.coordinates), family.points.T, strict=True))
    names = [c.name for c in GAS_COORDINATES[: 1 + family.hamiltonian.dim]]
    return np.stack([typed.get(name, np.asarray(family.parameters[name], np.float64)) for name in names], axis=1)
