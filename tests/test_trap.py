"""Fermions in an anisotropic harmonic trap: potentials, orbitals, closed forms, and a wavefunction that is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.hamiltonian import Harmonic, HarmonicPair


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
