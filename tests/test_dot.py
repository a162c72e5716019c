"""Quantum dots: shells, integrals, Hartree-Fock, two electrons exactly, the system, and atoms with cusps at nuclei."""

import json
import pathlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.ansatz import LogPsi
from qernel.check import check_ansatz
from qernel.evaluation import known_values
from qernel.exact import two_electrons_in_a_trap
from qernel.hamiltonian import Coulomb, Hamiltonian, Kinetic, Nuclei
from qernel.mean_field import (
    TrapCoulomb,
    determinant_frequency,
    filling_repulsion,
    shell_fillings,
    trap_hartree_fock,
)
from qernel.observables import Measurement
from qernel.orbitals import CuspJastrow, HarmonicOrbitals, NuclearJastrow, OpenPairJastrow, TrapOrbitals
from qernel.presets import build, preset
from qernel.runs import Run
from qernel.systems.dot import (
    DotLength,
    PairDensity,
    RadialDensity,
    branches_of,
    dot_family,
    dot_system,
)
from qernel.units import EFFECTIVE_UNITS

# Published: Hartree-Fock limits and diffusion Monte Carlo of two-dimensional dots, totals in Hartree
# (E. M. Nordhagen, Master thesis, University of Oslo, 2019).
HARTREE_FOCK = {2: {0.1: 0.525635, 0.5: 1.79974, 1.0: 3.1619}, 6: {0.1: 3.85238, 0.5: 12.2713, 1.0: 20.7192}}
# Two electrons by an independent radial solution, and Taut's closed forms among them.
RADIAL = json.loads((pathlib.Path(__file__).parent / "reference" / "dots.json").read_text())["dots"]
RADIAL = [row for row in RADIAL if "l" in row and "E_total" in row]


def positions(electrons, dim, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(electrons, dim)))


# ------------------------------------------------------------------------------- shells and integrals


@pytest.mark.parametrize(
    ("electrons", "dim", "names"),
    [
        ((3, 3), 2, ["closed_shells"]),
        ((2, 1), 2, ["open_m1", "open_m1"]),
        ((4, 3), 2, ["open_m0", "open_m2", "open_m2"]),
        ((5, 3), 2, ["open_m0m2", "open_m0m2", "open_m2m2"]),
        ((4, 4), 3, ["closed_shells"]),
        ((5, 4), 3, ["open_l0"] + ["open_l2"] * 5),
        ((2, 2), 2, ["open_m1_m1"] * 4),
    ],
)
def test_fillings_are_named_by_the_angular_momenta_of_open_shells(electrons, dim, names):
    fillings = shell_fillings(electrons, dim, 4)
    assert [filling.name for filling in fillings] == names
    for filling in fillings:
        for n, table in zip(electrons, filling.coefficients, strict=True):
            np.testing.assert_allclose(table.T @ table, np.eye(n), atol=1e-12)


def test_fillings_that_cannot_be():
    for arguments, message in (
        (((3, 3), 1, 4), "two or three dimensions, got 1"),
        (((4, 0), 2, 2), "more shells than the 2 given"),
        (((14, 14), 3, 5), "more than 2000"),
    ):
        with pytest.raises(ValueError, match=message):
            shell_fillings(*arguments)


@pytest.mark.parametrize("dim", [2, 3])
def test_integrals_are_those_of_sampled_pairs(dim):
    """Repulsion of a determinant of p functions, against a sum over random pairs drawn from Gaussians."""
    (filling,) = shell_fillings((1 + dim, 0), dim, 2)
    exact = filling_repulsion(filling, TrapCoulomb(filling.levels))
    random, orbitals = np.random.default_rng(1), HarmonicOrbitals(filling.levels.tolist(), 1.0)
    r = random.normal(size=(2, 400_000, dim))
    # Both electrons from exp(-r²/2), wider than any product of orbitals.
    weight = (2 * np.pi) ** dim * np.exp(0.5 * np.sum(r**2, axis=(0, 2)))
    phi = np.stack([np.asarray(orbitals(jnp.asarray(x), None)) for x in r])
    direct = np.sum(phi[0] ** 2, axis=1) * np.sum(phi[1] ** 2, axis=1)
    exchange = np.sum(phi[0] * phi[1], axis=1) ** 2
    values = 0.5 * (direct - exchange) * weight / np.linalg.norm(r[0] - r[1], axis=1)
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - exact) < 4 * error < 0.02 * exact


def test_two_electrons_in_one_orbital_repel_as_known():
    for dim, expected in ((2, np.sqrt(np.pi / 2)), (3, np.sqrt(2 / np.pi))):
        (filling,) = shell_fillings((1, 1), dim, 3)
        np.testing.assert_allclose(filling_repulsion(filling, TrapCoulomb(filling.levels)), expected, rtol=1e-12)


def test_the_best_frequency_of_a_determinant():
    coupling, quanta, repulsion = np.array([0.0, 0.3, 3.0, 30.0]), 10.0, 12.0
    found = np.asarray(determinant_frequency(jnp.asarray(coupling), quanta, repulsion))
    energy = lambda x: quanta / 2 * (x + 1 / x) + coupling * repulsion * np.sqrt(x)
    slope = (energy(found * (1 + 1e-6)) - energy(found * (1 - 1e-6))) / 2e-6
    np.testing.assert_allclose(slope, 0, atol=1e-6)
    assert found[0] == 1 and np.all(np.diff(found) < 0)


# ------------------------------------------------------------------------------- Hartree-Fock


@pytest.mark.parametrize("electrons", [2, 6])
def test_hartree_fock_comes_down_to_its_published_limit(electrons):
    omega = np.array([1.0, 0.5, 0.1])
    published = np.array([HARTREE_FOCK[electrons][w] for w in omega])
    above = []
    for shells in (5, 7):
        (filling,) = shell_fillings((electrons // 2, electrons // 2), 2, shells)
        branch = trap_hartree_fock(filling, omega**-0.5, TrapCoulomb(filling.levels))
        # The virial theorem, of a limit that these functions come close to.
        virial = 2 * branch.kinetic - 2 * branch.trap + branch.interaction
        np.testing.assert_allclose(virial / branch.energy, 0, atol=0.05 if shells == 5 else 0.02)
        above.append(branch.energy * omega / published - 1)
    assert np.all(above[1] > -1e-5) and np.all(above[1] < 1.5e-3) and np.all(above[1] < above[0])


def test_a_branch_is_smooth_and_keeps_its_filling():
    filling = shell_fillings((4, 3), 2, 6)[1]
    branch = trap_hartree_fock(filling, np.linspace(0.5, 3, 6), TrapCoulomb(filling.levels))
    overlaps = np.einsum("cai,caj->cij", branch.coefficients[0][1:], branch.coefficients[0][:-1])
    assert np.all(np.abs(np.linalg.det(overlaps)) > 0.95)
    assert np.all(np.diff(branch.energy) > 0)
    with pytest.raises(ValueError, match="must ascend from 0"):
        trap_hartree_fock(filling, [1.0, 0.5], TrapCoulomb(filling.levels))


def test_without_repulsion_the_levels_are_exact():
    (filling,) = shell_fillings((3, 1), 2, 4)
    branch = trap_hartree_fock(filling, [0.0], TrapCoulomb(filling.levels))
    np.testing.assert_allclose(branch.energy, 1 + 2 + 2 + 1, rtol=1e-12)
    np.testing.assert_allclose(branch.kinetic, branch.trap, rtol=1e-12)


# ------------------------------------------------------------------------------- two electrons


@pytest.mark.parametrize("row", RADIAL, ids=lambda row: f"{row['dim']}D-{row['omega']:.3g}-l{row['l']}")
def test_two_electrons_against_another_solution(row):
    found = two_electrons_in_a_trap(row["omega"], 1.0, dim=row["dim"], angular_momentum=row["l"])
    np.testing.assert_allclose(found.energy, row["E_total"], rtol=1e-9)
    np.testing.assert_allclose(sum(found[1:]), found.energy, rtol=1e-12)
    step = 1e-4
    at = lambda s: two_electrons_in_a_trap(row["omega"], s, dim=row["dim"], angular_momentum=row["l"]).energy
    np.testing.assert_allclose(found.interaction, (at(1 + step) - at(1 - step)) / (2 * step), rtol=1e-6)


def test_two_electrons_that_cannot_be():
    for arguments, message in (
        ({"frequency": 0.0, "strength": 1.0, "dim": 2}, "frequency must be positive"),
        ({"frequency": 1.0, "strength": -1.0, "dim": 2}, "strength not negative"),
        ({"frequency": 1.0, "strength": 1.0, "dim": 1}, "two or three dimensions"),
    ):
        with pytest.raises(ValueError, match=message):
            two_electrons_in_a_trap(**arguments)


# ------------------------------------------------------------------------------- the wavefunction's parts


def test_the_centre_of_mass_moves_as_one_particle():
    """Closed shells of the frequency Ω with the factor of the centre are exact in a trap ω without repulsion, once the
    relative motion is stiffened from Ω to ω as well."""
    omega, width = 1.3, 0.8
    factor = OpenPairJastrow(
        (3, 0), 4, dim=2, length=width**-0.5, centre=lambda p: p, key=jax.random.key(0), dtype=jnp.float64
    )
    r, condition = positions(3, 2), jnp.zeros(4)
    value, gradient, laplacian = factor.derivatives(r, jnp.asarray(omega), condition)
    centre = np.mean(np.asarray(r), axis=0)
    np.testing.assert_allclose(value, -1.5 * (omega - width) * np.sum(centre**2), rtol=1e-12)
    of = lambda x: factor(x, jnp.asarray(omega), condition)
    np.testing.assert_allclose(gradient, jax.grad(of)(r), atol=1e-12)
    hessian = jax.hessian(of)(r).reshape(6, 6)
    np.testing.assert_allclose(laplacian, np.trace(hessian), atol=1e-12)
    stiff = eqx.tree_at(lambda f: f.stiffness.bias, factor, jnp.full(2, np.log(omega / width)))
    levels = [(0, 0), (1, 0), (0, 1)]
    log = lambda x, frequency: jnp.linalg.slogdet(HarmonicOrbitals(levels, frequency)(x, None))[1]
    made = lambda x: log(x, width) + stiff(x, jnp.asarray(omega), condition)
    exact = lambda x: log(x, omega)
    np.testing.assert_allclose(jax.grad(made)(r), jax.grad(exact)(r), atol=1e-12)


def test_trap_orbitals_follow_their_coupling():
    functions = HarmonicOrbitals([(0, 0), (2, 0), (0, 2)], 1.0)
    table = np.random.default_rng(0).normal(size=(3, 3, 2))
    orbitals, r = TrapOrbitals(functions, [0.0, 1.0, 3.0], table, lambda p: p), positions(4, 2)
    for node, coefficients in zip((0.0, 1.0, 3.0), table, strict=True):
        np.testing.assert_allclose(orbitals(r, jnp.asarray(node)), functions(r, None) @ coefficients, atol=1e-12)
    assert orbitals.orbitals == 2
    with pytest.raises(ValueError, match="must ascend"):
        TrapOrbitals(functions, [1.0, 0.0, 2.0], table, lambda p: p)
    with pytest.raises(ValueError, match="3 basis functions and at least one orbital"):
        TrapOrbitals(functions, [0.0, 1.0, 3.0], table[:, :2], lambda p: p)


def test_a_range_that_is_trained_stays_above_a_tenth_of_its_start():
    """A range that runs to zero leaves a cusp that no walker sees, and energies without a bound."""
    factor = CuspJastrow((1, 1), 2.0, lambda p: p, dtype=jnp.float64)
    r, one = jnp.asarray([[0.0, 0.0], [0.3, 0.0]]), jnp.asarray(1.0)
    with_range = lambda b: eqx.tree_at(lambda f: f.log_range, factor, jnp.full((2,), jnp.log(b)))(r, one)
    for b in (0.5, 2.0, 8.0, 200.0):
        np.testing.assert_allclose(with_range(b), -b * np.exp(-0.3 / b), rtol=1e-12)
        np.testing.assert_allclose(jax.grad(with_range)(b), -np.exp(-0.3 / b) * (1 + 0.3 / b), rtol=1e-12)
    for b in (1e-9, 1e-3):
        np.testing.assert_allclose(with_range(b), -0.2 * np.exp(-0.3 / 0.2), rtol=1e-3)
        assert np.isfinite(jax.grad(with_range)(b))


def test_the_cusp_at_nuclei():
    """Slopes -2SZ/(d-1)p, derivatives by closed rules, and nothing without nuclei."""
    positions_, charges = [[0.0, 0.0, 0.0], [1.4, 0.0, 0.3]], [1.0, 2.5]
    nuclei = Nuclei(positions_, charges, strength=lambda p: p)
    hamiltonian = Hamiltonian(Kinetic(2.0), {"nuclei": nuclei, "repulsion": Coulomb()}, (1, 1), dim=3)
    cusp = hamiltonian.nuclear_cusp
    np.testing.assert_allclose(cusp(jnp.asarray(1.5)), [2.0 * 1.5, 2.0 * 1.5 * 2.5])
    factor, r, strength = NuclearJastrow(cusp, cusp.positions, 0.7, jnp.float64), positions(2, 3), jnp.asarray(1.5)
    value, gradient, laplacian = factor.derivatives(r, strength)
    of = lambda x: factor(x, strength)
    np.testing.assert_allclose(value, of(r), rtol=1e-12)
    np.testing.assert_allclose(gradient, jax.grad(of)(r), atol=1e-10)
    np.testing.assert_allclose(laplacian, np.trace(jax.hessian(of)(r).reshape(6, 6)), atol=1e-9)
    # Along a line through the second nucleus: what the first one adds is smooth there.
    near = lambda s: of(jnp.asarray([[1.4 + s, 0.0, 0.3], [9.0, 9.0, 9.0]]))
    np.testing.assert_allclose((near(1e-6) + near(-1e-6) - 2 * near(0.0)) / 2e-6, -7.5, rtol=1e-4)
    assert Hamiltonian(Kinetic(), {"repulsion": Coulomb()}, (1, 1), dim=3).nuclear_cusp is None
    with pytest.raises(ValueError, match="two potentials have nuclei"):
        _ = Hamiltonian(Kinetic(), {"a": nuclei, "b": nuclei}, (1, 1), dim=3).nuclear_cusp
    for arguments, message in (((cusp, (), 1.0), "positions"), ((cusp, cusp.positions, 0.0), "must be positive")):
        with pytest.raises(ValueError, match=message):
            NuclearJastrow(*arguments)


# ------------------------------------------------------------------------------- the system


def test_dots_scale_with_their_coupling():
    """H of ω and S at r is ω times H of 1 and S/√ω at r√ω."""
    family = dot_family((2, 1), 2, 1.0, 1.0, ("omega", "strength"), [[0.25, 0.7], [1.0, 1.4]])
    r = positions(3, 2)
    here = family.hamiltonian.potential_energies(r, family.select(0))
    scaled = family.hamiltonian.potential_energies(r * 0.5, family.select(1))
    for name in ("trap", "interaction"):
        np.testing.assert_allclose(here[name], 0.25 * scaled[name], rtol=1e-12)


def test_known_values_of_dots():
    two = dot_system(dot_family((1, 1), 2, 1.0, 1.0, ("omega",), [1 / 6, 0.5, 1.0])).known
    values = two(dot_family((1, 1), 2, 1.0, 1.0, ("omega",), [1 / 6, 0.5, 1.0]))
    np.testing.assert_allclose(values.exact * 2, [2 / 3, 1.6597721500, 3.0], rtol=1e-9)
    np.testing.assert_allclose(sum(values.terms.values()), values.exact, rtol=1e-12)
    family = dot_family((3, 3), 2, 1.0, 1.0, ("omega",), [0.1, 0.3, 1.0])
    six = dot_system(family).known(family)
    np.testing.assert_allclose(six.upper_bound * 6, [3.55385, np.nan, 20.15932], rtol=1e-9)
    np.testing.assert_allclose(six.mean_field[[0, 2]] * 6, [3.85238, 20.7192], rtol=7e-4)
    # A strength of 2 at ω = 4 is the coupling of 1 at ω = 1, in units four times as large.
    scaled = dot_family((3, 3), 2, 4.0, 2.0, ("strength",), [2.0])
    np.testing.assert_allclose(dot_system(scaled).known(scaled).upper_bound * 6, 4 * 20.15932, rtol=1e-9)


def test_phases_are_the_inequivalent_fillings():
    family = dot_family((4, 3), 2, 1.0, 1.0, ("omega",), [0.3, 1.0])
    system = dot_system(family)
    assert [phase.name for phase in system.phases] == ["open_m0", "open_m2"]
    assert branches_of(family).lowest == ("open_m2",)
    solved, empty = (
        jax.tree.leaves(eqx.filter(system.phase("open_m2").orbitals(jnp.float64, solve), eqx.is_array))
        for solve in (True, False)
    )
    assert [x.shape for x in solved] == [x.shape for x in empty]
    length = DotLength(branches_of(family).frequency("open_m2"))
    assert float(length(family.select(0))) > 0.3**-0.5


def test_a_filling_without_a_solution_of_its_own_is_left_out():
    """The filling with m = 0 in the open shell of seven electrons, a saddle at a coupling of 2.3."""
    with pytest.warns(UserWarning, match="open_m0 of the dot is left out: Hartree-Fock in a trap did not converge"):
        system = dot_system(dot_family((4, 3), 2, 1.0, 1.0, ("omega",), [0.1, 1.0]))
    assert [phase.name for phase in system.phases] == ["open_m2"]
    # A value to compare with that is not found costs no measurement.
    branches = branches_of(system.family)
    assert np.isnan(branches.energies("open_m0", np.array([1.0]))).all()
    assert np.isfinite(branches.energies("open_m2", np.array([1.2, 2.5]))).all()


def test_densities_hold_all_electrons_and_all_pairs():
    family = dot_family((3, 0), 2, 1.0, 1.0, ("omega",), [0.5])
    samples = np.random.default_rng(0).normal(size=(4, 50, 3, 2))
    state = lambda r, parameters: LogPsi(-jnp.sum(r**2), jnp.zeros(()), real=True)
    of = lambda r: Measurement(r, family.hamiltonian, family.select(0), state, EFFECTIVE_UNITS, jax.random.key(0))
    radial = RadialDensity(8.0).measure(of(samples))["radial_density"]
    width = 8.0 / len(radial.estimate.value)
    np.testing.assert_allclose(np.sum(radial.estimate.value * 2 * np.pi * radial.grids["radius"].values) * width, 3)
    pair = PairDensity(8.0).measure(of(samples))["pair_density"]
    np.testing.assert_allclose(np.sum(pair.estimate.value) * (16 / 40) ** 2, 2)
    # Turned by any angle, what an electron sees is the same.
    turned = samples @ np.array([[0.6, -0.8], [0.8, 0.6]])
    again = PairDensity(8.0).measure(of(turned))["pair_density"]
    np.testing.assert_allclose(again.estimate.value, pair.estimate.value, atol=1e-9)


@pytest.mark.parametrize(
    "system",
    [
        ("system.electrons=[3,3]",),
        # Three dimensions, an open shell, both coordinates, a complex wavefunction.
        ("system.electrons=[2,1]", "system.dimensions=3", "system.strength=[0.5,1.0]", "ansatz.complex=true"),
    ],
    ids=["plane", "space"],
)
def test_a_wavefunction_of_a_dot_passes_every_check(system):
    at = () if len(system) == 1 else ("evaluation.at.strength=[0.5,1.0]",)
    small = ("training.precision=double", "ansatz.width=8", "ansatz.layers=1")
    problem = build(preset("dot-6", *small, *system, *at))
    family = problem.system.family
    report = check_ansatz(
        problem.ansatz, family.hamiltonian, family.select(1), key=jax.random.key(1), walkers=16, rounds=10, scale=2.0
    )
    assert report.ok, str(report)


def test_settings_that_no_dot_has():
    for setting, message in (
        ("system.omega=[0.0]", "omega must be positive"),
        ("system.strength=[-1.0]", "must not be negative"),
        ("system.dimensions=1", "must be at least 2"),
        ("system.electrons=[60, 0]", "at most 28 of each spin"),
        ("system.points=[[1.0, 2.0]]", "a value of each of omega"),
    ):
        with pytest.raises(Exception, match=message):
            preset("dot-6", setting)


def test_a_small_run_of_two_electrons(tmp_path):
    """From the preset to results that carry what is known of every point."""
    small = ("training.steps=2", "sampling.walkers=8", "evaluation.walkers=8", "evaluation.rounds=4", "ansatz.layers=1")
    run = Run.configured(preset("dot-2", *small, "evaluation.at.omega=[0.3, 1.0]"), tmp_path / "run")
    assert [int(step.number) for step in run.train()] == [1, 2]
    table = run.evaluate()
    assert {"radial_density", "pair_density"} <= set(table.data_vars)
    np.testing.assert_allclose(known_values(table).exact[-1], 1.5, rtol=1e-9)
    assert {"profiles.png", "maps.png"} <= {path.name for path in run.figures()}
