"""Potentials of pairs in Hartree-Fock, exact diagonalisation and crystals: integrated, or refused by name."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

from qernel.exact import exact_diagonalisation
from qernel.hamiltonian import AbstractPotential, Ewald, Hamiltonian, Kinetic, Potential
from qernel.lattice import Lattice, PeriodicDistance, square
from qernel.mean_field import (
    crystal_sites,
    crystal_symmetries,
    gaussian_width,
    hartree_fock,
    hartree_fock_functional,
    plane_waves,
    random_start,
)

LENGTH = 4.0
RING = Lattice(np.array([[LENGTH]]))
SQUARE = square(6.0)
WAVE = 2 * np.pi / LENGTH


class Pairs(AbstractPotential):
    """Σ_{i<j} w(r_i - r_j) + Σ_i v(r_i)."""

    boundary = "any"
    between: Callable
    alone: Callable = lambda r: 0.0 * r[0]

    def __call__(self, r, parameters):
        first, second = np.triu_indices(len(r), 1)
        of_pairs = sum((self.between(r[i] - r[j]) for i, j in zip(first, second, strict=True)), jnp.zeros(()))
        return of_pairs + sum(self.alone(x) for x in r)


class OfAll(AbstractPotential):
    """Any function of all positions."""

    boundary = "any"
    function: Callable

    def __call__(self, r, parameters):
        return self.function(r)


def repulsion(separation, cell=RING):
    return 5 / jnp.cosh(jnp.sqrt(PeriodicDistance(cell)(separation))) ** 2


def system(potential, electrons, cell=RING, **more):
    return Hamiltonian(Kinetic(), {"mine": potential, **more}, electrons, cell=cell)


# ------------------------------------------------------------------------------- against closed forms


@pytest.mark.parametrize("electrons", [(1, 1), (2, 0)])
def test_two_electrons_on_a_ring_are_mathieus_equation(electrons):
    """The relative motion under A cos(2πs/L): (π/L)² times a characteristic value of q = A L²/2π²."""
    strength = 3.0
    ring = system(Pairs(lambda s: strength * jnp.cos(WAVE * s[0])), electrons)
    q = strength * LENGTH**2 / (2 * np.pi**2)
    # Of equal spins the lowest pair moves round the ring with the smallest momentum.
    value = scipy.special.mathieu_a(0, q) if electrons == (1, 1) else scipy.special.mathieu_b(1, q) + 1
    exact = exact_diagonalisation(ring, None, orbitals=17, cutoff=8.5 * WAVE)
    assert exact.energy == pytest.approx((np.pi / LENGTH) ** 2 * value, abs=1e-9)
    assert exact.energies.keys() == {"kinetic", "mine"}
    # A determinant lies above, and below what it is without correlation of any kind.
    found = hartree_fock(ring, None, random_start(ring, seed=0, cutoff=8.5 * WAVE))
    assert exact.energy < found.energy - 0.01
    assert sum(found.interaction_terms.values()) == pytest.approx(found.energies["mine"])


def test_a_determinant_has_the_energy_of_its_wavefunction():
    """Three electrons, summed over all their positions; one potential of pairs, single electrons and a constant."""
    mixed = Pairs(repulsion, lambda r: 0.3 * jnp.cos(WAVE * r[0]) + 0.1)
    ring = system(mixed, (2, 1))
    start = random_start(ring, seed=1, cutoff=3.5 * WAVE)
    functional = hartree_fock_functional(ring, None, start.waves)
    energies, _ = functional(start.coefficients)
    x = np.arange(48) * LENGTH / 48
    waves = np.concatenate([np.ones((1, 48)), np.zeros((6, 48))])
    for n, wave in enumerate(start.waves.integers[:, 0]):
        waves[1 + 2 * n : 3 + 2 * n] = np.sqrt(2) * np.stack([np.cos(wave * WAVE * x), np.sin(wave * WAVE * x)])
    up, down = (c.T @ waves for c in start.coefficients)
    pair = (up[0][:, None] * up[1][None] - up[1][:, None] * up[0][None]) / np.sqrt(2)
    density = pair[:, :, None] ** 2 * down[0] ** 2
    w = np.array([float(repulsion(jnp.asarray([s]))) for s in x])
    of = w[(np.arange(48)[:, None] - np.arange(48)[None]) % 48]
    potential = of[:, :, None] + of[:, None, :] + of[None] + 0.3
    potential = potential + 0.3 * sum(np.cos(WAVE * y) for y in np.meshgrid(x, x, x, indexing="ij"))
    wanted = np.mean(density * potential)
    assert sum(energies.values()) - energies["kinetic"] == pytest.approx(wanted, abs=1e-9)


def test_four_electrons_are_not_free():
    plane = system(Pairs(lambda s: repulsion(s, SQUARE)), (2, 2), SQUARE)
    exact = exact_diagonalisation(plane, None, orbitals=5, cutoff=2.2, momenta=[(0, 0), (1, 0), (1, 1)])
    found = hartree_fock(plane, None, random_start(plane, seed=0, cutoff=2.2))
    # Without the repulsion, whose average for six pairs is 4.66, it would be 1.0966.
    for result in (exact, found):
        assert result.energies["mine"] > 1.5 and 3.5 < result.energy < 1.1 + 4.7


def test_a_kink_is_integrated():
    """5/cosh² of the nearest images, whose slope jumps at the edge of the cell."""
    nearest = lambda s: 5 / jnp.cosh(jnp.sqrt(jnp.sum(SQUARE.minimum_image(s) ** 2))) ** 2
    plane = system(Pairs(nearest), (1, 1), SQUARE)
    functional = hartree_fock_functional(plane, None, plane_waves(plane, 1.1))
    # Its average over the cell, by quadrature on a quarter.
    x, weights = np.polynomial.legendre.leggauss(60)
    distance = 1.5 * np.hypot(x[:, None] + 1, x[None] + 1)
    average = np.sum(weights[:, None] * weights[None] * 5 / np.cosh(distance) ** 2) / 4
    assert functional.kernel.flat[0] == pytest.approx(average, rel=1e-6)


def test_interactions_add_up_and_are_told_apart():
    between = lambda s: repulsion(s, SQUARE)
    both = system(Pairs(between), (2, 1), SQUARE, coulomb=Ewald(SQUARE))
    found = hartree_fock(both, None, random_start(both, seed=0, cutoff=2.2))
    assert found.energies["mine"] + found.energies["coulomb"] == pytest.approx(sum(found.interaction_terms.values()))
    alone = [
        hartree_fock_functional(h, None, found.orbitals.waves)(found.orbitals.coefficients)[0]
        for h in (
            system(Pairs(between), (2, 1), SQUARE),
            Hamiltonian(Kinetic(), {"e": Ewald(SQUARE)}, (2, 1), cell=SQUARE),
        )
    ]
    for name, terms in zip(("mine", "coulomb"), alone, strict=True):
        assert found.energies[name] == pytest.approx(sum(terms.values()) - terms["kinetic"], abs=1e-12)
    exact = exact_diagonalisation(both, None, orbitals=5, cutoff=2.2)
    assert exact.energy == pytest.approx(exact.levels.min(), abs=1e-9)


# ------------------------------------------------------------------------------- the waves of a potential


def test_short_waves_are_not_taken_for_long_ones():
    """A narrow dot, exp((cos Gx - 1)/0.02), whose coefficients are Bessel functions, in few plane waves."""
    dot = system(Potential(lambda r, _: jnp.exp((jnp.cos(WAVE * r[0]) - 1) / 0.02)), (1, 0))
    functional = hartree_fock_functional(dot, None, plane_waves(dot, 1.5 * WAVE))
    coefficients = np.fft.fft(functional.one_body_potential) / functional.grid.size
    assert functional.grid.size < 10
    np.testing.assert_allclose(coefficients[:3].real, scipy.special.ive([0, 1, 2], 50.0), atol=1e-7)


def test_a_short_range_is_found():
    near = Pairs(lambda s: jnp.exp(-0.5 * PeriodicDistance(RING)(s) / (0.01 * LENGTH) ** 2))
    functional = hartree_fock_functional(system(near, (1, 1)), None, plane_waves(system(near, (1, 1)), 3.5 * WAVE))
    assert functional.kernel.flat[0] == pytest.approx(0.01 * np.sqrt(2 * np.pi), rel=1e-3)


# ------------------------------------------------------------------------------- crystals


def test_gaussians_are_as_wide_as_their_repulsion_lets_them():
    strength, sites = 20.0, np.array([[0.0], [LENGTH / 2]])
    ring = system(Pairs(lambda s: strength * jnp.cos(WAVE * s[0])), (1, 1))
    energy = lambda w: 2 / (4 * w**2) - strength * np.exp(-((WAVE * w) ** 2) / 2)
    wanted = scipy.optimize.minimize_scalar(energy, bounds=(0.2, 0.9), method="bounded").x
    assert 0.3 < wanted < 0.6
    assert gaussian_width(ring, None, sites) == pytest.approx(wanted, rel=1e-4)
    with pytest.raises(ValueError, match="2 electrons in 1 dimensions need as many sites"):
        gaussian_width(ring, None, sites[:1])


@pytest.mark.parametrize("sign", [1, -1])
def test_sites_follow_the_interaction(sign):
    pair = system(Pairs(lambda s: sign * repulsion(s, SQUARE)), (2, 0), SQUARE)
    sites = crystal_sites(pair, None, cutoff=3.2)
    distance = float(jnp.linalg.norm(SQUARE.minimum_image(jnp.asarray(sites[1] - sites[0]))))
    # As far apart, or as near, as the points of the grid allow.
    assert distance > 3.9 if sign > 0 else distance < 0.7


def test_an_interaction_with_a_direction_has_fewer_symmetries():
    sites = np.array([[0.0, 0.0], [3.0, 3.0]])
    waves = lambda y: lambda s: jnp.cos(np.pi * s[0] / 3) + y * jnp.cos(np.pi * s[1] / 3)
    even, uneven = (
        crystal_symmetries(system(Pairs(waves(y)), (2, 0), SQUARE), sites, None, cutoff=3.2) for y in (1.0, 0.5)
    )
    assert len(np.unique(even.rotations, axis=0)) == 8
    assert len(np.unique(uneven.rotations, axis=0)) == 4


# ------------------------------------------------------------------------------- refused

COSINE = lambda x: jnp.cos(WAVE * x[..., 0])
REFUSED = {
    "three electrons": (OfAll(lambda r: jnp.prod(COSINE(r))), "no sum over electrons and equal pairs"),
    "of one spin only": (OfAll(lambda r: jnp.sum(COSINE(r[:2]))), "no sum over electrons and equal pairs"),
    "a constant": (OfAll(lambda r: jnp.ones(())), "no sum over electrons and equal pairs"),
    "a pole": (Pairs(lambda s: 1 / jnp.sqrt(PeriodicDistance(RING)(s))), "diverges where electrons meet"),
    "a jump": (
        Pairs(lambda s: jnp.where(PeriodicDistance(RING)(s) < 0.517, 1.0, 0.0)),
        "a pole, a jump or shorter waves",
    ),
    "a parabola of pairs": (Pairs(lambda s: s[0] ** 2), "no function of their separation with the period"),
    "a parabola": (Potential(lambda r, _: r[0] ** 2), "does not have the period of the cell"),
    "a nucleus": (Potential(lambda r, _: 1 / jnp.abs(jnp.sin(WAVE * r[0] / 2))), "is not finite everywhere"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_integrated_is_refused_by_name(name):
    potential, message = REFUSED[name]
    ring = system(potential, (2, 1))
    with pytest.raises(ValueError, match=f"the potential 'mine' .*{message}"):
        hartree_fock_functional(ring, None, plane_waves(ring, 3.5 * WAVE))
    if name == "three electrons":
        for solve in (crystal_sites, lambda *a: exact_diagonalisation(*a, orbitals=3)):
            with pytest.raises(ValueError, match=message):
                solve(ring, None)


def test_pairs_that_know_where_they_are_are_refused():
    here = OfAll(lambda r: COSINE(r[0]) * COSINE(r[1]) if len(r) == 2 else jnp.zeros(()))
    with pytest.raises(ValueError, match="'mine' of two electrons is no function of their separation"):
        hartree_fock_functional(system(here, (1, 1)), None, plane_waves(system(here, (1, 1)), 3.5 * WAVE))
