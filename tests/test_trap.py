"""Fermions in an anisotropic harmonic trap: potentials, orbitals, closed forms, and a wavefunction that is exact."""

import dataclasses
import functools
import itertools
import json
import pathlib
import warnings

import equinox as eqx
import folx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import compiled_call

from qernel.ansatz import AtParameters, CompetingPhases, qernel
from qernel.check import check_ansatz, laplacian_difference
from qernel.exact import (
    filling_boundary,
    filling_energy,
    filling_metric,
    filling_slopes,
    filling_susceptibility,
    filling_terms,
    filling_widths,
    ground_energy,
    ground_fillings,
    relative_frequencies,
)
from qernel.gradient import local_energies
from qernel.hamiltonian import Family, Hamiltonian, Harmonic, HarmonicPair, Kinetic, in_phases
from qernel.laplacian import FolxLaplacian, ForwardLaplacian, HessianTrace
from qernel.lattice import square
from qernel.layers import OpenEmbedding, trainable
from qernel.orbitals import HarmonicOrbitals, OpenPairJastrow, SpinBlocks, harmonic_levels
from qernel.propagation import own_jet
from qernel.sampling import Sampler, langevin
from qernel.systems import trap as systems
from qernel.training import Method, energy_unit, initial_state, train

TABLE = json.loads((pathlib.Path(__file__).parent / "reference" / "harmonic_fermions.json").read_text())["values"]
LIQUID, CHAIN = ((0, 0), (1, 0), (0, 1)), ((0, 0), (1, 0), (2, 0))


def positions(electrons, dim, seed=0, dtype=jnp.float64):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(electrons, dim)), dtype)


# ------------------------------------------------------------------------------- the potentials


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_a_trap_has_a_frequency_for_each_axis(dim):
    r, frequencies = positions(4, dim), np.array([1.0, 2.5, 0.3])[:dim]
    expected = 0.5 * np.sum(frequencies**2 * np.asarray(r) ** 2)
    parameters = {"all": jnp.asarray(frequencies), "first": jnp.asarray(frequencies[0], jnp.float32)}
    for given in (
        tuple(frequencies.tolist()),
        frequencies,
        lambda p: p["all"],
        (lambda p: p["first"].astype(float), *frequencies[1:]),
    ):
        np.testing.assert_allclose(Harmonic(given)(r, parameters), expected, rtol=1e-14)
    isotropic = 0.5 * 1.5**2 * np.sum(np.asarray(r) ** 2)
    for given in (1.5, lambda p: 1.5 * p["first"]):
        np.testing.assert_allclose(Harmonic(given)(r, parameters), isotropic, rtol=1e-14)


def test_frequencies_that_do_not_fit_the_trap():
    for wrong in (0.0, (1.0, -2.0), np.inf):
        with pytest.raises(ValueError, match="trap frequency must be positive"):
            Harmonic(wrong)
    with pytest.raises(ValueError, match="a number for each axis, got none"):
        Harmonic(())
    for wrong in (lambda _: jnp.asarray(1j), (1.0, lambda _: jnp.asarray(1j))):
        with pytest.raises(ValueError, match="the trap frequency must be real"):
            Harmonic(wrong)(positions(3, 2), None)
    with pytest.raises(ValueError, match="must be one number, got the shape"):
        Harmonic((1.0, lambda _: jnp.ones(2)))(positions(3, 2), None)
    for wrong in ((1.0, 2.0, 3.0), lambda _: jnp.ones(3), lambda _: jnp.ones((1, 1))):
        trap = Harmonic(wrong)
        with pytest.raises(ValueError, match="one number or 2, one for each axis, got the shape"):
            trap(positions(3, 2), None)


@pytest.mark.parametrize("electrons", [1, 2, 5])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_the_harmonic_interaction_is_a_sum_over_pairs(electrons, dim):
    # Far from the origin, where Σ r² - N R² would lose its digits.
    r = positions(electrons, dim) + 1e3
    first, second = np.triu_indices(electrons, 1)
    pairs = 0.5 * np.sum((np.asarray(r)[first] - np.asarray(r)[second]) ** 2)
    np.testing.assert_allclose(HarmonicPair(0.7)(r, None), 0.7 * pairs, rtol=1e-12)
    of_parameters = HarmonicPair(lambda p: -p)(r.astype(jnp.float32), jnp.asarray(0.2))
    assert of_parameters.dtype == jnp.float32
    np.testing.assert_allclose(of_parameters, -0.2 * pairs, rtol=1e-3)


# ------------------------------------------------------------------------------- the orbitals

ORBITALS = {
    "1D": (((0,), (1,), (2,), (7,)), (0.7,)),
    "2D": (((0, 0), (1, 0), (0, 1), (2, 3), (0, 4)), (1.0, 2.3)),
    "3D": (((0, 0, 0), (1, 0, 2), (0, 3, 1)), (1.0, 2.0, 0.4)),
}


@pytest.mark.parametrize("name", ORBITALS)
def test_orbitals_are_eigenstates_of_the_trap(name):
    """-½ ∇²φ + ½ Σ ω² x² φ = Σ ω (n + ½) φ, by the rule of own derivatives and by the general forward Laplacian."""
    levels, frequencies = ORBITALS[name]
    orbitals = HarmonicOrbitals(levels, lambda p: p["frequencies"])
    parameters, r = {"frequencies": jnp.asarray(frequencies)}, positions(6, len(frequencies))
    jet = jax.jit(lambda r: own_jet(lambda x: orbitals(x, parameters), r))(r)
    trap = 0.5 * np.sum(np.asarray(frequencies) ** 2 * np.asarray(r) ** 2, axis=1, keepdims=True)
    energies = ((np.asarray(levels) + 0.5) @ np.asarray(frequencies))[None]
    np.testing.assert_allclose(-0.5 * jet.laplacian + trap * jet.value, energies * jet.value, atol=1e-11)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        general = folx.forward_laplacian(lambda x: orbitals(x, parameters), 0, disable_jit=True)(r)
    np.testing.assert_allclose(general.laplacian, jet.laplacian, atol=1e-11)


@pytest.mark.parametrize("name", ORBITALS)
def test_orbitals_are_orthonormal(name):
    levels, frequencies = ORBITALS[name]
    # Products of two are polynomials of degree 14 or less and a Gaussian: 8 points an axis are exact.
    nodes, weights = np.polynomial.hermite.hermgauss(8)
    grid = np.stack(np.meshgrid(*[nodes] * len(frequencies), indexing="ij"), -1).reshape(-1, len(frequencies))
    volume = np.prod(np.stack(np.meshgrid(*[weights * np.exp(nodes**2)] * len(frequencies), indexing="ij")), axis=0)
    phi = np.asarray(HarmonicOrbitals(levels, frequencies)(jnp.asarray(grid / np.sqrt(frequencies)), None))
    overlaps = phi.T @ (phi * volume.reshape(-1, 1)) / np.sqrt(np.prod(frequencies))
    np.testing.assert_allclose(overlaps, np.eye(len(levels)), atol=1e-12)


def test_orbitals_of_many_quanta_in_single_precision():
    """The normalised recursion: at n = 60 the polynomial itself is 1e55."""
    r = positions(50, 1)
    orbitals = HarmonicOrbitals([(60,)], 1.0)
    narrow = orbitals(r.astype(jnp.float32), None)
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, orbitals(r.astype(jnp.float32).astype(float), None), atol=3e-5)


def test_orbitals_follow_the_parameters():
    """∂_ω φ₀ = (1/4ω - x²/2) φ₀ along one axis."""
    orbitals = HarmonicOrbitals([(0, 0)], lambda p: jnp.stack([jnp.ones_like(p), p]))
    r, frequency = positions(4, 2), jnp.asarray(1.7)
    value, slope = jax.jvp(lambda p: orbitals(r, p), (frequency,), (jnp.ones_like(frequency),))
    np.testing.assert_allclose(slope, (0.25 / 1.7 - 0.5 * r[:, 1:] ** 2) * value, rtol=1e-12)


@pytest.mark.parametrize(
    ("frequencies", "levels"),
    [
        ((2.0,), [(0,), (1,), (2,), (3,)]),
        ((1.0, 1.9), [(0, 0), (1, 0), (0, 1)]),
        ((1.0, 2.1), [(0, 0), (1, 0), (2, 0)]),
        ((1.0, 1.4), [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)]),
        ((1.0, 1.6), [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (3, 0)]),
        ((1.0, 3.1), [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (4, 0)]),
        ((1.0, 1.0, 1.0), [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]),
    ],
)
def test_lowest_levels_of_closed_shells(frequencies, levels):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert harmonic_levels(frequencies, len(levels)) == tuple(levels)


def test_open_shells_are_named():
    with pytest.warns(UserWarning, match="open shell: 2 fermions of one spin fill 1 of 2 .*; 1 or 3 would close"):
        assert harmonic_levels((1.0, 1.0), 2) == ((0, 0), (1, 0))
    # (2, 0) and (0, 1) at the same energy; and a shell of which most members have more quanta than are filled.
    with pytest.warns(UserWarning, match="fill 1 of 2 .*; 2 or 4 would close"):
        harmonic_levels((0.5, 1.0), 3)
    with pytest.warns(UserWarning, match="fill 1 of 21 .*; 35 or 56 would close"):
        harmonic_levels((3.0, 3.0, 3.0), 36)


def test_orbitals_that_cannot_be():
    for levels, message in (
        ([(0, 0), (1,)], "one quantum number for each axis"),
        ([], "one quantum number for each axis"),
        ([(0, -1)], "quantum numbers of a trap are 0, 1, 2"),
        ([(0, 1), (0, 1)], "there twice"),
    ):
        with pytest.raises(ValueError, match=message):
            HarmonicOrbitals(levels, 1.0)
    with pytest.raises(ValueError, match="frequency of the orbitals must be positive, got -1"):
        HarmonicOrbitals([(0, 0)], (1.0, -1.0))
    with pytest.raises(ValueError, match="2-dimensional trap, got positions"):
        HarmonicOrbitals([(0, 0)], 1.0)(positions(2, 3), None)
    with pytest.raises(ValueError, match="one number or 2, one for each axis"):
        HarmonicOrbitals([(0, 0)], (1.0, 1.0, 1.0))(positions(2, 2), None)
    with pytest.raises(ValueError, match="a positive frequency for each axis"):
        harmonic_levels((1.0, 0.0), 2)
    with pytest.raises(ValueError, match="number of orbitals must be positive"):
        harmonic_levels((1.0, 1.0), 0)


# ------------------------------------------------------------------------------- the closed forms


@pytest.mark.parametrize("row", TABLE["states"], ids=lambda row: f"{row['dim']}D-{row['electrons']}-{row['kappa']}")
def test_energy_slope_and_susceptibility_of_the_table(row):
    frequencies = np.full(row["dim"], row["omega"])
    (filling,) = ground_fillings(row["electrons"], frequencies, row["kappa"])
    assert set(filling) == set(harmonic_levels(frequencies, row["electrons"]))
    arguments = filling, frequencies, row["kappa"]
    np.testing.assert_allclose(filling_energy(*arguments), row["energy"], rtol=1e-13)
    np.testing.assert_allclose(ground_energy(row["electrons"], *arguments[1:]), row["energy"], rtol=1e-13)
    np.testing.assert_allclose(filling_slopes(*arguments).kappa, row["slope_kappa"], rtol=1e-10)
    np.testing.assert_allclose(filling_metric(*arguments)[-1, -1], row["susceptibility_kappa"], rtol=1e-10)


@pytest.mark.parametrize("row", TABLE["crossings"], ids=lambda row: str(row["kappa"]))
def test_level_crossings_of_the_table(row):
    frequencies, kappa = np.array([row["omega_x"], 1.0]), row["kappa"]
    found = filling_boundary(LIQUID, CHAIN, frequencies, kappa)
    np.testing.assert_allclose(found, np.sqrt(4 * row["omega_x"] ** 2 + 9 * kappa), rtol=1e-14)
    np.testing.assert_allclose(found, row["omega_y"], atol=1.01 * row["error"])
    there = np.array([row["omega_x"], float(found)])
    for filling in (LIQUID, CHAIN):
        np.testing.assert_allclose(filling_energy(filling, there, kappa), row["energy"], atol=3e-4)
    sides = [there * [1, factor] for factor in (0.999, 1.001)]
    assert [set(f) for f in ground_fillings(3, np.stack(sides), kappa)] == [set(LIQUID), set(CHAIN)]


def test_six_electrons_change_twice():
    """At Ω_y/Ω_x = 3/2 and 3, whatever κ."""
    kappa, omega_x = np.array([0.0, 0.1, 0.3]), 1.0
    omega_y = np.linspace(1.05, 4.0, 60)
    points = np.stack([np.full(60, omega_x), omega_y], axis=-1)
    fillings = ground_fillings(6, points[:, None], kappa)
    assert len(fillings) == 3
    for first, second, ratio in ((*fillings[:2], 1.5), (*fillings[1:], 3.0)):
        found = filling_boundary(first, second, np.array([omega_x, 1.0]), kappa)
        relative = relative_frequencies(6, np.stack([np.full(3, omega_x), found], axis=-1), kappa)
        np.testing.assert_allclose(relative[:, 1] / relative[:, 0], ratio, rtol=1e-12)
        # Along the other axis the line is the same.
        turned = filling_boundary(first, second, np.stack([np.full(3, omega_x), found], axis=-1), kappa, axis=0)
        np.testing.assert_allclose(turned, omega_x, rtol=1e-12)
    lowest = np.min([filling_energy(f, points[:, None], kappa) for f in fillings], axis=0)
    np.testing.assert_allclose(ground_energy(6, points[:, None], kappa), lowest, rtol=1e-13)


def test_a_boundary_that_is_nowhere():
    plane, line = ((0, 0), (1, 0)), ((0, 0), (0, 1))
    np.testing.assert_allclose(filling_boundary(plane, line, (1.3, 1.0), 0.2), 1.3)
    one = ((0, 0, 0), (1, 0, 0)), ((0, 0, 0), (0, 1, 0))
    assert np.isnan(filling_boundary(*one, (1.0, 1.0, 1.0), 0.1))
    # Ω_y = Ω_x / 2, unless N κ alone is stiffer than that.
    found = filling_boundary(LIQUID, ((0, 0), (0, 1), (0, 2)), (0.1, 1.0), np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(found, [0.05, np.nan, np.nan])


STRENGTHS = np.linspace(0.0, 0.3, 7)


@pytest.mark.parametrize(
    ("coordinates", "points", "frequencies", "kappa", "place"),
    [
        (("omega_y", "kappa"), {"omega_y": [2.2], "kappa": STRENGTHS}, (1.0, 1.0), 0.0, [2.2, 0.84 / 9]),
        (("omega_y", "kappa"), {"omega_y": [1.5, 3.0], "kappa": [0.1]}, (1.0, 1.0), 0.0, [np.sqrt(4.9), 0.1]),
        (("kappa",), {"kappa": STRENGTHS}, (1.0, 2.2), 0.0, [0.84 / 9]),
        (("omega_y",), {"omega_y": [1.5, 3.0]}, (1.0, 1.0), 0.1, [np.sqrt(4.9)]),
        (
            ("omega_x", "omega_y", "kappa"),
            [[0.8, 2.0, 0.1], [1.1, 2.0, 0.1]],
            (1.0, 1.0),
            0.1,
            [np.sqrt(3.1) / 2, 2, 0.1],
        ),
    ],
)
def test_the_filling_changes_at_one_place_along_one_coordinate(coordinates, points, frequencies, kappa, place):
    """4 (ω_x² + 3κ) = ω_y² + 3κ, whichever of them varies."""
    named = dict(zip(("omega_x", "omega_y"), frequencies, strict=True))
    family = systems.trap_family(3, named, kappa, coordinates, points)
    (found,) = systems.boundaries_of_fillings((LIQUID, CHAIN), family)
    np.testing.assert_allclose(found, [place], atol=1e-6)


def test_slopes_are_derivatives_and_terms_sum_to_the_energy():
    frequencies, kappa, step = np.array([[1.0, 1.7], [0.6, 2.5]]), np.array([0.2, -0.05]), 1e-5
    for filling in (LIQUID, CHAIN):
        slopes = filling_slopes(filling, frequencies, kappa)
        energy = lambda f, k, filling=filling: filling_energy(filling, f, k)
        for axis, shift in enumerate(np.eye(2) * step):
            difference = energy(frequencies + shift, kappa) - energy(frequencies - shift, kappa)
            np.testing.assert_allclose(slopes.frequencies[:, axis], difference / (2 * step), rtol=1e-8)
        difference = energy(frequencies, kappa + step) - energy(frequencies, kappa - step)
        np.testing.assert_allclose(slopes.kappa, difference / (2 * step), rtol=1e-8)
        terms = filling_terms(filling, frequencies, kappa)
        np.testing.assert_allclose(sum(terms), energy(frequencies, kappa), rtol=1e-14)
        # Hellmann and Feynman, and the virial theorem of quadratic potentials.
        np.testing.assert_allclose(terms.interaction, kappa * slopes.kappa, rtol=1e-13)
        np.testing.assert_allclose(terms.trap, 0.5 * np.sum(frequencies * slopes.frequencies, axis=1), rtol=1e-13)
        np.testing.assert_allclose(terms.kinetic, terms.trap + terms.interaction, rtol=1e-13)


def exact_psi(filling, r, frequencies, kappa):
    """ψ of a filling in the orbitals of the bare trap, with the factor of all pairs, not normalised."""
    n = r.shape[0]
    orbitals = HarmonicOrbitals(filling, lambda p: p)(r, frequencies)
    strengths = (jnp.sqrt(frequencies**2 + n * kappa) - frequencies) / n
    first, second = np.triu_indices(n, 1)
    pairs = jnp.sum((r[first] - r[second]) ** 2, axis=0)
    return jnp.linalg.det(orbitals) * jnp.exp(-0.5 * jnp.sum(strengths * pairs))


@pytest.mark.parametrize("filling", [LIQUID, CHAIN], ids=["liquid", "chain"])
def test_metric_terms_and_widths_are_those_of_the_wavefunction(filling):
    """Moments of |ψ|² of three electrons in two dimensions, exactly: a Gaussian quadrature in Jacobi's coordinates."""
    frequencies, kappa, n = np.array([1.0, 1.8]), 0.25, 3
    jacobi = np.linalg.qr(np.stack([np.ones(n), [1.0, -1.0, 0.0], [1.0, 1.0, -2.0]], axis=1))[0]
    # |ψ|² and four more powers of the coordinates: polynomials of degree 10 or less in each.
    nodes, weights = np.polynomial.hermite.hermgauss(6)
    grid = np.stack(np.meshgrid(*[nodes] * 6, indexing="ij"), axis=-1).reshape(-1, n, 2)
    volume = np.prod(np.stack(np.meshgrid(*[weights * np.exp(nodes**2)] * 6, indexing="ij")), axis=0).ravel()
    widths = np.stack([frequencies, *[relative_frequencies(n, frequencies, kappa)] * 2])
    r = jnp.asarray(np.einsum("ij,pjd->pid", jacobi, grid / np.sqrt(widths)))

    @jax.jit
    @jax.vmap
    def value_and_slopes(r):
        psi = lambda f, k: exact_psi(filling, r, f, k)
        arguments = jnp.asarray(frequencies), jnp.asarray(kappa)
        of_frequencies, of_kappa = jax.jacfwd(psi, argnums=(0, 1))(*arguments)
        return psi(*arguments), jnp.concatenate([of_frequencies, of_kappa[None]])

    psi, slopes = (np.asarray(x) for x in value_and_slopes(r))
    volume = volume / np.sum(volume * psi**2)
    mean = lambda values: np.tensordot(volume * psi**2, np.asarray(values), axes=1)
    # Not the slopes of log ψ: some points of the grid lie on a node.
    first = (volume * psi) @ slopes
    expected = (slopes.T * volume) @ slopes - first[:, None] * first[None]
    np.testing.assert_allclose(filling_metric(filling, frequencies, kappa), expected, atol=1e-10)
    direction = np.array([0.3, -1.0, 0.5])
    susceptibility = filling_susceptibility(filling, frequencies, kappa, direction)
    np.testing.assert_allclose(susceptibility, direction @ expected @ direction, atol=1e-10)
    np.testing.assert_allclose(filling_widths(filling, frequencies, kappa) ** 2, mean(np.mean(r**2, axis=1)))
    terms = filling_terms(filling, frequencies, kappa)
    trap, pair = Harmonic(frequencies), HarmonicPair(kappa)
    np.testing.assert_allclose(terms.trap, mean(jax.vmap(lambda x: trap(x, None))(r)))
    np.testing.assert_allclose(terms.interaction, mean(jax.vmap(lambda x: pair(x, None))(r)))


def test_one_electron_does_not_interact():
    arguments = ((0, 0),), (1.0, 3.0), -0.7
    assert filling_energy(*arguments) == ground_energy(1, *arguments[1:]) == 2.0
    assert filling_slopes(*arguments).kappa == 0 and filling_terms(*arguments).interaction == 0


def test_what_no_trap_holds():
    for arguments, message in (
        ((LIQUID, (1.0, 2.0), -0.34), "must be larger than -omega²/N, here -0.333333"),
        ((LIQUID, (1.0, 0.0), 0.1), "trap frequencies must be positive"),
        ((LIQUID, 1.0, 0.1), "a last axis over 1, 2 or 3 dimensions"),
        ((LIQUID, (1.0, 1.0, 1.0), 0.1), "need 3 quantum numbers"),
        ((((0, 0), (2, 0)), (1.0, 1.0), 0.1), r"\(2, 0\) is filled and not all of those below"),
        ((((0, 0), (1, -1)), (1.0, 1.0), 0.1), "not all of those below"),
        ((((0, 0), (1, 0), (0, 0)), (1.0, 1.0), 0.1), "filled twice"),
        (((), (1.0, 1.0), 0.1), "at least one electron"),
    ):
        with pytest.raises(ValueError, match=message):
            filling_energy(*arguments)
    with pytest.raises(ValueError, match="fillings of 3 and 2 electrons do not compete"):
        filling_boundary(LIQUID, LIQUID[:2], (1.0, 1.0), 0.0)
    with pytest.raises(ValueError, match="a direction has 3 components"):
        filling_susceptibility(LIQUID, (1.0, 1.0), 0.0, (1.0, 0.0))


def test_ground_energies_are_the_lowest_of_all_fillings():
    """Three electrons in three dimensions, over random traps: no filling of any levels lies lower."""
    levels = [level for level in itertools.product(range(3), repeat=3) if sum(level) <= 2]
    random = np.random.default_rng(3)
    frequencies, kappa = random.uniform(0.5, 3, size=(20, 3)), random.uniform(0, 0.5, size=20)
    relative = relative_frequencies(3, frequencies, kappa)
    energies = [
        np.sum(relative * (np.sum(chosen, axis=0) + 1) + frequencies / 2, axis=1)
        for chosen in itertools.combinations(levels, 3)
    ]
    np.testing.assert_allclose(ground_energy(3, frequencies, kappa), np.min(energies, axis=0), rtol=1e-13)


# ------------------------------------------------------------------------------- the wavefunction

# Dimensions, electrons, frequencies, κ: closed shells of the relative motion.
STATES = {
    "1D-4": (1, 4, (1.0,), 0.4),
    "2D-3": (2, 3, (1.0, 1.6), 0.3),
    "2D-3-chain": (2, 3, (1.0, 3.2), 0.3),
    "2D-6": (2, 6, (1.0, 1.2), 0.1),
    "2D-3-repulsive": (2, 3, (1.0, 1.6), -0.2),
    "3D-4": (3, 4, (1.0, 1.3, 0.8), 0.2),
}


def frequencies_of(parameters):
    return parameters["frequencies"]


def kappa_of(parameters):
    return parameters["kappa"]


def trap_family(frequencies, kappa, electrons):
    """A trap at the given points: frequencies (points, dim), κ (points,); `electrons`, their number or of each spin."""
    electrons = electrons if isinstance(electrons, tuple) else (electrons, 0)
    potentials = {"trap": Harmonic(frequencies_of), "interaction": HarmonicPair(kappa_of)}
    hamiltonian = Hamiltonian(Kinetic(), potentials, electrons, dim=np.shape(frequencies)[1])
    return Family(hamiltonian, {"frequencies": jnp.asarray(frequencies), "kappa": jnp.asarray(kappa)})


def oscillator_length(parameters):
    return parameters["frequencies"] ** -0.5


def of_trap(filling):
    return HarmonicOrbitals(filling, frequencies_of)


def trap_qernel(family, references, *, dtype=jnp.float64, seed=0, **options):
    dim = family.hamiltonian.dim
    settings = dict(width=8, layers=1, query_heads=2, key_value_heads=1, experts=2, condition_size=4)
    return qernel(
        family.parameters,
        family.hamiltonian.electrons,
        OpenEmbedding(dim, oscillator_length),
        tuple(references),
        key=jax.random.key(seed),
        cusp_strength=None,
        pair=functools.partial(OpenPairJastrow, dim=dim, length=oscillator_length),
        dtype=dtype,
        **{**settings, "determinants": len(references), **options},
    )


@pytest.mark.parametrize("name", STATES)
def test_the_exact_ground_state_is_in_the_class(name):
    """With e^s = Ω/ω in the pair factor and no dressing: zero variance at the energy of the closed form."""
    dim, electrons, frequencies, kappa = STATES[name]
    family = trap_family(np.array([frequencies, frequencies]), np.full(2, kappa), electrons)
    (filling,) = ground_fillings(electrons, frequencies, kappa)
    exponents = np.log(relative_frequencies(electrons, frequencies, kappa) / frequencies)
    ansatz = trap_qernel(family, [of_trap(filling)], layers=0, dressing_scale=0.0)
    ansatz = eqx.tree_at(lambda a: a.pair.stiffness.bias, ansatz, jnp.asarray(exponents))
    r = 0.7 * jnp.stack([positions(electrons, dim, seed) for seed in range(16)]).reshape(2, 8, electrons, dim)
    for laplacian in (ForwardLaplacian(), HessianTrace()):
        energies = compiled_call(local_energies, ansatz, family.hamiltonian, r, family.parameters, laplacian)
        np.testing.assert_allclose(energies.total, ground_energy(electrons, frequencies, kappa), rtol=1e-10)
    assert np.std(energies.kinetic) > 0.1


def perturbed(ansatz, size=0.1):
    """Away from the start, where FiLM is the identity and pair factors vanish."""
    trained, static = eqx.partition(ansatz, trainable(ansatz))
    move = lambda x: x + size * jnp.cos(jnp.arange(x.size)).reshape(x.shape).astype(x.dtype)
    return eqx.combine(jax.tree.map(move, trained), static)


@pytest.mark.parametrize("name", ["1D-4", "2D-3", "3D-4"])
def test_both_ways_to_the_derivatives_agree(name):
    dim, electrons, frequencies, kappa = STATES[name]
    family = trap_family(np.array([frequencies, np.multiply(frequencies, 1.5)]), np.array([kappa, 0.0]), electrons)
    (filling,) = ground_fillings(electrons, frequencies, kappa)
    # The second block is compiled apart, in a scan.
    ansatz = perturbed(trap_qernel(family, [of_trap(filling)], layers=2 if dim == 2 else 1))
    r = jnp.stack([positions(electrons, dim, seed) for seed in range(3)])
    assert laplacian_difference(ansatz, family.select(1), r) < 1e-10
    if name == "1D-4":
        # The general forward Laplacian finds its way through every new layer, too.
        at = AtParameters(ansatz, family.select(1))
        closed, general = (compiled_call(method, at, r[0]) for method in (ForwardLaplacian(), FolxLaplacian()))
        np.testing.assert_allclose(closed.laplacian, general.laplacian, rtol=1e-10)
        np.testing.assert_allclose(closed.gradient, general.gradient, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("complex", [False, True])
def test_both_spins_and_complex_dressing(complex):
    family = trap_family(np.array([[1.0, 1.6], [1.0, 3.2]]), np.array([0.3, 0.3]), (2, 1))
    orbitals = SpinBlocks(of_trap(LIQUID[:2]), of_trap(LIQUID[:1]))
    ansatz = perturbed(trap_qernel(family, [orbitals], complex=complex, layers=0))
    r = jnp.stack([positions(3, 2, seed) for seed in range(3)])
    assert laplacian_difference(ansatz, family.select(1), r) < 1e-10


def test_competing_fillings_of_one_network():
    """Parameters in a phase reach the embedding, the orbitals and the pair factor as plain ones."""
    family = trap_family(np.array([[1.0, 1.6], [1.0, 3.2]]), np.array([0.3, 0.0]), 3)
    lifted = dataclasses.replace(family, parameters=in_phases(family.parameters, 2))
    ansatz = CompetingPhases(perturbed(trap_qernel(lifted, [of_trap(LIQUID), of_trap(CHAIN)], layers=0)))
    r = jnp.stack([positions(3, 2, seed) for seed in range(2)])
    assert laplacian_difference(ansatz, lifted.select(3), r) < 1e-10
    one = compiled_call(ansatz, r[0], lifted.select(3))
    assert np.isclose(one.log_magnitude, compiled_call(ansatz.phase(1), r[0], family.select(1)).log_magnitude)


def test_an_open_wavefunction_keeps_the_contract(key):
    family = trap_family(np.array([[1.0, 1.6], [1.0, 3.2]]), np.array([0.3, 0.0]), 3)
    ansatz = perturbed(trap_qernel(family, [of_trap(LIQUID)]), 0.02)
    report = check_ansatz(ansatz, family.hamiltonian, family.select(0), key=key, walkers=32)
    assert report.ok, str(report)


def test_far_away_the_wavefunction_decays_as_the_orbitals_do():
    """A network that grew with the distance would beat the Gaussian of a soft trap."""
    family = trap_family(np.array([[1.0, 1.6], [1.0, 3.2]]), np.array([0.3, 0.0]), 3)
    ansatz = perturbed(trap_qernel(family, [of_trap(LIQUID)]))
    stiffer = eqx.tree_at(lambda a: a.pair.stiffness.weight, ansatz, replace_fn=lambda x: 0 * x)
    r, away = positions(3, 2), jnp.asarray([[1.0, -1.0], [1.0, -1.0], [1.0, -1.0]])
    # All together, so that the pair factor says nothing: -½ Σ ω x², and logarithms.
    values = [float(compiled_call(stiffer, r + d * away, family.select(0)).log_magnitude) for d in (10.0, 20.0)]
    gaussian = -0.5 * 3 * 2.6 * (20.0**2 - 10.0**2)
    assert abs(values[1] - values[0] - gaussian) < 0.05 * abs(gaussian)


def test_pair_factors_that_cannot_be():
    build = functools.partial(OpenPairJastrow, (3, 0), 4, key=jax.random.key(0))
    for settings, message in (
        (dict(dim=0, length=1.0), "at least one dimension"),
        (dict(dim=2, length=0.0), "length of a pair factor must be positive"),
        (dict(dim=2, length=1.0, harmonics=0), "one harmonic"),
    ):
        with pytest.raises(ValueError, match=message):
            build(**settings)
    factor = build(dim=2, length=(1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="one number or 2, one for each axis"):
        factor(positions(3, 2), None, jnp.zeros(4))


# ------------------------------------------------------------------------------- the training


def trained(unit):
    """A wavefunction after four steps in a trap whose frequencies are all `unit` times those of another one."""
    frequencies, kappa = unit * np.array([[1.0, 1.6], [1.0, 2.0]]), unit**2 * np.array([0.3, 0.1])
    family = trap_family(frequencies, kappa, 3)
    ansatz = trap_qernel(family, [of_trap(LIQUID)], layers=0)
    clouds = np.random.default_rng(1).normal(size=(2, 16, 3, 2))
    r = jnp.asarray(clouds * filling_widths(LIQUID, frequencies, kappa)[:, None, None])
    method = Method(sampler=Sampler(langevin, moves=2))
    state = initial_state(ansatz, method, r, key=jax.random.key(2))
    for state, report in train(state, family, method, 4):
        pass
    moved = eqx.filter(state.ansatz, trainable(state.ansatz))
    return jax.tree.leaves(moved), np.asarray(report.statistics.energy) / unit, jax.tree.leaves(ansatz)


def test_steps_do_not_depend_on_the_unit_of_energy():
    one, energies, start = trained(1.0)
    assert max(float(np.max(np.abs(a - b))) for a, b in zip(one, start, strict=False)) > 1e-3
    # A power of four, so that rounding is the same, too.
    small, others, _ = trained(4.0**-5)
    np.testing.assert_allclose(others, energies, rtol=1e-9)
    for a, b in zip(one, small, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_the_energy_unit_is_that_of_the_kinetic_energy():
    """Of the trap: 10 times 4 T / N d. In a cell no less than the confinement of one electron and half of what two cost
    that are excited; bad walkers left out."""
    kinetic = jnp.asarray([[2.0, 4.0, np.nan], [-9.0, 3.0, 3.0]])
    finite = jnp.asarray([[True, True, False], [True, True, True]])
    trap = trap_family(np.ones((2, 2)), np.zeros(2), 3)
    np.testing.assert_allclose(energy_unit(kinetic, finite, trap), 10 * 4 * np.array([3.0, 1.0]) / 6)
    cell = dataclasses.replace(trap, hamiltonian=Hamiltonian(Kinetic(mass=2.0), {}, (3, 0), cell=square(6.0)))
    excited = 0.25 * (2 * np.pi / 6) ** 2
    np.testing.assert_allclose(energy_unit(kinetic, finite, cell), 10 * 4 * np.array([3.0, 1.0]) / 6)
    np.testing.assert_allclose(energy_unit(0 * kinetic[:, :2], finite[:, :2], cell), 10 * excited)
    many = dataclasses.replace(trap, hamiltonian=Hamiltonian(Kinetic(mass=2.0), {}, (6, 0), cell=square(6.0)))
    confined = 0.25 * np.pi**2 / 6
    np.testing.assert_allclose(energy_unit(0 * kinetic[:, :2], finite[:, :2], many), 10 * confined)
    with pytest.raises(ValueError, match="must be positive, 'family' or 'member'"):
        Method(energy_unit=0.0)
