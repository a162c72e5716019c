"""Observables as functions of samples, against states whose expectation values are known exactly."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from synthetic_evaluations import MATERIAL

from qernel.ansatz import LogPsi
from qernel.evaluation import (
    LocalisationLength,
    MomentumOccupations,
    PairCorrelations,
    TotalMomenta,
    columns,
    evaluate,
    results,
    standard_observables,
)
from qernel.hamiltonian import Family, Hamiltonian, Kinetic, Potential
from qernel.lattice import Lattice, cubic, oblique
from qernel.observables import (
    Estimate,
    Measurement,
    WalkerMeans,
    density,
    estimate,
    localisation_length,
    momentum_distribution,
    natural_occupations,
    one_body_density_matrix,
    pair_correlation,
    pair_map,
    spin_density,
    structure_factor,
    walker_means,
    zone_corners,
)
from qernel.plotting import momentum_distribution_figure, pair_correlation_figure
from qernel.sampling import Sampler, Walkers
from qernel.systems.moire import CornerStructureFactor, CrystalOrders, crystal_order, moire_family

SKEWED = Lattice(((1.0, 0.3), (2.6, -1.1)))  # left-handed, not reduced
CELLS = {"oblique": oblique(3.0, 2.0, 70.0), "skewed": SKEWED, "cubic": cubic(2.5)}


def free(cell, electrons):
    return Hamiltonian(Kinetic(), {}, electrons, cell=cell)


def moire(electrons, size=3):
    return moire_family(MATERIAL, size, electrons, [5.0]).hamiltonian


def uniform(hamiltonian, walkers=64, records=100, seed=0):
    shape = (walkers, records, hamiltonian.n_electrons, hamiltonian.dim)
    return np.random.default_rng(seed).random(shape) @ hamiltonian.cell.matrix


def agrees(found: Estimate, exact, width=1.3):
    """The deviations are those of the errors: none beyond 5, and of the right size together."""
    exact = np.broadcast_to(exact, found.value.shape)
    noisy = found.error > 1e-12
    np.testing.assert_allclose(found.value[~noisy], exact[~noisy], atol=1e-9)
    pull = (found.value - exact)[noisy] / found.error[noisy]
    assert np.abs(pull).max(initial=0) < 5
    if pull.size >= 20:
        assert 1 / width < np.sqrt(np.mean(np.abs(pull) ** 2)) < width


# ------------------------------------------------------------------------------- estimates


def correlated(rng, shape, memory):
    """A stationary AR(1) chain along the last axis, of mean 0 and variance 1."""
    x = rng.standard_normal(shape)
    for t in range(1, shape[-1]):
        x[..., t] = memory * x[..., t - 1] + np.sqrt(1 - memory**2) * x[..., t]
    return x


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_error_bars_hold_68_per_cent_under_any_autocorrelation(memory):
    chains = 2 + correlated(np.random.default_rng(1), (600, 24, 40), memory)
    linear = [estimate(x) for x in chains]
    bent = [WalkerMeans(x.mean(axis=1), np.full(24, 40)).jackknife(np.exp) for x in chains]
    for found, exact in ((linear, 2.0), (bent, np.exp(2.0))):
        inside = np.mean([abs(e.value - exact) < e.error for e in found])
        assert 0.62 < inside < 0.74


def test_samples_that_are_not_finite_are_left_out():
    values = np.random.default_rng(0).standard_normal((10, 30, 2))
    broken = values.copy()
    broken[0], broken[3, 5:, 0] = np.nan, np.inf
    means = np.stack([values[w, : 5 if w == 3 else 30].mean(axis=0) for w in range(1, 10)])
    weights = np.array([5 if w == 3 else 30 for w in range(1, 10)]) / 245
    np.testing.assert_allclose(estimate(broken).value, weights @ means)
    assert (estimate(broken).error > 0).all()
    samples = np.broadcast_to(broken[:, :, None], (10, 30, 1, 2))
    np.testing.assert_allclose(walker_means(lambda r: r[0], samples).estimate().value, estimate(broken).value)


def test_fewer_than_eight_walkers_give_no_error_bar():
    values = np.random.default_rng(0).standard_normal((7, 50))
    with pytest.warns(UserWarning, match="at least 8 walkers, got 7"):
        found = estimate(values)
    assert np.isclose(found.value, values.mean()) and np.isnan(found.error)
    with pytest.warns(UserWarning, match="got 0"):
        assert np.isnan(estimate(np.full((9, 3), np.nan)).value)


def test_a_complex_estimate_has_the_error_of_both_parts():
    x, y = np.random.default_rng(0).standard_normal((2, 16, 20))
    assert np.isclose(estimate(x + 1j * y).error, np.hypot(estimate(x).error, estimate(y).error))
    with pytest.raises(ValueError, match="one shape"):
        Estimate(np.zeros(2), np.zeros(3))


# ------------------------------------------------------------------------------- independent uniform electrons


@pytest.mark.parametrize("electrons", [(4, 0), (3, 2)])
@pytest.mark.parametrize("name", CELLS)
def test_independent_uniform_electrons(name, electrons):
    hamiltonian = free(CELLS[name], electrons)
    cell, (up, down), n = hamiltonian.cell, electrons, sum(electrons)
    samples = uniform(hamiltonian)
    agrees(density(samples, hamiltonian, 4), n / cell.volume)
    agrees(spin_density(samples, hamiltonian, 4), (up - down) / cell.volume)
    assert np.isclose(density(samples, hamiltonian, 3).value.mean() * cell.volume, n)
    # The innermost shells are too small for errors of a normal distribution.
    radial = jax.tree.map(lambda x: x[4:], pair_correlation(samples, hamiltonian, 25))
    for found in (radial, pair_map(samples, hamiltonian, 5)):
        agrees(found.total, 1 - 1 / n, 1.5)
        agrees(found.parallel, 1 - n / (up**2 + down**2), 1.5)
        if down:
            agrees(found.antiparallel, 1.0, 1.5)
        else:
            assert found.antiparallel is None
    np.testing.assert_allclose(pair_map(samples, hamiltonian, 3).total.value.mean(), 1 - 1 / n)
    agrees(structure_factor(samples, hamiltonian, cell.reciprocal_vectors(3 * np.linalg.norm(cell.reciprocal[0]))), 1)
    order = crystal_order(samples, hamiltonian, cell.reciprocal[:1])
    agrees(order.squared, 1 / n)
    agrees(order.binder, 1 / n)
    assert order.registries is None
    assert localisation_length(samples, hamiltonian).modulus.value < 0.05


@pytest.mark.parametrize("name", CELLS)
def test_pair_functions_are_those_of_an_independent_count(name):
    """All images by brute force, numpy's own histograms."""
    hamiltonian = free(CELLS[name], (3, 2))
    cell, bins = hamiltonian.cell, 9
    samples = uniform(hamiltonian, 8, 3)
    images = np.array(list(itertools.product(range(-4, 5), repeat=cell.dim))) @ cell.matrix
    shortest = min(np.linalg.norm(t) for t in images if t.any())
    spins = np.array([0, 0, 0, 1, 1])
    radial, area = np.zeros((2, bins)), np.zeros((2, *(4,) * cell.dim))
    for r in samples.reshape(-1, 5, cell.dim):
        for i, j in itertools.permutations(range(5), 2):
            kind, separation = int(spins[i] != spins[j]), r[i] - r[j]
            distance = np.linalg.norm(separation + images, axis=1).min()
            radial[kind] += np.histogram(distance, bins, (0, shortest / 2))[0]
            fractions = np.linalg.solve(cell.matrix.T, separation) % 1.0
            area[kind] += np.histogramdd(fractions[None], 4, [(0, 1)] * cell.dim)[0]
    edges = np.linspace(0, shortest / 2, bins + 1)
    shells = np.diff({2: np.pi * edges**2, 3: 4 / 3 * np.pi * edges**3}[cell.dim])
    for found, counts, volume in (
        (pair_correlation(samples, hamiltonian, bins), radial, shells),
        (pair_map(samples, hamiltonian, 4), area, cell.volume / 4**cell.dim),
    ):
        norm = cell.volume / volume / 24
        np.testing.assert_allclose(found.parallel.value, counts[0] * norm / 13, atol=1e-10)
        np.testing.assert_allclose(found.antiparallel.value, counts[1] * norm / 12, atol=1e-10)
        np.testing.assert_allclose(found.total.value, counts.sum(axis=0) * norm / 25, atol=1e-10)


# ------------------------------------------------------------------------------- determinants of plane waves


NOTHING = {"nothing": jnp.zeros(1)}


def waves(r, vectors):
    phase = r @ vectors.T.astype(r.dtype)
    return jax.lax.complex(jnp.cos(phase), jnp.sin(phase))


class PlaneWaveDeterminant(eqx.Module):
    """A Slater determinant of exp(ik·r) for each spin; one block-diagonal matrix is one LAPACK call."""

    vectors: jax.Array
    up: int = eqx.field(static=True)

    traces = [0]

    def __call__(self, r, parameters):
        self.traces[0] += 1
        spin = np.arange(len(r)) >= self.up
        sign, log = jnp.linalg.slogdet(jnp.where(spin[:, None] == spin, waves(r, self.vectors), 0))
        return LogPsi(log, jnp.angle(sign))


OCCUPIED = {
    "oblique": ([(0, 0), (1, 0), (-1, 0), (0, 1)], 4, (0.0, 0.0)),
    "skewed": ([(0, 0), (1, 0), (2, 1), (0, 0), (1, 1)], 3, (0.7, -1.9)),
    "cubic": ([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 0), (0, 0, 1)], 3, (0.0, 0.0, 0.0)),
}


def drawn(ansatz, hamiltonian, walkers=64, records=60):
    """Samples of |ψ|²."""
    sampler = Sampler(moves=6, cell=hamiltonian.cell)
    log_density = lambda r, parameters: 2 * ansatz(r, parameters).log_magnitude
    step = eqx.filter_jit(lambda x, key: sampler(log_density, NOTHING, x.positions, x.step_size, key))
    start = jnp.asarray(uniform(hamiltonian, walkers, 1, seed=3)[None, :, 0])
    lost = jnp.zeros(start.shape[:2], bool)
    state = Walkers(start, jnp.zeros(start.shape[:2]), jnp.full(1, 0.5), jnp.zeros(1), jnp.zeros(1, int), lost)
    states = []
    for key in jax.random.split(jax.random.key(4), records + 20):
        states.append(state := step(state, key))
    return np.stack([state.positions[0] for state in states[20:]], axis=1)


def occupied(name):
    """Integer momenta, occupied ones of each spin, twist, Hamiltonian, wavefunction and samples."""
    numbers, up, twist = OCCUPIED[name]
    numbers, cell = np.array(numbers), CELLS[name]
    hamiltonian = free(cell, (up, len(numbers) - up))
    ansatz = PlaneWaveDeterminant(jnp.asarray((numbers + np.array(twist) / (2 * np.pi)) @ cell.reciprocal), up)
    return numbers, up, twist, hamiltonian, ansatz, drawn(ansatz, hamiltonian)


@pytest.fixture(scope="module", params=CELLS)
def plane_waves(request):
    return occupied(request.param)


def exchange(separations, vectors):
    """|Σ_k exp(ik·Δ)|²"""
    return np.abs(np.exp(1j * separations @ vectors.T).sum(axis=-1)) ** 2


def test_pair_correlation_of_a_determinant(plane_waves):
    r"""$N_\sigma^2 g_{\sigma\sigma} = N_\sigma^2 - |\sum_k e^{ik\Delta}|^2$, averaged over shells and bins."""
    numbers, up, _, hamiltonian, _, samples = plane_waves
    cell = hamiltonian.cell
    spins = [k @ cell.reciprocal for k in (numbers[:up], numbers[up:]) if len(k)]
    squares = sum(len(k) ** 2 for k in spins)
    exact = lambda separations: 1 - sum(exchange(separations, k) for k in spins) / squares
    # The innermost shells of the exchange hole are all but empty.
    radial, area = pair_correlation(samples, hamiltonian, 20), pair_map(samples, hamiltonian, 5)
    radial = jax.tree.map(lambda x: x[4:], radial)
    edges = np.linspace(0, cell.shortest_translation() / 2, 21)
    directions = np.random.default_rng(0).standard_normal((4000, cell.dim))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    fractions = (np.arange(12) + 0.5) / 12
    radii = (edges[:-1, None] ** cell.dim * (1 - fractions) + edges[1:, None] ** cell.dim * fractions) ** (1 / cell.dim)
    agrees(radial.parallel, exact(radii[4:, :, None, None] * directions).mean(axis=(1, 2)), 1.6)
    fine = np.stack(np.meshgrid(*[(np.arange(40) + 0.5) / 40] * cell.dim, indexing="ij"), -1) @ cell.matrix
    whole = exact(fine).reshape(*(5, 8) * cell.dim)
    agrees(area.parallel, whole.mean(axis=tuple(range(1, 2 * cell.dim, 2))), 1.6)
    if area.antiparallel is not None:
        agrees(area.antiparallel, 1.0, 1.6)
        agrees(radial.antiparallel, 1.0, 1.6)


def test_structure_factor_of_a_determinant(plane_waves):
    numbers, up, _, hamiltonian, _, samples = plane_waves
    q = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=hamiltonian.dim)))
    q = q[np.any(q != 0, axis=1)]
    pairs = [k[:, None] - k for k in (numbers[:up], numbers[up:])]
    hits = sum(np.sum(np.all(d[..., None, :] == q, axis=-1), axis=(0, 1)) for d in pairs)
    agrees(structure_factor(samples, hamiltonian, q @ hamiltonian.cell.reciprocal), 1 - hits / len(numbers), 1.6)


def test_momentum_distribution_of_a_determinant(plane_waves):
    """1 and 0. Cramer's rule: the occupied ones have no noise at all."""
    numbers, up, twist, hamiltonian, ansatz, samples = plane_waves
    k = np.array(list(itertools.product((-1, 0, 1, 2), repeat=hamiltonian.dim)))
    shift = np.array(twist) / (2 * np.pi)
    found = momentum_distribution(
        samples[:, ::3],
        hamiltonian,
        ansatz,
        NOTHING,
        (k + shift) @ hamiltonian.cell.reciprocal,
        key=jax.random.key(0),
        points=2,
        twist=twist,
    )
    exact = np.array([[any(np.array_equal(a, b) for b in s) for a in k] for s in (numbers[:up], numbers[up:])])
    agrees(found.of_spins, exact.astype(float), 1.5)
    np.testing.assert_allclose(found.of_spins.value[exact], 1, atol=1e-9)
    np.testing.assert_allclose(found.total.value, found.of_spins.value.sum(axis=0))
    default = momentum_distribution(samples[:, :2], hamiltonian, ansatz, NOTHING, key=jax.random.key(0), twist=twist)
    assert np.any(np.all(np.abs(default.wave_vectors - shift @ hamiltonian.cell.reciprocal) < 1e-12, axis=1))


def test_natural_occupations_of_a_determinant(plane_waves):
    """Also in a basis that mixes occupied with empty waves."""
    numbers, up, twist, hamiltonian, ansatz, samples = plane_waves
    empty = np.full((1, hamiltonian.dim), 2)
    basis = np.concatenate([np.unique(numbers, axis=0), empty])
    vectors = (basis + np.array(twist) / (2 * np.pi)) @ hamiltonian.cell.reciprocal
    mix = np.linalg.qr(np.random.default_rng(0).standard_normal((len(basis), len(basis))))[0]
    orbitals = lambda r, parameters: waves(r, jnp.asarray(vectors)) @ mix.astype(complex)
    matrix = one_body_density_matrix(
        samples[:, ::3], hamiltonian, ansatz, NOTHING, orbitals, key=jax.random.key(1), points=2
    )
    gamma = matrix.estimate()
    exact = np.stack(
        [
            mix.T @ np.diag([float(any(np.array_equal(k, o) for o in s)) for k in basis]) @ mix
            for s in (numbers[:up], numbers[up:])
        ]
    )
    agrees(gamma, exact, 1.6)
    found = natural_occupations(matrix)
    assert found.value.shape == (2, len(basis)) and np.all(np.diff(found.value, axis=1) <= 0)
    for spin, count in enumerate((up, len(numbers) - up)):
        target = np.arange(len(basis)) < count
        # Eigenvalues of noise spread around zero: within the size of its elements.
        room = 6 * gamma.error[spin].max() * np.sqrt(len(basis)) + 1e-9
        assert np.abs(found.value[spin] - target).max() < room


# ------------------------------------------------------------------------------- a correlated pair


class Pair(eqx.Module):
    """ψ(r₁, r₂) = Σ_ab C_ab cos-or-sin waves, C antisymmetric: two electrons, correlated, real or complex."""

    vectors: jax.Array
    matrix: jax.Array
    real: bool = eqx.field(static=True)

    def orbitals(self, r, parameters):
        basis = waves(r, self.vectors)
        return np.sqrt(2) * jnp.concatenate([basis.real, basis.imag], axis=1) if self.real else basis

    def __call__(self, r, parameters):
        first, second = self.orbitals(r, parameters)
        psi = first @ self.matrix @ second
        return LogPsi(jnp.log(jnp.abs(psi)), jnp.angle(psi), real=self.real)


@pytest.mark.parametrize("real", [True, False])
def test_one_body_density_matrix_of_a_correlated_pair(real):
    r"""$\gamma = 2 (C C^\dagger)^*/\mathrm{tr}\,CC^\dagger$ for $\psi = \sum C_{ab}\phi_a\phi_b$."""
    hamiltonian = free(SKEWED, (2, 0))
    vectors = jnp.asarray(np.array([(1, 0), (0, 1), (1, 1)] + [(2, 1)] * (not real)) @ SKEWED.reciprocal)
    size = 6 if real else 4
    rng = np.random.default_rng(5)
    c = rng.standard_normal((size, size)) + (0 if real else 1j * rng.standard_normal((size, size)))
    c = c - c.T
    ansatz = Pair(vectors, jnp.asarray(c), real)
    samples, parameters = drawn(ansatz, hamiltonian, 96), NOTHING
    matrix = one_body_density_matrix(
        samples, hamiltonian, ansatz, parameters, ansatz.orbitals, key=jax.random.key(1), points=4
    )
    exact = 2 * (c @ c.conj().T).conj() / np.trace(c @ c.conj().T).real
    agrees(WalkerMeans(matrix.means[:, 0], matrix.samples).estimate(), exact, 1.5)
    assert not matrix.means[:, 1].any()
    found = natural_occupations(matrix)
    eigenvalues = np.linalg.eigvalsh(exact)[::-1]
    # Every eigenvalue of a pair is twofold, and noise splits them.
    deviation = np.abs(found.value[0].reshape(-1, 2).mean(axis=1) - eigenvalues[::2])
    assert np.all(deviation < 5 * found.error[0].reshape(-1, 2).max(axis=1))
    assert np.all(found.value[0][::2] >= found.value[0][1::2])
    k = np.concatenate([vectors, -vectors, 3 * vectors])
    if real:
        # cos and sin of one wave share the occupations of k and -k.
        pairs = np.real(np.diag(exact))
        occupation = np.tile((pairs[:3] + pairs[3:]) / 2, 2)
    else:
        occupation = np.concatenate([np.real(np.diag(exact)), np.zeros(4)])
    n = momentum_distribution(samples, hamiltonian, ansatz, parameters, k, key=jax.random.key(3), points=4)
    agrees(n.total, np.concatenate([occupation, np.zeros(len(vectors))]), 1.6)


def test_one_trace_for_all_parameters_and_keys():
    hamiltonian = free(SKEWED, (2, 0))
    samples = uniform(hamiltonian, 8, 2)
    before = PlaneWaveDeterminant.traces[0]
    for number in range(3):
        momentum_distribution(
            samples,
            hamiltonian,
            PlaneWaveDeterminant(jnp.asarray(SKEWED.reciprocal * number), 2),
            {"depth": jnp.asarray(float(number))},
            key=jax.random.key(number),
        )
    # Shapes first, then the program.
    assert PlaneWaveDeterminant.traces[0] - before <= 2


# ------------------------------------------------------------------------------- crystals


def crystal(sites_of, sigma=0.0, walkers=48, records=40, seed=0):
    """Electrons on the chosen sublattices of the 3 x 3 moiré cell; each walker in a registry of its own."""
    primitive = moire((1, 0)).primitive.matrix
    rng = np.random.default_rng(seed)
    index = np.array(list(itertools.product(range(3), repeat=2)))
    sublattice = (index[:, 0] - index[:, 1]) % 3
    registry = np.arange(walkers) % 4 % 3  # twice as many walkers in the first
    chosen = np.stack([index[np.isin((sublattice - s) % 3, sites_of)] for s in registry]) @ primitive
    noise = sigma * rng.standard_normal((walkers, records, *chosen.shape[1:]))
    return chosen[:, None] + noise, np.bincount(registry, minlength=3) / walkers


@pytest.mark.parametrize("sites, value", [((0,), 1.0), ((1, 2), -0.5)])
def test_order_and_registries_of_a_perfect_crystal(sites, value):
    samples, shares = crystal(sites)
    found = crystal_order(samples, moire((samples.shape[2], 0)))
    assert np.isclose(found.order.value, abs(value)) and np.isclose(found.squared.value, value**2)
    assert np.isclose(found.binder.value, 1) and np.isclose(found.cubed.value, value**3)
    np.testing.assert_allclose(sorted(found.registries.value), sorted(shares), atol=1e-12)
    assert np.isclose(found.registries.value[0], 0.5)


def test_order_of_a_vibrating_crystal():
    """The Debye-Waller factor: ⟨m²⟩ = e^{-K²σ²} m₀² + (1 - e^{-K²σ²}) / N."""
    samples, _ = crystal((0,), sigma=1.5)
    hamiltonian = moire((3, 0))
    factor = np.exp(-np.sum(zone_corners(hamiltonian.primitive)[0] ** 2) * 1.5**2)
    agrees(crystal_order(samples, hamiltonian).squared, factor + (1 - factor) / 3)
    bragg = zone_corners(hamiltonian.primitive)
    agrees(structure_factor(samples, hamiltonian, bragg), 3 * factor + 1 - factor)


@pytest.mark.parametrize("name", CELLS)
def test_localisation_length_of_gaussian_clouds(name):
    hamiltonian = free(CELLS[name], (4, 0))
    rng = np.random.default_rng(0)
    shape = (64, 80, 4, hamiltonian.dim)
    sites = rng.random((4, hamiltonian.dim)) @ hamiltonian.cell.matrix
    found = localisation_length(sites + 0.12 * rng.standard_normal(shape), hamiltonian)
    agrees(found.length, 0.12)
    assert found.length.error < 0.003


# ------------------------------------------------------------------------------- what an evaluation records


def sine(r, parameters):
    """ψ = sin b·(r₁ - r₂)"""
    psi = jnp.sin(jnp.sum((r[0] - r[1]) * SKEWED.reciprocal[0].astype(r.dtype)))
    return LogPsi(jnp.log(jnp.abs(psi)), jnp.where(psi < 0, jnp.pi, 0.0).astype(r.dtype), real=True)


def partly_broken(r, parameters):
    return jnp.where(r[0] > 2.7, jnp.nan, 0.0 * parameters["strength"])


@pytest.mark.parametrize("every", [0, 1, 3])
def test_recorded_samples(every):
    hamiltonian = Hamiltonian(Kinetic(), {"broken": Potential(partly_broken)}, (2, 0), cell=SKEWED)
    family = Family(hamiltonian, {"strength": jnp.arange(2.0)}, ("strength",))
    positions = jnp.asarray(uniform(hamiltonian, 32, 2).swapaxes(0, 1), jnp.float32)
    evaluation = evaluate(
        sine,
        family,
        positions,
        sampler=Sampler(moves=3, cell=SKEWED),
        key=jax.random.key(0),
        step_size=0.3,
        rounds=8,
        grid=(4, 3),
        record_every=every,
        observables=(PairCorrelations(),),
    )
    if not every:
        # Nothing to measure them on.
        assert evaluation.samples is None and evaluation.observed == ()
        return
    samples = evaluation.samples
    assert samples.shape == (2, 32, len(range(0, 8, every)), 2, 2) and samples.dtype == np.float32
    broken = np.isnan(evaluation.series["broken"])[:, :, ::every]
    assert broken.any() and not broken.all()
    np.testing.assert_array_equal(np.isnan(samples), np.broadcast_to(broken[..., None, None], samples.shape))
    if every == 1:
        for row in range(2):
            found = density(samples[row], hamiltonian, (4, 3))
            np.testing.assert_allclose(found.value, evaluation.density[row], rtol=1e-5)
            again = structure_factor(samples[row], hamiltonian, evaluation.wave_vectors)
            np.testing.assert_allclose(again.value, evaluation.structure_factor[row], rtol=1e-4)
            np.testing.assert_allclose(again.error, evaluation.structure_factor_error[row], rtol=1e-4)


# ------------------------------------------------------------------------------- bad input


def test_errors_in_the_users_terms():
    hamiltonian = moire((2, 0), 2)
    samples = uniform(hamiltonian, 8, 2)
    with pytest.raises(ValueError, match="walkers, records, electrons, dim"):
        walker_means(jnp.sum, samples[0])
    with pytest.raises(ValueError, match="open boundaries"):
        pair_correlation(samples, Hamiltonian(Kinetic(), {}, (2, 0), dim=2))
    with pytest.raises(ValueError, match="not a reciprocal vector"):
        crystal_order(samples, hamiltonian)  # 2 x 2 cells do not contain K
    with pytest.raises(ValueError, match="say which wave_vectors"):
        crystal_order(samples, free(SKEWED, (2, 0)))
    with pytest.raises(ValueError, match="at least one bin"):
        pair_correlation(samples, hamiltonian, 0)
    with pytest.raises(ValueError, match="positive numbers of bins"):
        pair_map(samples, hamiltonian, (2, 2, 2))
    arguments = (samples, hamiltonian, sine, NOTHING)
    with pytest.raises(ValueError, match="at least one point"):
        momentum_distribution(*arguments, key=jax.random.key(0), points=0)
    with pytest.raises(ValueError, match="2 angles"):
        momentum_distribution(*arguments, key=jax.random.key(0), twist=(0.1,))


# ------------------------------------------------------------------------------- tables and figures


EVERYTHING = (
    PairCorrelations(),
    LocalisationLength(),
    MomentumOccupations(),
    CornerStructureFactor(),
    CrystalOrders(),
)
NUMBERS = (
    "localisation_length structure_factor_K structure_factor_K_peak crystal_order crystal_order_squared binder_ratio"
).split()


@pytest.fixture(scope="module")
def table():
    """Five electrons of both spins in plane waves, at two depths of a potential that they do not know."""
    family = moire_family(MATERIAL, 3, (3, 2), [5.0, 20.0])
    cell, units = family.hamiltonian.cell, MATERIAL.units
    ansatz = PlaneWaveDeterminant(jnp.asarray(cell.reciprocal_vectors(0.4)[:5]), 3)
    evaluation = evaluate(
        ansatz,
        family,
        jnp.asarray(np.stack([uniform(family.hamiltonian, 16, 1, seed)[:, 0] for seed in range(2)])),
        sampler=Sampler(moves=3, cell=cell),
        key=jax.random.key(0),
        step_size=2.0,
        burn_in=2,
        rounds=6,
        observables=EVERYTHING,
        units=units,
    )
    with pytest.warns(UserWarning, match="effective samples"):
        dataset = results(evaluation, family, units)
    return family, evaluation, dataset


def test_the_table_holds_the_observables_in_its_units(table):
    family, evaluation, dataset = table
    hamiltonian, nm = family.hamiltonian, MATERIAL.bohr_nm
    for row in range(2):
        at, samples = dataset.isel(depth=row), evaluation.samples[row]
        pairs, order = pair_correlation(samples, hamiltonian), crystal_order(samples, hamiltonian)
        corners = structure_factor(samples, hamiltonian, zone_corners(hamiltonian.primitive))
        assert np.isclose(float(at.structure_factor_K), corners.value.mean(), rtol=1e-12)
        assert float(at.structure_factor_K_peak) in (0.0, 1.0) and float(at.structure_factor_K_peak_error) == 0
        for name in ("value", "error"):
            end = "" if name == "value" else "_error"
            for variable, found in (
                ("pair_correlation", pairs.total),
                ("pair_correlation_parallel", pairs.parallel),
                ("pair_correlation_antiparallel", pairs.antiparallel),
                ("crystal_order", order.order),
                ("crystal_order_squared", order.squared),
                ("binder_ratio", order.binder),
                ("registry_share", order.registries),
                ("polarisation_modulus", localisation_length(samples, hamiltonian).modulus),
            ):
                np.testing.assert_allclose(at[variable + end], getattr(found, name), rtol=1e-12)
            length = getattr(localisation_length(samples, hamiltonian).length, name)
            np.testing.assert_allclose(at["localisation_length" + end], nm * length)
        np.testing.assert_allclose(dataset.r, pairs.displacement * nm)
    assert dataset.r.max() < 1.5 * MATERIAL.lattice_constant_nm < 1.02 * dataset.r.max()
    assert dataset.r.attrs["units"] == dataset.localisation_length.attrs["units"] == "nm"
    np.testing.assert_allclose(dataset.registry_share.sum("registry"), 1)


def test_numbers_are_columns_of_the_table_and_arrays_are_not(table):
    found = columns(table[2])
    for name in NUMBERS:
        assert found[found.index(name) + 1] == f"{name}_error"
    assert not set(found) & {"pair_correlation", "momentum_distribution", "registry_share"}


def test_momentum_distribution_in_the_table(table):
    """An occupied wave has no noise, in each spin."""
    family, _, dataset = table
    occupied = family.hamiltonian.cell.reciprocal_vectors(0.4)[:5] / MATERIAL.bohr_nm
    distance = np.linalg.norm(dataset.k_vector.values[:, None] - occupied, axis=-1)
    up, down = (np.flatnonzero((distance[:, spin] < 1e-9).any(axis=1)) for spin in (slice(3), slice(3, 5)))
    assert len(up) == 3 and len(down) == 2 and dataset.k_vector.attrs["units"] == "1/nm"
    np.testing.assert_allclose(dataset.momentum_distribution_up[:, up], 1, atol=1e-9)
    np.testing.assert_allclose(dataset.momentum_distribution_down[:, down], 1, atol=1e-9)
    both = dataset.momentum_distribution_up + dataset.momentum_distribution_down
    np.testing.assert_allclose(dataset.momentum_distribution, both, atol=1e-12)


def test_what_cannot_be_measured_is_left_out():
    def measured(observable, hamiltonian):
        samples = uniform(hamiltonian, 8, 3)
        return observable.measure(Measurement(samples, hamiltonian, None, sine, MATERIAL.units, jax.random.key(0)))

    assert list(measured(PairCorrelations(), moire((2, 0)))) == ["pair_correlation"]
    assert len(measured(PairCorrelations(), moire((1, 1)))) == 3
    assert list(measured(MomentumOccupations(), free(SKEWED, (2, 0)))) == ["momentum_distribution"]
    # 2 x 2 cells do not hold the crystal, and a cell without a potential has none.
    for hamiltonian in (moire((2, 0), 2), free(SKEWED, (2, 0))):
        assert measured(CrystalOrders(), hamiltonian) == {}
        found = measured(CornerStructureFactor(), hamiltonian)
        assert list(found) == ["structure_factor_K"] and np.isnan(found["structure_factor_K"].estimate.value)
    assert [type(o) for o in standard_observables(moire((2, 0)), np.zeros((1, 8, 1, 2, 2)))] == [
        PairCorrelations,
        LocalisationLength,
        MomentumOccupations,
        TotalMomenta,
    ]


@pytest.mark.parametrize("figure", [pair_correlation_figure, momentum_distribution_figure])
def test_figures_show_every_row(table, figure):
    dataset = table[2]
    drawn = figure(dataset)
    labels = [text.get_text() for text in drawn.axes[0].get_legend().get_texts()]
    assert labels == ["$V_0$ = 5 meV", "$V_0$ = 20 meV"]
    assert len(drawn.axes) == (2 if figure is pair_correlation_figure else 1)
    assert all("nm" in panel.get_xlabel() for panel in drawn.axes)
    lines = [line.get_ydata() for line in drawn.axes[0].get_lines()]
    if figure is pair_correlation_figure:
        assert any(np.array_equal(y, dataset.pair_correlation_parallel[1]) for y in lines)
    else:
        # The shell of the shortest wave vectors: four of six are occupied, one by either spin.
        length = np.linalg.norm(dataset.k_vector, axis=1)
        shell = dataset.momentum_distribution[0][np.isclose(length, length[length > 0].min())]
        assert len(shell) == 6 and any(np.isclose(y, float(shell.mean())).any() for y in lines)
    assert figure(dataset.drop_vars(["pair_correlation", "momentum_distribution"])) is None
