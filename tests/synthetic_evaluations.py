"""Evaluations made of random numbers of known distribution, for tests that need no wavefunction."""

import dataclasses
import functools

import numpy as np

from qernel.evaluation import Evaluation, KnownValues, indexed, joined_phases, labelled_rows, results
from qernel.exact import filling_boundary, filling_energy, filling_slopes, filling_terms, filling_widths, ground_energy
from qernel.hamiltonian import Coordinate, Family, Hamiltonian, Harmonic, HarmonicPair, Kinetic
from qernel.observables import Estimate, Grid, Measured, zone_corners
from qernel.orbitals import AbstractOrbitals
from qernel.systems import Phase, System
from qernel.systems.moire import Material, moire_family, moire_system

MATERIAL = Material()


# ------------------------------------------------------------------------------- one coordinate, a periodic cell


def family_of(depths, size=3, electrons=6, **varying):
    return moire_family(MATERIAL, size, (electrons, 0), depths, **varying)


def evaluation_of(
    family,
    *,
    energy=-50.0,
    slope=None,
    interaction=-55.0,
    corner=0.7,
    walkers=16,
    rounds=60,
    sigma=1.0,
    real=True,
    seed=0,
    observed=None,
):
    """Independent normal samples of given mean energies (meV per electron), one number or one for each row.

    The moiré energy is `slope` times the depth, the kinetic energy what remains; S(q) = 1 but at the zone
    corners, where it is `corner`, which the order parameter is as well; the density is a bump at every other cell, plus
    noise. `observed`: further numbers, of every row, by name.
    """
    rng = np.random.default_rng(seed)
    rows, n = family.size, family.hamiltonian.n_electrons
    unit = n / MATERIAL.hartree_meV
    depth = np.asarray(family.parameters.depth) * MATERIAL.hartree_meV
    column = lambda x: np.broadcast_to(np.asarray(x, float), (rows,))[:, None, None]
    noise = lambda scale: scale * rng.standard_normal((rows, walkers, rounds))
    slope = -depth / 20 if slope is None else slope
    slopes = column(slope) + noise(0.05)
    series = {"moire": depth[:, None, None] * slopes, "interaction": column(interaction) + noise(0.3)}
    series["energy"] = column(energy) + noise(sigma)
    series["kinetic"] = series["energy"] - series["moire"] - series["interaction"]
    series["kinetic_from_gradient"] = series["kinetic"] + noise(0.5)
    series = {name: values * unit for name, values in series.items()}
    # In the Hamiltonian's own unit of energy, per unit of the coordinate.
    series["slope"] = slopes * unit
    cell, primitive = family.hamiltonian.cell, family.hamiltonian.primitive
    vectors = cell.reciprocal_vectors(2.0 * np.linalg.norm(primitive.reciprocal[0]))
    corners = zone_corners(primitive)
    at_corner = (np.linalg.norm(vectors[:, None] - corners, axis=-1) < 1e-6).any(axis=1)
    structure = np.where(at_corner, np.broadcast_to(corner, rows)[:, None], 1.0 - 0.3 * (np.arange(len(vectors)) < 6))
    of_walkers = structure[:, None] + 0.03 * rng.standard_normal((rows, walkers, len(vectors)))
    structure_error = of_walkers.std(axis=1, ddof=1) / np.sqrt(walkers)
    x = np.arange(24) / 24
    bump = np.cos(2 * np.pi * 3 * x)[:, None] + np.cos(2 * np.pi * 3 * x)[None] + np.cos(2 * np.pi * x)[:, None]
    density = n / cell.volume * (1 + depth[:, None, None] / 100 * bump)
    return Evaluation(
        series=series,
        acceptance=np.full((rows, rounds), 0.5),
        step_size=np.ones(rows),
        stuck=np.zeros(rows, np.int64),
        non_finite=np.zeros(rows, np.int64),
        density=density + 1e-4 * rng.standard_normal(density.shape),
        density_error=np.full_like(density, 1e-4),
        wave_vectors=vectors,
        structure_factor=of_walkers.mean(axis=1),
        structure_factor_error=structure_error,
        positions=np.zeros((rows, walkers, n, 2)),
        n_electrons=n,
        real=real,
        observed=tuple(_order(row, at_corner, of_walkers, observed or {}) for row in range(rows)),
    )


def _order(row, at_corner, of_walkers, observed):
    """The order parameter of a row as the system measures it, NaN where the cell does not hold the corners."""
    number = lambda value, error, text, symbol="": Measured(
        Estimate(np.array(value), np.array(error)), "1", text, symbol
    )
    order = of_walkers[row][:, at_corner].mean(axis=1) if at_corner.any() else np.full(len(of_walkers[row]), np.nan)
    mean, error = float(order.mean()), float(order.std(ddof=1) / np.sqrt(len(order)))
    found = {
        "structure_factor_K": number(mean, error, "S(q) at the corners of the moiré Brillouin zone", "S(K)"),
        "structure_factor_K_peak": number(float(mean > 1), 0.0, "whether S(q) has its peak at the corners"),
    }
    return found | {name: number(values[row], 0.02, name.replace("_", " ")) for name, values in observed.items()}


def moire_table(depths, size=3, electrons=6, **options):
    """The labelled table of moiré electrons, that of a run."""
    system = moire_system(MATERIAL, size, (electrons, 0), depths)
    return system.label(results(evaluation_of(system.family, **options), system.family, system.units))


def moire_phases(depths, crossing=16.2):
    """The table of a liquid and a crystal that were measured side by side: their energies cross at `crossing`."""
    depths = np.asarray(depths, float)
    system = moire_system(MATERIAL, 3, (6, 0), depths)
    tables = {}
    for name, tilt, corner, seed in (("liquid", 0.0, 0.7, 0), ("crystal", -0.2, 1.3, 1)):
        energy = -44.4 - 0.0535 * depths**2 + tilt * (depths - crossing)
        options = {"energy": energy, "slope": -0.107 * depths + tilt, "corner": corner, "seed": seed, "sigma": 0.2}
        tables[name] = results(evaluation_of(system.family, **options), system.family, system.units)
    return system.label(_side_by_side(system.family, tables))


def _side_by_side(family, tables):
    import xarray

    labels, attributes, _ = labelled_rows(family)
    return joined_phases(tables, indexed(xarray.Dataset({}, labels, attributes)))


# ------------------------------------------------------------------------------- several coordinates, open boundaries

_NAMES = ("x", "y", "z")
OMEGA = Coordinate("omega_y", "omega_y", "1", "ω_y", r"\omega_y", "frequency across the trap")
KAPPA = Coordinate("kappa", "kappa", "1", "κ", r"\kappa", "strength of the interaction", linear=True)
TILT = Coordinate("tilt", "tilt", "1", "θ", r"\theta", "tilt of the trap", linear=True)
# Of three electrons: two in the plane, or all on a line.
FILLINGS = {"compact": ((0, 0), (1, 0), (0, 1)), "chain": ((0, 0), (1, 0), (2, 0))}


def trap_family(points, coordinates=(OMEGA, KAPPA), electrons=3, dim=2):
    """Spin-polarised electrons in a harmonic trap of frequency 1, and omega_y along the second axis if there is one."""
    frequencies = (1.0, lambda p: p["omega_y"], 1.0)[:dim] if dim > 1 else lambda p: p["omega_y"]
    hamiltonian = Hamiltonian(
        Kinetic(),
        {"trap": Harmonic(frequencies), "interaction": HarmonicPair(lambda p: p["kappa"])},
        (electrons, 0),
        dim=dim,
    )
    return Family.of(hamiltonian, {"omega_y": 1.5, "kappa": 0.1, "tilt": 0.0}, coordinates, points)


def trap_table(points, *, coordinates=(OMEGA, KAPPA), dim=2, phases=True, noise=0.02, seed=0, system="trap"):
    """The labelled table of the trap from closed forms with noise: of separate phases in two dimensions, of the lowest
    level in one and three, each with densities, distances, radii and one number of a user's own."""
    fillings = FILLINGS if dim == 2 and phases else {"": FILLINGS["compact"] if dim == 2 else _lowest(dim)}
    family = trap_family(points, coordinates, 3, dim)
    rng = np.random.default_rng(seed)
    tables = {name: results(_trap(family, f, noise, rng), family) for name, f in fillings.items()}
    table = tables[""] if "" in tables else _side_by_side(family, tables)
    described = System(
        system,
        family,
        phases=tuple(Phase(name, _no_orbitals) for name in tables if name),
        known=functools.partial(_known, dim=dim) if dim == 2 else None,
        words="Electrons in a harmonic trap that attract each other in proportion to their distance.",
        facts=(("Frequency along the trap", "ω_x = 1"),),
    )
    return described.label(table)


def _no_orbitals(dtype, solve) -> AbstractOrbitals:
    raise AssertionError("a table needs no orbitals")


def _lowest(dim):
    levels = [tuple(int(axis == 0) * n for axis in range(dim)) for n in range(3)]
    return tuple(levels)


def _parameters(family, dim):
    p = family.parameters
    omega = np.asarray(p["omega_y"], np.float64)
    one = np.ones_like(omega)
    return np.stack((omega,) if dim == 1 else (one, omega, one)[:dim], axis=-1), np.asarray(p["kappa"], np.float64)


def _trap(family, filling, noise, rng, walkers=16, rounds=60):
    dim, rows, n = family.hamiltonian.dim, family.size, family.hamiltonian.n_electrons
    frequencies, kappa = _parameters(family, dim)
    scatter = lambda mean: np.asarray(mean)[:, None, None] + noise * rng.standard_normal((rows, walkers, rounds))
    terms = filling_terms(filling, frequencies, kappa)
    series = {name: scatter(getattr(terms, name)) for name in ("kinetic", "trap", "interaction")}
    series["energy"] = series["kinetic"] + series["trap"] + series["interaction"]
    series["kinetic_from_gradient"] = series["kinetic"] + noise * rng.standard_normal((rows, walkers, rounds))
    slopes = filling_slopes(filling, frequencies, kappa)
    of_names = {"omega_y": slopes.frequencies[:, min(1, dim - 1)], "kappa": slopes.kappa, "tilt": 0 * kappa}
    for coordinate in family.coordinates:
        name = "slope" if len(family.coordinates) == 1 else f"slope_{coordinate.name}"
        series[name] = scatter(of_names[coordinate.name])
    return Evaluation(
        series=series,
        acceptance=np.full((rows, rounds), 0.5),
        step_size=np.ones(rows),
        stuck=np.zeros(rows, np.int64),
        non_finite=np.zeros(rows, np.int64),
        density=None,
        density_error=None,
        wave_vectors=np.zeros((0, dim)),
        structure_factor=np.zeros((rows, 0)),
        structure_factor_error=np.zeros((rows, 0)),
        positions=np.zeros((rows, walkers, n, dim)),
        n_electrons=n,
        real=True,
        observed=tuple(_seen(filling, f, k, rng) for f, k in zip(frequencies, kappa, strict=True)),
    )


def _seen(filling, frequencies, kappa, rng):
    """Densities of Gaussians as wide as the electrons' clouds, and what else open boundaries are measured for."""
    dim = len(frequencies)
    widths = np.atleast_1d(filling_widths(filling, frequencies, kappa))
    bins = {1: 40, 2: 40, 3: 16}[dim]
    centres = [np.linspace(-3, 3, bins + 1)[1:] - 3 / bins for _ in range(dim)]
    columns = [np.exp(-(c**2) / 2 / w) / np.sqrt(2 * np.pi * w) for c, w in zip(centres, widths, strict=True)]
    density = 3 * functools.reduce(np.multiply.outer, columns)
    error = 0.02 * density.max() * np.ones_like(density)
    density = density + error * rng.standard_normal(density.shape) / 2
    names, unit = _NAMES[:dim], "electrons per a_B*" + ("" if dim == 1 else f"^{dim}")
    grids = {name: Grid(c, "a_B*", f"position {name}") for name, c in zip(names, centres, strict=True)}
    text = "electron density on bins of a box"
    r = np.linspace(0.05, 6, 40)
    distances = r * np.exp(-(r**2) / 4 / widths.sum())
    distances /= distances.sum() * (r[1] - r[0])
    found = {
        "density": Measured(Estimate(density, error), unit, text, "n(r)", names, grids),
        "pair_distances": Measured(
            Estimate(distances, np.full_like(r, 0.01)),
            "1/a_B*",
            "distribution of pair distances",
            "P(r)",
            ("r",),
            {"r": Grid(r, "a_B*", "distance of two electrons")},
        ),
        "anisotropy": Measured(
            Estimate(np.array(widths[0] / widths[-1]), np.array(0.01)), "1", "ratio of the widths of the cloud", "A"
        ),
    }
    for name, width in zip(names, widths, strict=True):
        text = f"mean square of an electron's position along {name}"
        found[f"{name}_squared"] = Measured(Estimate(np.array(width), np.array(0.01)), "a_B*^2", text, f"⟨{name}²⟩")
    return found


def _known(family, dim):
    """Energies per electron and the line where the two fillings change places."""
    frequencies, kappa = _parameters(family, dim)
    names = tuple(c.name for c in family.coordinates)
    points, n = family.points, family.hamiltonian.n_electrons
    exact = ground_energy(n, frequencies, kappa) / n
    compact = filling_energy(FILLINGS["compact"], frequencies, kappa) / n <= exact + 1e-12
    of = {name: filling_terms(filling, frequencies, kappa) for name, filling in FILLINGS.items()}
    terms = {
        name: np.where(compact, getattr(of["compact"], name), getattr(of["chain"], name)) / n
        for name in ("kinetic", "trap", "interaction")
    }
    missing = np.full(len(exact), np.nan)
    boundaries = ()
    if "omega_y" in names:
        k = np.linspace(kappa.min(), kappa.max(), 30) if "kappa" in names else kappa[:1]
        place = filling_boundary(*FILLINGS.values(), (1.0, 1.0), k, axis=1)
        columns = {"omega_y": place, "kappa": k, "tilt": 0 * k}
        line = np.stack([columns[name] for name in names], axis=1)
        boundaries = (line[np.isfinite(place)],)
    return KnownValues(
        names, points, exact, 0 * exact, missing, exact + 0.05, terms, "closed form", "Hartree-Fock", "", boundaries
    )


def scattered(number=60, seed=3):
    """Points that lie on no grid, (omega_y, kappa)."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.uniform(1.0, 3.0, number), rng.uniform(-0.05, 0.8, number)], axis=1)


GRID = {"omega_y": [1.0, 1.4, 1.8, 2.1, 2.5, 3.0], "kappa": [0.0, 0.1, 0.3, 0.6]}


def replaced(evaluation, **changes):
    """An evaluation with other entries."""
    return dataclasses.replace(evaluation, **changes)
