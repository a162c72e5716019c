"""The electron gas: cells, fillings, known energies, crystals, corrections for the finite cell, the system."""

import dataclasses
import json
import pathlib
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from qernel.ansatz import CompetingPhases, SlaterDeterminant
from qernel.check import check_ansatz
from qernel.check._check_ansatz import _boundary
from qernel.evaluation import Axis, axes_of, known_values
from qernel.exact import two_electrons_in_a_cell
from qernel.gradient import local_energies
from qernel.hamiltonian import Hamiltonian, InPhase, Kinetic
from qernel.judgement._findings import _quality
from qernel.judgement._hellmann_feynman import _check
from qernel.laplacian import ForwardLaplacian
from qernel.lattice import Lattice, PeriodicDistance, cubic, oblique, point_group, shells, square, triangular
from qernel.observables import Measurement, structure_factor
from qernel.orbitals import LowestPlaneWaves, SiteOrbitals
from qernel.presets import Config, build, preset
from qernel.runs import Run
from qernel.systems.electron_gas import (
    GAS_CELLS,
    FiniteSizeCorrections,
    bulk_correlation,
    bulk_energy,
    bulk_exchange,
    bulk_kinetic,
    gas_cell,
    gas_family,
    gas_system,
    gas_twist,
    plane_wave_filling,
    wigner_crystal,
)
from qernel.units import Units

# Hartree-Fock per electron without a twist, Hartree, computed apart from this library: plane waves with an Ewald sum.
HARTREE_FOCK = [
    ("cubic", (7, 7), 1.0, 0.606534),
    ("cubic", (27, 27), 1.0, 0.569245),
    ("cubic", (7, 7), 5.0, -0.812549 / 14),
    ("square", (5, 5), 1.0, -0.124611),
    ("square", (13, 13), 1.0, -0.086399),
    ("triangular", (7, 0), 10.0, -0.081015),
]
# Two electrons, totals in Hartree: configuration interaction in the relative motion, computed apart from this library.
SINGLETS = {
    "cubic": {0.5: -2.8144756987, 1.0: -1.4164809214, 5.0: -0.2936030046, 10.0: -0.1505055032},
    "square": {0.5: -3.2430930921, 1.0: -1.6707631171, 5.0: -0.3690361610, 10.0: -0.1919924278},
}


def config(**changes):
    """A configuration of a gas, tiny unless it is told otherwise."""
    return Config.model_validate({"system": {"name": "electron_gas"} | tuples(changes)})


def tuples(value):
    """Lists as a configuration holds them."""
    if isinstance(value, dict):
        return {key: tuples(x) for key, x in value.items()}
    return tuple(tuples(x) for x in value) if isinstance(value, list) else value


# ---------------------------------------------------------------------------------------- cells and fillings


@pytest.mark.parametrize("name", GAS_CELLS)
def test_a_cell_holds_a_sphere_of_radius_one_for_each_electron(name):
    cell = gas_cell(name, 10)
    assert np.isclose(cell.volume, 10 * (np.pi if cell.dim == 2 else 4 * np.pi / 3), rtol=1e-12)


@pytest.mark.parametrize(("cell", "electrons", "r_s", "energy"), HARTREE_FOCK)
def test_determinants_have_the_energies_of_an_independent_calculation(cell, electrons, r_s, energy):
    filling = plane_wave_filling(gas_cell(cell, sum(electrons)), electrons)
    assert filling.closed and filling.real == (sum(electrons) == 2)
    assert np.isclose((filling.kinetic / r_s**2 + filling.interaction / r_s) / sum(electrons), energy, atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "electrons", "twist"),
    [
        ("cubic", (1, 1), ()),
        ("triangular", (2, 1), ()),
        ("square", (3, 2), (0.1, 0.27)),
        ("bcc", (3, 1), (0.2, 0.1, 0.4)),
    ],
)
def test_determinants_have_the_energies_of_samples(cell, electrons, twist):
    """Uniform samples of one electron's share suffice: <psi|H|psi> by quadrature over |psi|^2 weights."""
    with jax.enable_x64(True):
        family = gas_family(electrons, cell, [2.0], twist=twist)
        system = gas_system(family)
        ansatz = SlaterDeterminant(system.phase("liquid").orbitals(np.float64, True), electrons)
        lattice = family.hamiltonian.cell
        r = jnp.asarray(np.random.default_rng(0).random((1, 4_000, sum(electrons), lattice.dim)) @ lattice.matrix)
        found = local_energies(ansatz, family.hamiltonian, r, family.parameters, ForwardLaplacian(), None)
        weights = jnp.exp(2 * jax.vmap(lambda x: ansatz(x, family.select(0)).log_magnitude)(r[0]))
        filling = plane_wave_filling(lattice, electrons, twist)
        # Every plane wave has a kinetic energy of its own: that of the determinant has no variance.
        assert np.allclose(found.kinetic.real[0], filling.kinetic / 4, rtol=1e-8)
        values = np.asarray(found.potentials["interaction"][0])
        weights = np.asarray(weights / weights.sum())
        mean = np.sum(weights * values)
        error = np.sqrt(np.sum(weights**2 * (values - mean) ** 2))
        assert error < 0.05
        assert abs(mean - filling.interaction / 2) < 4 * error


def test_open_shells_take_the_best_exchange_and_opposite_momenta():
    """Three of six waves of the second shell of a cubic cell: three at right angles, farther from none of the others
    than a pair ±G is, and the spins cancel each other's momentum."""
    filling = plane_wave_filling(gas_cell("cubic", 8), (4, 4))
    up, down = filling.integers
    assert not filling.closed and not filling.real and filling.ways == 400
    assert np.array_equal(up, -down) and filling.momentum == (0, 0, 0)
    assert np.linalg.matrix_rank(up[1:]) == 3
    # Of parallel spins in the plane two at right angles too, though a pair ±G could stay real.
    assert np.linalg.matrix_rank(plane_wave_filling(gas_cell("square", 3), (3, 0)).integers[0]) == 2


def test_twisted_waves_are_the_lowest_ones_at_any_twist():
    cell = gas_cell("fcc", 9)
    orbitals = LowestPlaneWaves(cell, 5, gas_twist)
    rng = np.random.default_rng(1)
    for _ in range(5):
        turns = tuple(rng.uniform(-0.5, 0.5, 3).tolist())
        parameters = {f"twist_{k + 1}": jnp.asarray(x) for k, x in enumerate(turns)}
        filling = plane_wave_filling(cell, (5, 4), turns)
        expected = filling.wave_vectors(0)
        found = np.asarray(orbitals.wave_vectors(parameters))
        assert np.allclose(np.sort(np.sum(found**2, axis=1)), np.sort(np.sum(expected**2, axis=1)), rtol=1e-9)
        r = jnp.asarray(rng.random((2, 3)))
        moved = orbitals(r + jnp.asarray(cell.matrix[1])[None], parameters)
        assert np.allclose(moved, np.exp(2j * np.pi * turns[1]) * orbitals(r, parameters), atol=1e-9)


# ------------------------------------------------------------------------------------------------ known values


@pytest.mark.parametrize("cell", SINGLETS)
def test_two_electrons_in_a_cell(cell):
    for r_s, energy in SINGLETS[cell].items():
        found = two_electrons_in_a_cell(gas_cell(cell, 2), prefactor=r_s**-2, strength=1 / r_s)
        assert abs(found.energy - energy) < max(2e-7, 3 * found.error) and found.error < 1e-6
        assert np.isclose(found.kinetic + found.interaction, found.energy, rtol=0, atol=1e-12)
        # Hellmann-Feynman: the slope in the strength is the interaction.
        step = 1e-3 / r_s
        ends = [
            two_electrons_in_a_cell(gas_cell(cell, 2), prefactor=r_s**-2, strength=1 / r_s + s).energy
            for s in (-step, step)
        ]
        assert np.isclose((ends[1] - ends[0]) / (2 * step) / r_s, found.interaction, rtol=1e-5)


def test_two_electrons_do_not_depend_on_how_a_cell_is_written():
    skewed = Lattice(triangular(3.0).matrix @ np.eye(2) + np.array([[0, 0], [3.0, 0]]))
    a, b = (two_electrons_in_a_cell(cell) for cell in (triangular(3.0), skewed))
    assert np.isclose(a.energy, b.energy, rtol=0, atol=1e-7)
    with pytest.raises(ValueError, match="two or three dimensions, got 1"):
        two_electrons_in_a_cell(Lattice(((1.0,),)))


def test_point_groups_have_their_orders():
    cells = [(square(1.0), 8), (triangular(1.0), 12), (cubic(1.0), 48), (oblique(1.0, 1.4, 80.0), 2)]
    assert [len(point_group(cell)) for cell, _ in cells] == [order for _, order in cells]


def test_known_values_of_many_electrons_are_the_published_ones():
    with jax.enable_x64(True):
        family = gas_family((7, 7), "cubic", [1.0, 3.0, 5.0])
        known = gas_system(family).known(family)
    assert np.allclose(known.upper_bound[[0, 2]], [0.568974, -0.07984225]) and np.isnan(known.upper_bound[1])
    assert np.isnan(known.exact).all() and np.isclose(known.mean_field[0], 0.606534, atol=1e-6)


def test_the_shipped_table_is_of_upper_bounds_above_which_no_determinant_is():
    path = pathlib.Path(__file__).parents[1] / "src/qernel/systems/electron_gas/data/gases.json"
    for case in json.loads(path.read_text())["cases"]:
        electrons = tuple(case["electrons"])
        filling = plane_wave_filling(gas_cell(case["cell"], sum(electrons)), electrons)
        energy = (filling.kinetic / case["r_s"] ** 2 + filling.interaction / case["r_s"]) / sum(electrons)
        assert case["energy"] < energy


def test_bulk_energies():
    """Correlation energies of Perdew and Wang's and of Tanatar and Ceperley's tables; exchange in closed form."""
    assert np.allclose(
        [bulk_correlation(r_s, 0.0, 3) for r_s in (1.0, 2.0, 5.0, 10.0)],
        [-0.0598, -0.0448, -0.0282, -0.0186],
        atol=1e-4,
    )
    assert np.isclose(bulk_correlation(2.0, 1.0, 3), -0.0240, atol=2e-4)
    assert np.isclose(bulk_correlation(1.0, 0.0, 2), -0.1101, atol=1e-4)
    assert np.isclose(bulk_exchange(1.0, 0.0, 3), -0.458165, atol=1e-6)
    assert np.isclose(bulk_exchange(1.0, 0.0, 2), -0.600211, atol=1e-6)
    assert np.isclose(bulk_kinetic(2.0, 0.0, 2), 0.125) and np.isclose(bulk_kinetic(2.0, 1.0, 2), 0.25)
    # Determinants of ever more electrons have the kinetic energy of free ones.
    filling = plane_wave_filling(gas_cell("square", 1178), (589, 589))
    assert np.isclose(filling.kinetic / 1178, bulk_kinetic(1.0, 0.0, 2), rtol=2e-3)
    assert bulk_energy(1.0, 0.0, 3) == pytest.approx(0.587, abs=1e-3)


# ---------------------------------------------------------------------------------------------------- crystals


@pytest.mark.parametrize(
    ("cell", "electrons", "madelung"),
    [
        ("triangular", (9, 0), -1.106103),
        ("triangular", (8, 8), -1.106103),
        ("bcc", (8, 0), -0.895930),
        ("cubic", (2, 0), -0.895930),
        ("cubic", (1, 1), -0.895930),
    ],
)
def test_wigner_crystals_have_the_best_madelung_energies(cell, electrons, madelung):
    """Those of the triangular and of the body-centred cubic lattice (L. Bonsall and A. A. Maradudin, Phys. Rev. B 15,
    1959 (1977); R. A. Coldwell-Horsfall and A. A. Maradudin, J. Math. Phys. 1, 395 (1960))."""
    lattice = gas_cell(cell, sum(electrons))
    crystal = wigner_crystal(lattice, electrons)
    assert crystal is not None
    assert np.isclose(crystal.madelung, madelung, atol=2e-6)
    apart = np.asarray(lattice.minimum_image(jnp.asarray(crystal.sites[:, None] - crystal.sites[None])))
    lengths = np.linalg.norm(apart, axis=-1) + 1e9 * np.eye(len(crystal.sites))
    nearest = lengths < 1.001 * crystal.primitive.shortest_translation()
    spins = np.repeat([0, 1], electrons)
    if min(electrons):
        parallel = (nearest & (spins[:, None] == spins[None])).sum() / max(nearest.sum(), 1)
        assert parallel <= (1 / 3 if lattice.dim == 2 else 0)


@pytest.mark.parametrize(("cell", "electrons"), [("cubic", (7, 7)), ("square", (5, 5)), ("triangular", (6, 3))])
def test_cells_without_a_good_crystal_have_none(cell, electrons):
    assert wigner_crystal(gas_cell(cell, sum(electrons)), electrons) is None


def test_orbitals_on_sites_are_periodic_gaussians():
    cell = gas_cell("triangular", 4)
    sites = np.array([[0.1, 0.2], [1.0, 1.3]])
    orbitals = SiteOrbitals(sites, lambda p: p["w"], PeriodicDistance(cell))
    r, p = jnp.asarray(sites + 1e-3), {"w": jnp.asarray(0.4)}
    values = orbitals(r, p)
    assert np.allclose(np.diag(values), np.exp(-2e-6 / (2 * 0.16)), rtol=1e-6)
    assert np.allclose(orbitals(r + jnp.asarray(cell.matrix[0])[None], p), values, rtol=1e-9)
    with pytest.raises(ValueError, match="positions of the shape"):
        SiteOrbitals([1.0, 2.0], lambda p: p["w"])


# -------------------------------------------------------------------------------------------------- observables


@pytest.mark.parametrize("logarithmic", [True, False])
def test_slopes_over_a_decade_of_densities_are_integrated_against_the_logarithm(logarithmic):
    """Exact ones of a determinant at the points of a preset: linearly interpolated they seem to differ."""
    filling = plane_wave_filling(gas_cell("cubic", 14), (7, 7))
    r_s = np.array(preset("gas-3d-14").evaluation.at["r_s"])
    energy = filling.kinetic / r_s**2 + filling.interaction / r_s
    slope = -2 * filling.kinetic / r_s**3 - filling.interaction / r_s**2
    columns = {"energy": energy, "energy_error": 3e-3 / r_s, "slope": slope, "slope_error": 3e-3 / r_s**2}
    table = xarray.Dataset({name: ("r_s", values) for name, values in columns.items()}, {"r_s": r_s})
    axis = Axis("r_s", "r_s", "r_s", "density", "1", False, logarithmic)
    check = _check(table, axis, r_s, np.arange(len(r_s)), "slope")
    assert check is not None and bool(np.all(check.agrees)) == logarithmic


def measurement(family, row, samples):
    units = Units("Ha", 1.0, "r_s", 1.0)
    ansatz = SlaterDeterminant(
        gas_system(family).phase("liquid").orbitals(np.float64, True), family.hamiltonian.electrons
    )
    return Measurement(samples, family.hamiltonian, family.select(row), ansatz, units, jax.random.key(0))


@pytest.mark.parametrize("cell", ["cubic", "square"])
def test_corrections_are_those_of_plasmons_where_the_structure_factor_is(cell):
    r"""In space S = q²/2ω gives ω/4N each for potential and kinetic energy, up to the part of free electrons (S. Chiesa
    et al., 2006); in the plane the sum over |q|^½ misses what a larger cell misses less of, by the power 5/4."""
    with jax.enable_x64(True):
        found = []
        for electrons in ((7, 7), (57, 57)) if cell == "cubic" else ((5, 5), (45, 45)):
            n = sum(electrons)
            family = gas_family(electrons, cell, [3.0])
            filling = plane_wave_filling(family.hamiltonian.cell, electrons)
            observable = FiniteSizeCorrections()
            samples = (
                np.random.default_rng(0).random((16, 4, n, family.hamiltonian.dim)) @ family.hamiltonian.cell.matrix
            )
            parts = observable.measure(measurement(family, 0, samples))
            q = 2 * np.pi / np.linalg.norm(family.hamiltonian.cell.matrix[0])
            measured = structure(family, samples)
            found.append(
                (float(parts["potential_correction"].estimate.value) / measured, q, n, filling, parts, measured)
            )
        if cell == "cubic":
            frequency = np.sqrt(3 / 3.0**3)
            for per_unit, q, n, filling, parts, measured in found:
                # Of S = q²/2ω in physical units.
                plasmon = (q / 3.0) ** 2 / (2 * frequency)
                assert np.isclose(per_unit * plasmon, frequency / (4 * n), rtol=1e-12)
                kinetic = float(parts["kinetic_correction"].estimate.value)
                free = filling.structure_factor(np.array([[1, 0, 0]]))[0]
                assert np.isclose(kinetic, (q / 3.0) ** 2 * (1 / measured - 1 / free) / (8 * n), rtol=1e-9)
        else:
            (a, qa, na, *_), (b, qb, nb, *_) = found
            # S goes as q^{3/2}.
            assert np.isclose(a * qa**1.5 / (b * qb**1.5), (nb / na) ** 1.25, rtol=1e-3)
            assert a > 0


def structure(family, samples):
    """S(q) at the shortest wave vectors, mean over them."""
    hamiltonian = family.hamiltonian
    return float(np.mean(structure_factor(samples, hamiltonian, shells(hamiltonian.cell, 1)).value))


# ------------------------------------------------------------------------------------------------- the system


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": "hexagonal"}, "square"),
        ({"r_s": [0.0, 1.0]}, "r_s must be positive"),
        ({"cell": "square", "twist_3": [0.5]}, "leave out twist_3"),
        ({"twist_1": [0.0, 0.5], "points": [[1.0]]}, "points need a value of each of r_s, twist_1"),
    ],
)
def test_mistakes_in_a_section_are_told(changes, message):
    with pytest.raises(Exception, match=message):
        config(**changes)


def test_families_refuse_what_is_none():
    for arguments, changes, message in (
        (((1, 1), "round", [1.0]), {}, "no cell 'round'"),
        (((1, 1), "square", [1.0]), {"coordinates": ("twist_3",)}, "no coordinate 'twist_3'"),
        (((1, 1), "square", [1.0]), {"twist": (0.1,)}, "needs 2 twists"),
        (((1, 1), "square", [-1.0]), {}, "must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            gas_family(*arguments, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"electrons": [4, 3], "r_s": [1.0, 4.0]},
        {"electrons": [4, 0], "cell": "triangular", "r_s": [10.0, 40.0]},
        {"electrons": [2, 1], "cell": "square", "r_s": [1.0, 4.0], "twist_1": [0.1, 0.4], "twist_2": [0.2]},
    ],
    ids=["open shell", "liquid and crystal", "twists"],
)
def test_wavefunctions_of_gases_are_sound(changes):
    small = {"width": 8, "query_heads": 2, "key_value_heads": 1, "experts": 2, "expert_width": 8, "layers": 1}
    sections = {"system": {"name": "electron_gas"} | changes, "ansatz": small, "training": {"precision": "double"}}
    problem = build(Config.model_validate(tuples(sections)))
    family = problem.system.family
    parameters = family.select(family.size - 1)
    if isinstance(problem.ansatz, CompetingPhases):
        parameters = InPhase(parameters, jnp.asarray(1.0))
    report = check_ansatz(problem.ansatz, family.hamiltonian, parameters, key=jax.random.key(1), walkers=16, rounds=10)
    assert report.ok, str(report)


def test_a_wavefunction_of_another_twist_than_its_hamiltonian_is_told():
    small = {"width": 8, "query_heads": 2, "key_value_heads": 1, "experts": 2, "expert_width": 8, "layers": 1}
    system = {"name": "electron_gas", "electrons": [2, 0], "cell": "square", "twist_1": [0.1]}
    sections = {"system": system, "ansatz": small, "training": {"precision": "double"}}
    problem = build(Config.model_validate(tuples(sections)))
    family = problem.system.family
    samples = family.hamiltonian.cell.matrix.sum(axis=0) * np.random.default_rng(0).random((4, 2, 2))
    with jax.enable_x64(True):
        right = _boundary(problem.ansatz, family.hamiltonian, family.select(0), jnp.asarray(samples))
        other = dataclasses.replace(family.hamiltonian, twist=lambda p: jnp.zeros(2))
        assert right.passed and "+0.6283" in right.message
        wrong = _boundary(
            problem.ansatz,
            other,
            family.select(0),
            jnp.asarray(samples),
        )
        assert not wrong.passed and "the Hamiltonian's is (+0.0000, +0.0000)" in wrong.message
    with pytest.raises(ValueError, match="open boundaries"):
        Hamiltonian(Kinetic(), {}, (1, 0), dim=2, twist=gas_twist)


@pytest.mark.parametrize("twist", [(0.0, 0.0), (0.3, -0.2)])
def test_corrections_are_those_of_the_twist_that_is_measured(twist):
    """Also where it was not trained: the shells are those of the twist itself."""
    with jax.enable_x64(True):
        family = gas_family((3, 2), "square", [2.0], twist=twist)
        samples = np.random.default_rng(0).random((16, 4, 5, 2)) @ family.hamiltonian.cell.matrix
        trained = gas_system(gas_family((3, 2), "square", [[2.0, 0.1]], coordinates=("r_s", "twist_1")))
        (observable,) = [o for o in trained.observables if isinstance(o, FiniteSizeCorrections)]
        found = observable.measure(measurement(family, 0, samples))["shell_correction"].estimate.value
    filling = plane_wave_filling(family.hamiltonian.cell, (3, 2), twist)
    assert np.isclose(found, bulk_kinetic(2.0, 0.2, 2) - filling.kinetic / 20, rtol=1e-12)


def test_commands_of_the_page_are_valid():
    page = (pathlib.Path(__file__).parents[1] / "docs/systems/electron_gas.md").read_text(encoding="utf-8")
    commands = [line for line in page.replace("\\\n", " ").splitlines() if line.startswith("qernel run")]
    assert len(commands) == 3
    for command in commands:
        words = shlex.split(command)
        problem = build(preset(words[2], *[word for word in words[3:] if "=" in word]))
        family = problem.system.family
        measured = family.as_points(problem.points)
        assert np.all(family.points.min(axis=0) <= measured.min(axis=0))
        assert np.all(family.points.max(axis=0) >= measured.max(axis=0))


def test_a_crystal_competes_where_it_fits_and_the_gas_is_dilute():
    crystals = config(electrons=[4, 0], cell="triangular", r_s=[10.0, 40.0])
    assert crystals.ansatz.references == ("liquid", "crystal") and crystals.ansatz.phases == "separate"
    assert config(electrons=[4, 0], cell="triangular", r_s=[1.0, 4.0]).ansatz.references == ("liquid",)
    assert config(electrons=[5, 5], cell="square", r_s=[1.0, 40.0]).ansatz.references == ("liquid",)


def test_members_are_trained_in_their_own_units_unless_a_configuration_says_otherwise():
    assert config().optimiser.energy_unit == "member"
    other = Config.model_validate({"system": {"name": "electron_gas"}, "optimiser": {"energy_unit": "family"}})
    assert other.optimiser.energy_unit == "family"
    assert Config().optimiser.energy_unit == "family"


def test_a_run_over_density_and_twist(tmp_path):
    configuration = {
        "system": {
            "name": "electron_gas",
            "electrons": [1, 1],
            "cell": "square",
            "r_s": [1.0, 4.0],
            "twist_1": [0.0, 0.3],
        },
        "ansatz": {"width": 8, "query_heads": 2, "key_value_heads": 1, "experts": 2, "expert_width": 8, "layers": 1},
        "sampling": {"walkers": 32},
        "training": {"steps": 2},
        "evaluation": {"walkers": 16, "rounds": 4, "burn_in": 2},
    }
    problem = build(Config.model_validate(tuples(configuration)))
    run = Run.begin(tmp_path / "run", problem.system, problem.ansatz, problem.method, problem.settings)
    for _ in run.train():
        pass
    table = run.evaluate()
    assert table["energy"].size == 4
    assert [axis.logarithmic for axis in axes_of(table)] == [True, False]
    assert np.isfinite(table["energy"]).all() and np.isfinite(table["potential_correction"]).all()
    # Energies next to zero are no scale for a variance.
    assert _quality(table) and not _quality(table.assign(energy=0 * table["energy"]))
    known = known_values(table)
    assert known is not None and np.isfinite(known.exact).sum() == 2 and np.isfinite(known.mean_field).all()
    assert preset("gas-3d-14").system.electrons == (7, 7)
