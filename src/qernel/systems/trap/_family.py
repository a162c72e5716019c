"""Spin-polarised fermions in an anisotropic harmonic trap with harmonic interaction, as a family."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from qernel.hamiltonian import Coordinate, Family, Hamiltonian, Harmonic, HarmonicPair, Kinetic, Points

# Frequencies along the axes of space, in their order.
FREQUENCIES = ("omega_x", "omega_y", "omega_z")

_SYMBOLS = {
    "omega_x": ("ω_x", r"\omega_x", "trap frequency along x"),
    "omega_y": ("ω_y", r"\omega_y", "trap frequency along y"),
    "omega_z": ("ω_z", r"\omega_z", "trap frequency along z"),
    "kappa": ("κ", r"\kappa", "strength of the interaction"),
}


def trap_frequencies(parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, " dim"]:
    """The frequencies of one Hamiltonian, one for each axis."""
    return jnp.stack([parameters[name] for name in FREQUENCIES if name in parameters])


def trap_lengths(parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, " dim"]:
    r"""The oscillator lengths $1/\sqrt{\omega_a}$ of one Hamiltonian."""
    return trap_frequencies(parameters) ** -0.5


def trap_strength(parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
    """The strength κ of the interaction of one Hamiltonian."""
    return parameters["kappa"]


def trap_coordinates(dimensions: int) -> tuple[Coordinate, ...]:
    """All coordinates of traps of so many dimensions: a frequency along each axis, and κ, in which H is linear."""
    names = (*FREQUENCIES[:dimensions], "kappa")
    return tuple(Coordinate(name, name, "1", *_SYMBOLS[name], linear=name == "kappa") for name in names)


def trap_family(
    electrons: int, frequencies: Mapping[str, float], kappa: float, coordinates: tuple[str, ...], points: Points
) -> Family:
    r"""Fermions of one spin in a harmonic trap that attract each other by harmonic forces,

    $$ H = \sum_i \Bigl[-\frac{\nabla_i^2}2 + \frac12 \sum_a \omega_a^2 x_{ia}^2\Bigr] + \frac\kappa2 \sum_{i<j}
    r_{ij}^2 . $$

    The potentials are called "trap" and "interaction".

    **Arguments:**

    - `electrons`: their number.
    - `frequencies`: $\omega_x$, and $\omega_y$, $\omega_z$ in two and three dimensions, under these names; `kappa`: κ.
      Values of what does not vary.
    - `coordinates`: names of what varies; `points`: the members, as in [`Family.of`][qernel.hamiltonian.Family.of].

    **Raises:** `ValueError` for frequencies that are not those of one, two or three axes, unknown coordinates, or
    points at which the electrons would leave the trap ($\omega_a^2 + N\kappa \le 0$).
    """
    dimensions = len(frequencies)
    names = FREQUENCIES[:dimensions]
    if not dimensions or set(frequencies) != set(names):
        raise ValueError(f"a trap has the frequencies omega_x, omega_y, omega_z in this order, got {list(frequencies)}")
    known = {coordinate.name: coordinate for coordinate in trap_coordinates(dimensions)}
    for name in coordinates:
        if name not in known:
            raise ValueError(
                f"a trap of {dimensions} dimensions has no coordinate '{name}': there are {', '.join(known)}"
            )
    potentials = {"trap": Harmonic(trap_frequencies), "interaction": HarmonicPair(trap_strength)}
    hamiltonian = Hamiltonian(Kinetic(), potentials, (electrons, 0), dim=dimensions)
    parameters = {name: float(frequencies[name]) for name in names} | {"kappa": float(kappa)}
    family = Family.of(hamiltonian, parameters, tuple(known[name] for name in coordinates), points)
    omega, strength = point_values(family)
    if np.any(omega <= 0) or (electrons > 1 and np.any(omega**2 + electrons * strength[:, None] <= 0)):
        raise ValueError(
            "the frequencies of a trap must be positive, and kappa larger than -omega²/N: the electrons would leave it"
        )
    return family


def point_values(family: Family) -> tuple[Float[np.ndarray, "members dim"], Float[np.ndarray, " members"]]:
    """Frequencies and κ of every member, as a user typed them where they vary."""
    typed = dict(zip((c.name for c in family.coordinates), family.points.T, strict=True))
    parameters = family.parameters
    value = lambda name: typed.get(name, np.asarray(parameters[name], np.float64))
    names = [name for name in FREQUENCIES if name in parameters]
    return np.stack([value(name) for name in names], axis=1), value("kappa")
