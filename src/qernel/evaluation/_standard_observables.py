"""Observables that need no knowledge of the system, measured in every evaluation beside energies."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from qernel.ansatz import CompetingPhases, MomentumProjected, OnePhase
from qernel.hamiltonian import Hamiltonian
from qernel.observables import (
    AbstractObservable,
    Estimate,
    Grid,
    Measured,
    Measurement,
    keeps_potentials,
    localisation_length,
    momentum_distribution,
    pair_correlation,
    total_momentum,
    walker_means,
)

# Samples that tell a weight to 0.022 in the worst case, where it is one half.
_FEWEST = 512
# Evaluations of a wavefunction of so many electrons that an observable may take for itself, and the fewest samples
# where there are more electrons: what an evaluation costs grows with their square, and they average more.
_EVALUATIONS, _ELECTRONS, _FEWEST_OF_MANY = 50_000, 24, 24


class PairCorrelations(AbstractObservable):
    """g(r) in a periodic cell, of parallel and antiparallel spins too where both occur."""

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        found, units = pair_correlation(measurement.samples, measurement.hamiltonian), measurement.units
        r = {"r": Grid(found.displacement * units.bohr, units.length, "distance of two electrons")}
        values = {"pair_correlation": ("pair correlation function", found.total)}
        if found.antiparallel is not None:
            for spins, estimate in (("parallel", found.parallel), ("antiparallel", found.antiparallel)):
                values[f"pair_correlation_{spins}"] = (f"pair correlation function of {spins} spins", estimate)
        return {
            name: Measured(estimate, text=text, symbol="g(r)", dimensions=("r",), grids=r)
            for name, (text, estimate) in values.items()
        }


class LocalisationLength(AbstractObservable):
    """Resta and Sorella's localisation length in a periodic cell, and the modulus that it comes from."""

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        found, units = localisation_length(measurement.samples, measurement.hamiltonian), measurement.units
        length = Estimate(found.length.value * units.bohr, found.length.error * units.bohr)
        text = "localisation length; a lower bound where polarisation_modulus is not above its error"
        modulus = "|<exp(ib.sum r)>| at the shortest reciprocal vectors of the periodic cell"
        return {
            "localisation_length": Measured(length, units.length, text),
            "polarisation_modulus": Measured(found.modulus, text=modulus),
        }


class MomentumOccupations(AbstractObservable):
    """n(k) in a periodic cell, of each spin too where both occur: N + 1 evaluations of the wavefunction a sample.

    Of more than 24 electrons not all samples are taken, but as many as keep the time of the smaller system, spread over
    walkers and records.
    """

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        m, units = measurement, measurement.units
        samples = _some(m.samples, _affordable(m.samples, m.hamiltonian.n_electrons + 1))
        angles = m.hamiltonian.twist_angles(m.parameters)
        found = momentum_distribution(
            samples,
            m.hamiltonian,
            m.ansatz,
            m.parameters,
            key=m.key,
            twist=None if angles is None else tuple(angles.tolist()),
        )
        # Less the twist, so that all members have one grid.
        shift = 0.0 if angles is None else angles @ m.hamiltonian.cell.reciprocal / (2 * np.pi)  # pyright: ignore[reportOptionalMemberAccess]
        words = "wave vector" if angles is None or not angles.any() else "wave vector less the twist"
        vectors = Grid((found.wave_vectors - shift) / units.bohr, f"1/{units.length}", words)
        values = {"momentum_distribution": ("occupation of plane waves", found.total)}
        if all(m.hamiltonian.electrons):
            for spin, name in enumerate(("up", "down")):
                of_spin = Estimate(found.of_spins.value[spin], found.of_spins.error[spin])
                values[f"momentum_distribution_{name}"] = (f"occupation of plane waves, spin {name}", of_spin)
        return {
            name: Measured(estimate, text=text, symbol="n(k)", dimensions=("k",), grids={"k": vectors})
            for name, (text, estimate) in values.items()
        }


class TotalMomenta(AbstractObservable):
    """The weights of the total momenta, where the potential has a lattice of its own: see
    [`total_momentum`][qernel.observables.total_momentum].

    As many evaluations of the wavefunction as there are recorded samples, or 512 times the number of primitive cells if
    that is more: of the samples some are taken, spread over walkers and records. Fewer of more than 24 electrons. NaN
    where a potential does not have the period of the primitive cells. Nothing is measured without a primitive cell, or
    in a single one.
    """

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        m, supercell = measurement, measurement.hamiltonian.supercell
        if supercell is None or supercell.cells == 1:
            return {}
        found = total_momentum(_some(m.samples, _count(m, supercell.cells)), m.hamiltonian, m.ansatz, m.parameters)
        weights, momenta = found.weights, Grid(found.momenta, "reciprocal vectors of the supercell", "total momentum")
        if not keeps_potentials(m.hamiltonian, m.parameters, m.samples):
            weights = Estimate(np.full_like(weights.value, np.nan), np.full_like(weights.error, np.nan))
        text = "weight of the total momentum"
        return {
            "total_momentum": Measured(weights, "1", text, "P(K)", ("momentum",), {"momentum": momenta}),
        }


class OpenDensity(AbstractObservable):
    r"""The density with open boundaries, $n(r) = \langle\sum_i\delta(r - r_i)\rangle$, on equal bins of a box.

    **Arguments:** `extent`: half the length of the box along each axis, about the origin, in effective Bohr radii;
    `bins`: along each axis. Electrons outside the box are not counted.
    """

    extent: tuple[float, ...] = eqx.field(static=True)
    bins: int = eqx.field(static=True, default=40)

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        units, dim = measurement.units, len(self.extent)
        edges = [np.linspace(-x, x, self.bins + 1) for x in self.extent]
        volume = float(np.prod([e[1] - e[0] for e in edges]))
        found = walker_means(Partial(_in_box, np.array(self.extent), self.bins), _wide(measurement)).estimate()
        scale = 1 / (volume * units.bohr**dim)
        names = ("x", "y", "z")[:dim]
        grids = {
            n: Grid((e[1:] + e[:-1]) / 2 * units.bohr, units.length, f"position {n}")
            for n, e in zip(names, edges, strict=True)
        }
        text = "electron density on bins of a box"
        unit = f"electrons per {units.length}" + ("" if dim == 1 else f"^{dim}")
        density = Estimate(found.value * scale, found.error * scale)
        return {"density": Measured(density, unit, text, "n(r)", names, grids)}


class PairDistances(AbstractObservable):
    r"""The distribution of pair distances with open boundaries, $P(s) = \langle\delta(s - |r_i - r_j|)\rangle$
    averaged over the pairs, so that $\int P\,ds = 1$.

    **Arguments:** `longest` distance that is counted, in effective Bohr radii; `bins`, equal ones up to it.
    """

    longest: float = eqx.field(static=True)
    bins: int = eqx.field(static=True, default=40)

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        units, width = measurement.units, self.longest / self.bins
        found = walker_means(Partial(_distances, self.longest, self.bins), _wide(measurement)).estimate()
        scale = 1 / (width * units.bohr)
        r = Grid((np.arange(self.bins) + 0.5) * width * units.bohr, units.length, "distance of two electrons")
        estimate = Estimate(found.value * scale, found.error * scale)
        text = "distribution of pair distances"
        return {"pair_distances": Measured(estimate, f"1/{units.length}", text, "P(r)", ("r",), {"r": r})}


class MeanSquareRadii(AbstractObservable):
    r"""The mean square of an electron's position along each axis, $\langle\sum_i x_{ia}^2\rangle/N$, open
    boundaries."""

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        units = measurement.units
        found = walker_means(_squares, _wide(measurement)).estimate()
        measured = {}
        for axis, name in enumerate(("x", "y", "z")[: measurement.hamiltonian.dim]):
            estimate = Estimate(found.value[axis] * units.bohr**2, found.error[axis] * units.bohr**2)
            text = f"mean square of an electron's position along {name}"
            measured[f"{name}_squared"] = Measured(estimate, f"{units.length}^2", text, f"⟨{name}²⟩")
        return measured


def standard_observables(
    hamiltonian: Hamiltonian, samples: Float[np.ndarray, "hamiltonians walkers records electrons dim"]
) -> tuple[AbstractObservable, ...]:
    """In a periodic cell g(r), localisation length, n(k) and, of several primitive cells, total momenta; with open
    boundaries density, distances and radii.

    `samples` of all members decide how far the boxes of the density and of the distances reach.
    """
    if hamiltonian.cell is not None:
        several = hamiltonian.supercell is not None and hamiltonian.supercell.cells > 1
        return (PairCorrelations(), LocalisationLength(), MomentumOccupations(), *[TotalMomenta()] * several)
    # Nearly everything: the tail of one stray walker must not make all bins coarse.
    reach = np.nanquantile(np.abs(samples), 0.9995, axis=(0, 1, 2, 3)) * 1.1
    extent = tuple(float(x) for x in np.maximum(reach, 1e-6))
    # A mean for each walker and bin is kept: 40 bins along each of three axes would be half a megabyte a walker.
    density = OpenDensity(extent, {1: 80, 2: 40, 3: 16}[hamiltonian.dim])
    if hamiltonian.n_electrons == 1:
        return (density, MeanSquareRadii())
    return (density, PairDistances(float(2 * np.linalg.norm(extent))), MeanSquareRadii())


def _count(measurement: Measurement, cells: int) -> int:
    """Number of samples that the weights of total momenta are measured on, at `cells` evaluations of ψ each."""
    walkers, records = measurement.samples.shape[:2]
    ansatz = measurement.ansatz
    ansatz = ansatz.ansatz if isinstance(ansatz, OnePhase) else ansatz
    ansatz = ansatz.ansatz if isinstance(ansatz, CompetingPhases) else ansatz
    if isinstance(ansatz, MomentumProjected):
        # Every one evaluates the network at each translation, and every sample has the same weights: of eight walkers,
        # the fewest with an error, it is seen.
        return max(_FEWEST // cells, 8)
    return min(max(walkers * records // cells, _FEWEST), _affordable(measurement.samples, cells))


def _affordable(samples: Float[np.ndarray, "walkers records electrons dim"], evaluations: int) -> int:
    """Number of samples that an observable of so many evaluations a sample may take: all of a small system."""
    walkers, records, electrons, _ = samples.shape
    if electrons <= _ELECTRONS:
        return walkers * records
    budget = _EVALUATIONS * (_ELECTRONS / electrons) ** 2
    return max(int(budget) // evaluations, _FEWEST_OF_MANY)


def _some(
    samples: Float[np.ndarray, "walkers records electrons dim"], count: int
) -> Float[np.ndarray, "some_walkers some_records electrons dim"]:
    """About so many samples, of all walkers if there are not too many of them: the error is from their spread."""
    walkers, records = samples.shape[:2]
    if count >= walkers * records:
        return samples
    spread = lambda total, wanted: np.linspace(0, total - 1, min(total, wanted)).round().astype(int)
    return samples[spread(walkers, count)][:, spread(records, max(count // walkers, 1))[::-1]]


def _wide(measurement: Measurement) -> Float[np.ndarray, "walkers records electrons dim"]:
    return np.asarray(measurement.samples, np.float64)


def _in_box(extent: Array, bins: int, r: Float[Array, "electrons dim"]) -> Array:
    places = jnp.floor((r / extent[None] + 1) / 2 * bins).astype(jnp.int32)
    inside = jnp.all((places >= 0) & (places < bins), axis=1)
    places = jnp.where(inside[:, None], places, bins)
    counts = jnp.zeros((bins,) * r.shape[1], r.dtype)
    return counts.at[tuple(places.T)].add(1.0, mode="drop")


def _distances(longest: float, bins: int, r: Float[Array, "electrons dim"]) -> Array:
    i, j = np.triu_indices(len(r), 1)
    distance = jnp.sqrt(jnp.sum((r[i] - r[j]) ** 2, axis=1))
    counts = jnp.zeros(bins, r.dtype)
    return counts.at[(distance / longest * bins).astype(jnp.int32)].add(1.0 / len(i), mode="drop")


def _squares(r: Float[Array, "electrons dim"]) -> Array:
    return jnp.mean(r**2, axis=0)
