"""Expectation values of frozen wavefunctions."""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from qernel import hosts
from qernel.ansatz import Ansatz, log_density
from qernel.chunks import sharing_devices
from qernel.compilation import compiled
from qernel.gradient import largest_chunk, local_energies
from qernel.hamiltonian import Family
from qernel.laplacian import AbstractLaplacian, AbstractRandomLaplacian, ForwardLaplacian
from qernel.observables import (
    AbstractObservable,
    Measured,
    Measurement,
    check_grid,
    check_wave_vectors,
    default_grid,
    default_wave_vectors,
    density_of_groups,
    density_waves,
    histogram,
    slope_along,
)
from qernel.sampling import Sampler, Walkers, sampling_round
from qernel.units import EFFECTIVE_UNITS, Units

from ._evaluation import Evaluation
from ._names import check_names, slopes, taken_names
from ._standard_observables import standard_observables

# Groups of walkers whose densities are compared for its error: known to 1/sqrt(2*31), and memory stays
# bounded.
_GROUPS = 32
# Random numbers of the observables.
_OBSERVABLES = 0x6F627365
_PROBES = 0x70726F62
# Walkers of each Hamiltonian, and draws of each walker, by which a random Laplacian is compared with the exact one.
_PAIRED = 4


class _Sums(eqx.Module):
    """Running sums over the measured rounds, on the device."""

    counts: Int[Array, "hamiltonians groups bins"] | None
    structure: Float[Array, "hamiltonians walkers vectors"]
    samples: Int[Array, "hamiltonians walkers"]


class _Round(eqx.Module):
    """Energies, term by term, of one measured round, which of them are finite, and the acceptance."""

    terms: dict[str, Float[Array, "hamiltonians walkers"]]
    finite: Bool[Array, "hamiltonians walkers"]
    acceptance: Float[Array, " hamiltonians"]


def evaluate(
    ansatz: Ansatz,
    family: Family,
    positions: Float[Array, "hamiltonians walkers electrons dim"],
    *,
    sampler: Sampler,
    key: PRNGKeyArray,
    step_size: Float[Array, " hamiltonians"] | float,
    burn_in: int = 50,
    rounds: int = 200,
    observables: Sequence[AbstractObservable] | None = None,
    units: Units = EFFECTIVE_UNITS,
    laplacian: AbstractLaplacian | None = None,
    chunk: int | Literal["auto"] | None = None,
    grid: int | tuple[int, ...] | None = None,
    wave_vectors: Float[np.ndarray, "..."] | None = None,
    record_every: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    r"""Measure a wavefunction at every Hamiltonian of a family, with its parameters frozen.

    First `burn_in` rounds of sampling, during which the step size adapts, then `rounds` measured ones with
    the step size frozen (an adapting chain has no stationary distribution). Moves and measurement are compiled
    once; the ansatz and the Hamiltonians' parameters are traced arguments, so that other members or a later
    checkpoint reuse it. The numbers do not depend on `chunk`.

    **Arguments:**

    - `positions`: starting walkers, in the Hamiltonian's unit of length. They may come from training; from
      elsewhere they need a longer burn-in.
    - `sampler`: one round of sampling; `step_size`: starting width of its moves.
    - `observables`: what to measure on the recorded samples beside energies, density and structure factor
      ([`AbstractObservable`][qernel.observables.AbstractObservable]s); by default the
      [standard ones][qernel.evaluation.standard_observables]. `units`: those that they report in.
    - `laplacian`, `chunk`: as for [`qernel.gradient.local_energies`][], or "auto" for
      [`largest_chunk`][qernel.gradient.largest_chunk]. The noise of a random Laplacian is in the error bars of the
      energies, and in their variance.
    - `grid`: bins of the density along each cell vector (default: about 16 to a primitive cell).
    - `wave_vectors`: of the structure factor (default: all of the cell up to three inverse spacings 2π/d).
    - `record_every`: keep the positions of every so many measured rounds in `samples` (0: none, and no observables).
      They leave the device after each round, so that only the host's memory grows with the number of rounds.
    - `progress(done, total)`: called after every round, burn-in included.

    **Raises:** `ValueError` if shapes do not fit, a step size is not positive, there are fewer than two rounds, a wave
    vector is not periodic, or two quantities have one name.
    """
    hamiltonian = family.hamiltonian
    _check(family, positions, burn_in, rounds, chunk, record_every)
    steps = _widths(step_size, positions)
    sampler = sampler.with_largest_chunk(log_density, ansatz, family.parameters, positions, steps)
    if isinstance(chunk, str):
        chunk = largest_chunk(ansatz, hamiltonian, positions, family.parameters, laplacian)
    halves, vectors = _wave_vectors(hamiltonian, wave_vectors)
    cell = hamiltonian.cell
    bins = default_grid(hamiltonian) if cell is None or grid is None else check_grid(grid, cell.dim)
    size, walkers = positions.shape[:2]
    groups = min(walkers, _GROUPS)
    keys = jax.random.split(key)

    def report(done: int) -> None:
        if progress is not None:
            progress(done, burn_in + rounds)

    devices = sharing_devices(positions)
    sampler = dataclasses.replace(sampler, chunk=sampler.chunk and sampler.chunk * devices)
    chunk = chunk and chunk * devices
    # What a round returns lies where the compiler likes it, and in another place it would need another program.
    place = _placement(positions)

    def move(positions: Array, steps: Array, key: PRNGKeyArray, number: int) -> Walkers:
        # The number is an array: a Python number would be static and retrace for every round.
        return sampling_round(sampler, log_density(ansatz), family.parameters, positions, steps, key, np.int32(number))

    for number in range(burn_in):
        positions, steps = place(positions), place(steps)
        walker = move(positions, steps, keys[0], number)
        positions, steps = walker.positions, walker.step_size
        jax.block_until_ready(steps)
        report(number + 1)
    start = hosts.fetch(positions)
    # The step size that a round would go on with is dropped: an adapting chain has no stationary distribution.
    chain = functools.partial(move, key=keys[1])
    sums = _Sums(
        None if cell is None else jnp.zeros((size, groups, math.prod(bins)), jnp.int32),
        jnp.zeros((size, walkers, len(halves)), positions.dtype),
        jnp.zeros((size, walkers), jnp.int32),
    )
    probing = jax.random.fold_in(key, _PROBES)
    measure = functools.partial(
        _measured, ansatz, family, key=probing, laplacian=laplacian, chunk=chunk, bins=bins, groups=groups
    )
    there = jnp.asarray(halves, positions.dtype)
    positions, sums, measured, samples = _measured_rounds(
        chain, measure, place, positions, steps, sums, there, rounds, record_every, lambda n: report(burn_in + n)
    )
    ansatz, family, positions, steps, sums = hosts.local((ansatz, family, positions, steps, sums))
    random = isinstance(laplacian, AbstractRandomLaplacian)
    noise = _probe_noise(ansatz, family, positions, laplacian, probing) if random else None
    real = bool(eqx.filter_eval_shape(ansatz, positions[0, 0], family.select(0)).real)
    evaluation = _collect(measured, sums, start, positions, steps, family, bins, groups, vectors, real, samples)
    evaluation = dataclasses.replace(evaluation, probe_noise=noise)
    if samples is None:
        return evaluation
    chosen = standard_observables(hamiltonian, samples) if observables is None else tuple(observables)
    # A stream of its own: what is drawn for one observable does not depend on the others.
    observed = _observed(chosen, samples, family, ansatz, units, jax.random.fold_in(key, _OBSERVABLES))
    return dataclasses.replace(evaluation, observed=observed)


def _probe_noise(
    ansatz: Ansatz, family: Family, positions: Array, laplacian: AbstractLaplacian, key: PRNGKeyArray
) -> Float[np.ndarray, "draws hamiltonians compared"]:
    """Energies of a random Laplacian less the exact ones, of some walkers, in several draws."""
    r = jnp.asarray(positions[:, :_PAIRED])
    draws = range(_PAIRED)
    exact = _total(ansatz, family, r, key, ForwardLaplacian())
    probed = [_total(ansatz, family, r, jax.random.fold_in(key, np.uint32(_PROBES + n)), laplacian) for n in draws]
    return np.stack(probed) - exact


@compiled
def _energies_one_by_one(ansatz, family, r, key, laplacian):
    return local_energies(ansatz, family.hamiltonian, r, family.parameters, laplacian, 1, key=key).total.real


def _total(ansatz, family, r, key, laplacian):
    return np.asarray(_energies_one_by_one(ansatz, family, r, key, laplacian), np.float64)


def _widths(step_size: Float[Array, " hamiltonians"] | float, positions: Array) -> Float[Array, " hamiltonians"]:
    """The width of the moves of every Hamiltonian, checked."""
    steps = jnp.broadcast_to(jnp.asarray(step_size, positions.dtype), positions.shape[:1])
    if steps.is_fully_addressable and not np.all(np.isfinite(steps) & (np.asarray(steps) > 0)):
        raise ValueError(f"the width of the moves must be positive, got step_size={np.asarray(steps).tolist()}")
    return steps


def _measured_rounds(chain, measure, place, positions, steps, sums, vectors, rounds, record_every, report):
    """Move and measure so many rounds: the walkers, the sums, what each round left, and the recorded samples."""
    measured: list[_Round] = []
    recorded: list[np.ndarray] = []
    for number in range(rounds):
        positions, steps, sums = place(positions), place(steps), jax.tree.map(place, sums)
        walker = chain(positions, steps, number=number)
        positions = place(walker.positions)
        sums, record = measure(positions, walker.acceptance, sums, vectors, number=np.int32(number))
        measured.append(hosts.fetch(record))
        if record_every and number % record_every == 0:
            finite = measured[-1].finite[..., None, None]
            recorded.append(np.where(finite, hosts.fetch(positions), np.asarray(np.nan, positions.dtype)))
        report(number + 1)
    return positions, sums, measured, np.stack(recorded, axis=2) if recorded else None


def _observed(chosen, samples, family, ansatz, units, key) -> tuple[dict[str, Measured], ...]:
    """Every observable at every member."""
    found, taken = [], taken_names(family)
    with warnings.catch_warnings():
        # Errors of fewer than eight walkers are NaN, which says it in the table.
        warnings.filterwarnings("ignore", "an error bar needs")
        for row, of_member in enumerate(samples):
            member = Measurement(
                of_member, family.hamiltonian, family.select(row), ansatz, units, jax.random.fold_in(key, row)
            )
            quantities: dict[str, Measured] = {}
            for observable in chosen:
                new = observable.measure(member)
                if row == 0:
                    _check_measured(new, quantities, taken)
                quantities |= new
            shapes = [{name: one.estimate.value.shape for name, one in q.items()} for q in (quantities, *found[:1])]
            if shapes[0] != shapes[-1]:
                raise ValueError(
                    f"observables measure the same quantities, of the same shapes, of every state of a family: got "
                    f"{shapes[-1]} of member 0 and {shapes[0]} of member {row}"
                )
            for name, one in quantities.items():
                of_first = found[0][name].grids if found else one.grids
                if of_first.keys() != one.grids.keys() or not all(
                    np.array_equal(of_first[key].values, grid.values) for key, grid in one.grids.items()
                ):
                    raise ValueError(
                        f"the grid of '{name}' is another one at member {row} than at member 0: of a table there is "
                        "one for all states of a family"
                    )
            found.append(quantities)
    return tuple(found)


def _check_measured(new: dict[str, Measured], others: dict[str, Measured], taken: set[str]) -> None:
    """Raise `ValueError` where the quantities of one observable do not fit into a table beside the others."""
    grids = {dimension: grid for one in others.values() for dimension, grid in one.grids.items()}
    taken = taken | {name + end for name in others for end in ("", "_error")}
    for name, one in new.items():
        clash = {name, f"{name}_error"} & taken
        if clash:
            raise ValueError(f"two quantities are called {min(clash)!r}: give the observable another name")
        value = one.estimate.value
        if np.iscomplexobj(value):
            raise ValueError(f"the observable '{name}' is complex: measure its real and imaginary part")
        if value.ndim != len(one.dimensions):
            raise ValueError(
                f"the observable '{name}' has the shape {value.shape} and the dimensions "
                f"{', '.join(one.dimensions) or 'of a number'}: name one dimension for each axis"
            )
        for dimension, grid in one.grids.items():
            if dimension not in one.dimensions or len(grid.values) != value.shape[one.dimensions.index(dimension)]:
                raise ValueError(
                    f"the grid of '{name}' along '{dimension}' has {len(grid.values)} values, which does not fit the "
                    f"shape {value.shape} with the dimensions {', '.join(one.dimensions)}"
                )
            other = grids.get(dimension)
            if dimension in taken or (other is not None and not np.array_equal(other.values, grid.values)):
                raise ValueError(f"two grids are called {dimension!r}: give the dimension of '{name}' another name")


def _placement(positions: Array) -> Callable[[Array], Array]:
    """Puts an array with leading axes (Hamiltonian, walker), or the first of them, where the walkers are."""
    sharding = positions.sharding
    if not isinstance(sharding, NamedSharding):
        return lambda array: array
    hamiltonians, walkers = (*sharding.spec, None, None)[:2]

    def place(array: Array) -> Array:
        shared = array.shape[:2] == positions.shape[:2]
        return hosts.put(
            array, NamedSharding(sharding.mesh, PartitionSpec(hamiltonians, *([walkers] if shared else [])))
        )

    return place


@compiled
def _measured(
    ansatz, family, r, acceptance, sums, vectors, key, number, laplacian, chunk, bins, groups
) -> tuple[_Sums, _Round]:
    hamiltonian = family.hamiltonian
    key = jax.random.fold_in(key, number)
    energies = local_energies(ansatz, hamiltonian, r, family.parameters, laplacian, chunk, key=key)
    terms = {
        "energy": energies.total.real,
        "kinetic": energies.kinetic.real,
        "kinetic_from_gradient": energies.kinetic_from_gradient,
        **energies.potentials,
    }
    for name, coordinate in slopes(family).items():
        slope = jax.vmap(jax.vmap(slope_along(hamiltonian, coordinate), in_axes=(0, 0, None)))
        terms[name] = slope(r, energies.kinetic.real, family.parameters)
    finite = jnp.all(jnp.stack([jnp.isfinite(value) for value in terms.values()]), axis=0)
    finite = finite & jnp.isfinite(energies.total.imag)
    structure = jax.vmap(jax.vmap(lambda x: jnp.sum(density_waves(x, vectors) ** 2, axis=0) / x.shape[0]))(r)
    structure = sums.structure + jnp.where(jnp.broadcast_to(finite[..., None], structure.shape), structure, 0)
    counts = None
    if sums.counts is not None:
        group = np.arange(r.shape[1]) % groups
        counts = sums.counts + jax.vmap(lambda x, used: histogram(hamiltonian.cell, bins, x, group, used))(r, finite)
    sums = _Sums(counts, structure, sums.samples + finite.astype(jnp.int32))
    return sums, _Round(terms, finite, acceptance)


def _wave_vectors(hamiltonian, wave_vectors):
    """Vectors to measure, and all vectors to report: S(-q) = S(q) is not measured twice."""
    if wave_vectors is not None:
        vectors = check_wave_vectors(hamiltonian, wave_vectors)
        return vectors, vectors
    vectors = default_wave_vectors(hamiltonian)
    first = np.round(vectors / max(float(np.abs(vectors).max(initial=1.0)), 1e-300), 9) + 0.0
    # The half space: the first component that is not zero is positive.
    sign = np.zeros(len(first))
    for component in first.T:
        sign = np.where(sign == 0, np.sign(component), sign)
    halves = vectors[sign > 0]
    return halves, np.concatenate([halves, -halves])


def _collect(measured, sums, start, positions, steps, family, bins, groups, vectors, real, recorded) -> Evaluation:
    hamiltonian = family.hamiltonian
    walkers = positions.shape[1]
    finite = np.stack([one.finite for one in measured], axis=-1)
    series = {
        name: np.where(finite, np.stack([one.terms[name] for one in measured], axis=-1), np.nan).astype(np.float64)
        for name in measured[0].terms
    }
    samples = np.asarray(sums.samples, np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        structure = np.asarray(sums.structure, np.float64) / samples[..., None]
    structure = np.concatenate([structure] * (2 if len(vectors) > structure.shape[-1] else 1), axis=-1)
    mean, error = _mean_over_walkers(structure, samples)
    density = density_error = None
    if sums.counts is not None:
        group = np.arange(walkers) % groups
        of_groups = np.stack([samples[:, group == g].sum(axis=1) for g in range(groups)], axis=1)
        density, density_error = (
            x.reshape(-1, *bins)
            for x in density_of_groups(np.asarray(sums.counts, np.int64), of_groups, hamiltonian.cell)
        )
    # An eigenstate's energy is constant, so only the positions tell a walker that never moved.
    stuck = np.all(np.asarray(positions) == start, axis=(2, 3))
    return Evaluation(
        series=series,
        acceptance=np.stack([one.acceptance for one in measured], axis=-1).astype(np.float64),
        step_size=np.asarray(steps, np.float64),
        stuck=np.sum(stuck, axis=1).astype(np.int64),
        non_finite=np.sum(~finite, axis=(1, 2)).astype(np.int64),
        density=density,
        density_error=density_error,
        wave_vectors=vectors,
        structure_factor=mean,
        structure_factor_error=error,
        positions=np.asarray(positions, np.float64),
        n_electrons=hamiltonian.n_electrons,
        real=real,
        samples=recorded,
    )


def _mean_over_walkers(values, samples):
    """Weighted mean over the walkers, and its error from their spread: they are independent chains."""
    used = samples > 0
    values = np.where(used[..., None], values, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = (samples / samples.sum(axis=1, keepdims=True))[..., None]
        mean = np.sum(weights * values, axis=1)
        count = used.sum(axis=1)[:, None]
        spread = np.sum(weights**2 * (values - mean[:, None]) ** 2, axis=1)
        return mean, np.sqrt(spread * count / (count - 1))


def _check(family, positions, burn_in, rounds, chunk, record_every) -> None:
    hamiltonian = family.hamiltonian
    check_names(family)
    expected = (hamiltonian.n_electrons, hamiltonian.dim)
    if positions.ndim != 4 or positions.shape[2:] != expected or positions.shape[0] != family.size:
        raise ValueError(
            f"the walkers need the shape ({family.size} Hamiltonians, walkers, {expected[0]} electrons, "
            f"{expected[1]} dimensions), got {positions.shape}"
        )
    if positions.shape[1] < 1:
        raise ValueError("an evaluation needs at least one walker")
    if burn_in < 0:
        raise ValueError(f"the number of rounds of burn-in cannot be negative, got {burn_in}")
    if rounds < 2:
        raise ValueError(f"an error bar needs at least two measured rounds, got {rounds}")
    if record_every < 0:
        raise ValueError(f"record_every counts rounds: 1 keeps them all, 0 none, got {record_every}")
    if isinstance(chunk, int) and chunk < 1:
        raise ValueError(f"a chunk needs at least one walker, got {chunk}")
