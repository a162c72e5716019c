"""Electrons that repel one another in an isotropic harmonic trap, as a family."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Array, Float

from qernel.hamiltonian import Coordinate, Coulomb, Family, Hamiltonian, Harmonic, Kinetic, Points

# All coordinates of dots: frequency, and strength of the repulsion, in which H is linear.
DOT_COORDINATES = (
    Coordinate("omega", "omega", "1", "ω", r"\omega", "trap frequency", logarithmic=True),
    Coordinate("strength", "strength", "1", "S", "S", "strength of the repulsion", linear=True),
)


def dot_frequency(parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
    """The trap frequency ω of one Hamiltonian."""
    return parameters["omega"]


def dot_strength(parameters: Mapping[str, Float[Array, ""]]) -> Float[Array, ""]:
    """The strength S of the repulsion of one Hamiltonian."""
    return parameters["strength"]


def dot_family(
    electrons: tuple[int, int],
    dimensions: int,
    omega: float,
    strength: float,
    coordinates: tuple[str, ...],
    points: Points,
) -> Family:
    r"""Electrons in a quantum dot,

    $$ H = \sum_i \Bigl[-\frac{\nabla_i^2}2 + \frac{\omega^2}2 r_i^2\Bigr] + \sum_{i<j} \frac S{r_{ij}} , $$

    in effective Hartree and effective Bohr radii. The potentials are called "trap" and "interaction". In units of
    $1/\sqrt\omega$ and ω there is one number, the coupling $S/\sqrt\omega$.

    **Arguments:**

    - `electrons`: (n_up, n_down); `dimensions`: two or three.
    - `omega`, `strength`: values of what does not vary.
    - `coordinates`: names of what varies, among "omega" and "strength"; `points`: the members, as in
      [`Family.of`][qernel.hamiltonian.Family.of].

    **Raises:** `ValueError` for other dimensions, unknown coordinates, a frequency that is not positive or a negative
    strength.

    **Example:** `dot_family((3, 3), 2, 1.0, 1.0, ("omega",), [0.1, 0.5, 1.0])`.
    """
    if dimensions not in (2, 3):
        raise ValueError(f"a dot has two or three dimensions, got {dimensions}")
    known = {coordinate.name: coordinate for coordinate in DOT_COORDINATES}
    for name in coordinates:
        if name not in known:
            raise ValueError(f"a dot has no coordinate '{name}': there are {', '.join(known)}")
    potentials = {"trap": Harmonic(dot_frequency), "interaction": Coulomb(dot_strength)}
    hamiltonian = Hamiltonian(Kinetic(), potentials, electrons, dim=dimensions)
    parameters = {"omega": float(omega), "strength": float(strength)}
    family = Family.of(hamiltonian, parameters, tuple(known[name] for name in coordinates), points)
    frequencies, strengths = dot_values(family)
    if np.any(frequencies <= 0) or np.any(strengths < 0):
        raise ValueError("the frequencies of a dot must be positive, and the strengths of its repulsion not negative")
    return family


def dot_values(family: Family) -> tuple[Float[np.ndarray, " members"], Float[np.ndarray, " members"]]:
    """Frequency and strength of every member, as a user typed them where they vary."""
    typed = dict(zip((c.name for c in family.coordinates), family.points.T, strict=True))
    value = lambda name: typed.get(name, np.asarray(family.parameters[name], np.float64))
    return value("omega"), value("strength")


def dot_couplings(family: Family) -> Float[np.ndarray, " members"]:
    r"""The coupling $S/\sqrt\omega$ of every member."""
    omega, strength = dot_values(family)
    return strength / np.sqrt(omega)
