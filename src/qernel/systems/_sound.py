"""Whether the terms of a Hamiltonian are numbers, asked before a day is spent on them."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from qernel.hamiltonian import AbstractPotential, Family, Potential
from qernel.sampling import initial_positions

# A part of a hundredth of the places is missed by all of so many configurations once in ten thousand systems, and a
# small program is done with them in a millisecond.
_CONFIGURATIONS = 1000
# Members at which they are asked: those at the ends and between.
_MEMBERS = 5


def check_terms(family: Family, width: float | Sequence[float] | None) -> None:
    """Refuse a family whose potentials or kinetic energy are not what electrons can move in.

    The terms are traced, and potentials of the user's own are evaluated: at random places in the periodic cell, or with
    open boundaries in a cloud of the `width` where walkers start, and not at all without one.

    **Raises:** `ValueError` that names the term, for one that is not one real number, not a number at some of the
    places, or a mass that is not positive.
    """
    hamiltonian = family.hamiltonian
    with jax.enable_x64(True):
        numbers = sorted({int(n) for n in np.linspace(0, family.size - 1, _MEMBERS).round()})
        chosen = family.take(numbers)
        r = jax.ShapeDtypeStruct((hamiltonian.n_electrons, hamiltonian.dim), jnp.dtype(float))
        # Says by itself what is complex, or has axes.
        eqx.filter_eval_shape(hamiltonian.potential_energies, r, chosen.select(0))
        _check_mass(chosen)
        own = {name: v for name, v in hamiltonian.potentials.items() if _of_the_user(v)}
        if not own or (hamiltonian.cell is None and width is None):
            return
        spread = np.asarray(width, np.float64) if isinstance(width, Sequence) else width
        places = initial_positions(hamiltonian, 1, _CONFIGURATIONS, key=jax.random.key(0), width=spread, dtype=float)[0]
        for name, potential in own.items():
            _check_values(name, potential, chosen, np.asarray(places))


def _of_the_user(potential: AbstractPotential) -> bool:
    # Those of the library are tested, and a program for each family would take longer to compile than the rest.
    return isinstance(potential, Potential) or type(potential).__module__.split(".")[0] != __name__.split(".")[0]


def _check_mass(family: Family) -> None:
    hamiltonian = family.hamiltonian
    if hamiltonian.kinetic.inverse_mass is None:
        return
    values = np.asarray(jax.vmap(hamiltonian.kinetic.prefactor)(family.parameters))
    if not np.all(np.isfinite(values) & (values > 0)):
        raise ValueError(f"the inverse mass must be positive at all members of a family, got {values.tolist()}")


def _check_values(
    name: str, potential: AbstractPotential, family: Family, places: Float[np.ndarray, "walkers electrons dim"]
) -> None:
    of_walkers = jax.vmap(potential, (0, None))
    values = np.asarray(jax.jit(jax.vmap(of_walkers, (None, 0)))(jnp.asarray(places), family.parameters))
    # A wall of +infinity is one, where the wavefunction vanishes.
    bad = np.isnan(values) | np.isneginf(values)
    if not bad.any():
        return
    member, walker = np.argwhere(bad)[0]
    at = (
        ""
        if not family.coordinates
        else " at "
        + ", ".join(c.text(float(x)) for c, x in zip(family.coordinates, family.points[member], strict=True))
    )
    where = "in the cell" if family.hamiltonian.cell is not None else "where walkers start"
    raise ValueError(
        f"the potential '{name}' is {values[member, walker]} for {bad[member].mean():.0%} of all random configurations "
        f"{where}{at}, the first with the electrons at {np.round(places[walker], 3).tolist()}: it must be a number "
        "wherever electrons come"
    )
