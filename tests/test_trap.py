"""Fermions in an anisotropic harmonic trap: potentials, orbitals, closed forms, and a wavefunction that is exact."""

import warnings

import folx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.hamiltonian import Harmonic, HarmonicPair
from qernel.orbitals import HarmonicOrbitals, harmonic_levels
from qernel.propagation import own_jet


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
    for wrong in ((1.0, 2.0, 3.0), lambda _: jnp.ones(3), lambda _: jnp.ones((1, 1))):
        with pytest.raises(ValueError, match="one number or 2, one for each axis, got the shape"):
            jax.eval_shape(lambda r, h=Harmonic(wrong): h(r, None), positions(3, 2))


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
