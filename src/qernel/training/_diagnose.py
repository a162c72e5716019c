"""What is not finite in a step, and where: parameter, walker, member, term, layer."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from qernel import hosts
from qernel.compilation import compiled
from qernel.gradient import local_energies, local_energy
from qernel.hamiltonian import Family

from ._chunks import with_largest_chunks
from ._not_finite import first_not_finite
from ._state import Method, TrainingState
from ._step import probes_key, sample_round

_SHOWN = 4


def diagnose(state: TrainingState, family: Family, method: Method) -> str:
    """What is not finite in the next step of a state, in words: parameters, walkers or terms of the energy; and where:
    the names of the parameters, the members and numbers of the walkers, the layer in which one of them goes wrong."""
    with jax.enable_x64(True):
        broken = _broken(state.ansatz)
        if broken:
            return f"the parameters are not finite: {_listed(broken)}"
        broken = _broken(state.optimiser_state)
        if broken:
            return f"the optimiser state is not finite: {_listed(broken)}"
        outside = ~np.isfinite(hosts.fetch(state.positions)).all(axis=(2, 3))
        if outside.all():
            return "the walkers' positions are not finite"
        method = with_largest_chunks(method, state, family)
        positions = sample_round(state, family, method).positions
        parameters = state.in_phase(family).parameters
        energies = hosts.fetch(
            _measure(state.ansatz, family.hamiltonian, positions, parameters, method.laplacian, method.energy_chunk)
        )
        terms = {"kinetic": energies.kinetic, **energies.potentials}
        bad = {name: ~np.isfinite(values) for name, values in terms.items()}
        named = [f"{name} in {which.sum()} ({_places(which, family)})" for name, which in bad.items() if which.any()]
        if not named:
            return "local energies are finite, the update is not"
        words = f"not finite, in numbers of walkers: {'; '.join(named)}"
        if outside.any():
            words += f"; their positions are not finite: {_places(outside, family)}"
        inside = bad["kinetic"] & ~outside
        if not inside.any() or hosts.several():
            return words
        return words + _layer(state, family, method, hosts.fetch(positions), inside)


_measure = compiled(local_energies)


def _broken(tree: Any) -> list[str]:
    """Names of the arrays that are not finite."""
    arrays = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_inexact_array))
    return [jax.tree_util.keystr(path).lstrip(".") for path, leaf in arrays if not np.isfinite(hosts.fetch(leaf)).all()]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _places(which: Bool[np.ndarray, "members walkers"], family: Family) -> str:
    """The walkers of a mask: `all of member 0, omega = 1; 0, 3 of member 1, omega = 2`."""
    names = [coordinate.name for coordinate in family.varying]
    columns = [family.coordinates.index(coordinate) for coordinate in family.varying]
    found = []
    for member in np.flatnonzero(which.any(axis=1)):
        values = [f"{name} = {family.points[member, column]:g}" for name, column in zip(names, columns, strict=True)]
        numbers = [str(number) for number in np.flatnonzero(which[member])]
        walkers = "all" if which[member].all() else _listed(numbers)
        found.append(f"{walkers} of member {member}" + (f", {', '.join(values)}" if values else ""))
    more = f"; and of {len(found) - _SHOWN} more members" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more


def _layer(state, family, method, positions, which) -> str:
    """The layer in which the wavefunction of the first of these walkers, or else its kinetic energy, goes wrong."""
    member, walker = np.argwhere(which)[0]
    parameters = jax.tree.map(lambda leaf: leaf[member], state.in_phase(family).parameters)
    r = jnp.asarray(positions[member, walker])
    where = first_not_finite(lambda r: state.ansatz(r, parameters).log_magnitude, r)
    if where:
        return f"; first in the wavefunction: {where}"
    energy = lambda r: local_energy(
        state.ansatz, family.hamiltonian, r, parameters, method.laplacian, key=probes_key(state.key, state.step)
    )
    where = first_not_finite(lambda r: energy(r).kinetic, r)
    return f"; first in its Laplacian: {where}" if where else ""
