"""Weights of total momenta, against states whose momenta are known exactly."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from synthetic_evaluations import MATERIAL, moire_phases, moire_table
from tiny_problem import Small, small_problem

import qernel.evaluation._standard_observables as standard
from qernel.ansatz import LogPsi, MomentumProjected
from qernel.evaluation import TotalMomenta, read_netcdf, standard_observables, write_netcdf
from qernel.evaluation._standard_observables import _affordable, _some
from qernel.hamiltonian import AbstractLatticePotential, Hamiltonian, Kinetic, Potential
from qernel.judgement import verdict
from qernel.lattice import Lattice, MomentumGroup, supercell, triangular
from qernel.observables import (
    Estimate,
    Measurement,
    TotalMomentum,
    keeps_potentials,
    opposite_momenta,
    total_momentum,
    zone_corners,
)
from qernel.report._record import read_record
from qernel.report._tables import momentum_table
from qernel.studies.transition import find_transition
from qernel.systems._zone_points import label_momenta
from qernel.systems.moire import moire_family, moire_system

NOTHING = {"nothing": jnp.zeros(1)}
MOIRE = triangular(MATERIAL.lattice_constant)


class Chain(AbstractLatticePotential):
    """A potential of period 1 in one dimension."""

    primitive: Lattice

    @property
    def boundary(self):
        return self.primitive

    def __call__(self, r, parameters):
        return jnp.sum(jnp.cos(2 * jnp.pi * r))


def chain(cells, electrons, **more):
    potentials = {"chain": Chain(Lattice(((1.0,),))), **more}
    return Hamiltonian(Kinetic(), potentials, (electrons, 0), cell=Lattice(((float(cells),),)))


def moire(size, electrons=(2, 0)):
    return moire_family(MATERIAL, size, electrons, [5.0]).hamiltonian


def uniform(hamiltonian, walkers=16, records=3, seed=0):
    shape = (walkers, records, hamiltonian.n_electrons, hamiltonian.dim)
    return np.random.default_rng(seed).random(shape) @ hamiltonian.cell.matrix


class Waves(eqx.Module):
    """Σ c exp(iΣ_j k_j·r_j), or its real part: any state, nodes included."""

    vectors: jax.Array
    amplitudes: jax.Array
    real: bool = eqx.field(static=True)

    def __call__(self, r, parameters):
        turns = jnp.sum(self.vectors * r[None], axis=(1, 2))
        value = jnp.sum(self.amplitudes * jax.lax.complex(jnp.cos(turns), jnp.sin(turns)))
        value = jax.lax.complex(value.real, jnp.zeros_like(value.real)) if self.real else value
        return LogPsi(jnp.log(jnp.abs(value)), jnp.angle(value), real=self.real)

    def derivatives(self, r, parameters):
        raise NotImplementedError


class Determinant(eqx.Module):
    """Of plane waves exp(ik·r), or its real part."""

    vectors: jax.Array
    real: bool = eqx.field(static=True, default=False)

    def __call__(self, r, parameters):
        turns = r @ self.vectors.T.astype(r.dtype)
        sign, log = jnp.linalg.slogdet(jax.lax.complex(jnp.cos(turns), jnp.sin(turns)))
        if self.real:
            return LogPsi(log + jnp.log(jnp.abs(sign.real)), jnp.where(sign.real < 0, jnp.pi, 0.0), real=True)
        return LogPsi(log, jnp.angle(sign))


@pytest.mark.parametrize("real", [False, True])
def test_the_mean_over_the_density_is_the_norm_of_each_projection(real):
    """Two electrons on a grid that translations carry into itself: both sides are sums, equal to rounding."""
    cells, fine, rng = 4, 3, np.random.default_rng(0)
    hamiltonian = chain(cells, 2)
    numbers = np.array([(a, b) for a in range(-2, 3) for b in range(-2, 3)])
    amplitudes = rng.standard_normal(len(numbers)) + 1j * rng.standard_normal(len(numbers))
    vectors = jnp.asarray(2 * np.pi / cells * numbers)[..., None]
    ansatz = Waves(vectors, jnp.asarray(amplitudes), real)
    x = np.arange(cells * fine) / fine
    grid = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1)
    value = jax.vmap(lambda r: ansatz(r, NOTHING))(jnp.asarray(grid.reshape(-1, 2, 1)))
    psi = (np.exp(value.log_magnitude) * np.exp(1j * np.asarray(value.phase))).reshape(grid.shape[:2])
    density = np.abs(psi) ** 2 / np.sum(np.abs(psi) ** 2)
    found = [total_momentum(r.reshape(1, 1, 2, 1), hamiltonian, ansatz, NOTHING) for r in grid.reshape(-1, 2, 1)]
    assert all(np.isclose(one.weights.value.sum(), 1) and np.all(one.weights.value >= 0) for one in found)
    mean = sum(p * one.weights.value for p, one in zip(density.ravel(), found, strict=True))
    momenta = found[0].momenta[:, 0]
    shifted = [np.roll(psi, (-fine * t, -fine * t), axis=(0, 1)) for t in range(cells)]
    for k, weight in zip(momenta, mean, strict=True):
        part = sum(np.exp(-2j * np.pi * k * t / cells) * moved for t, moved in enumerate(shifted)) / cells
        np.testing.assert_allclose(weight, np.sum(np.abs(part) ** 2) / np.sum(np.abs(psi) ** 2), atol=1e-12)
    assert sorted(momenta) == [0, 1, 2, 3] and 0.02 < mean.min() and mean.max() < 0.9
    if real:
        np.testing.assert_allclose(mean, mean[opposite_momenta(found[0].momenta, np.array([[cells]]))], atol=1e-12)


@pytest.mark.parametrize("size", [3, (2, 3), ((1, 1), (-1, 2)), ((2, 1), (-1, 3))])
def test_a_determinant_of_plane_waves_has_one_momentum_and_its_real_part_two(size):
    hamiltonian = moire(size, (3, 0))
    cell, cells = hamiltonian.cell, hamiltonian.supercell
    numbers = np.array([(0, 0), (1, 0), (0, 1)])
    vectors = jnp.asarray(numbers @ cell.reciprocal)
    samples = uniform(hamiltonian)
    found = total_momentum(samples, hamiltonian, Determinant(vectors), NOTHING)
    index = np.array(cells.index)
    total = MomentumGroup(index.T).canonical(numbers.sum(axis=0))
    expected = (found.momenta == total).all(axis=1).astype(float)
    assert expected.sum() == 1 and len(np.unique(found.momenta, axis=0)) == cells.cells
    np.testing.assert_allclose(found.weights.value, expected, atol=1e-12)
    assert found.weights.error.max() < 1e-12
    # Of each sample: a cosine along the translations has two frequencies.
    opposite = opposite_momenta(found.momenta, index)
    both = total_momentum(samples, hamiltonian, Determinant(vectors, real=True), NOTHING).weights
    np.testing.assert_allclose(both.value, (expected + expected[opposite]) / 2, atol=1e-12)


def test_a_mixture_has_the_weights_of_its_parts_within_their_errors():
    """0.36 and 0.64 in two waves each, of one electron, whose shares change along the cell; sampled by rejection."""
    hamiltonian, rng = chain(3, 1), np.random.default_rng(1)
    numbers, amplitudes = np.array([0, 3, 1, 4]), np.array([0.6, 0.6, 0.8, -0.8]) / np.sqrt(2)
    ansatz = Waves(jnp.asarray(2 * np.pi / 3 * numbers)[:, None, None], jnp.asarray(amplitudes + 0j), False)
    x = 3 * rng.random(150_000)
    density = np.abs(np.exp(2j * np.pi / 3 * x[:, None] * numbers) @ amplitudes) ** 2
    kept = x[4 * rng.random(len(x)) < density][: 64 * 400].reshape(64, 400, 1, 1)
    found = total_momentum(kept, hamiltonian, ansatz, NOTHING)
    exact = np.array([{0: 0.36, 1: 0.64, 2: 0.0}[k] for k in found.momenta[:, 0]])
    here = exact > 0
    assert np.all(np.abs(found.weights.value - exact)[here] < 4 * found.weights.error[here])
    assert np.all((1e-3 < found.weights.error[here]) & (found.weights.error[here] < 5e-3))
    assert found.momenta[0] == [0] and found.weights.value[~here] < 1e-12


class Network(eqx.Module):
    """A small random network, real, which breaks the symmetry."""

    small: Small

    def __call__(self, r, parameters):
        return self.small(r, parameters)

    def derivatives(self, r, parameters):
        raise NotImplementedError


def test_a_network_has_weights_that_sum_to_one_and_a_projected_one_a_single_momentum():
    family, _, state = small_problem()
    hamiltonian, parameters = family.hamiltonian, family.select(0)
    ansatz, samples = Network(state.ansatz), uniform(hamiltonian)
    found = total_momentum(samples, hamiltonian, ansatz, parameters)
    np.testing.assert_allclose(found.weights.value.sum(), 1, atol=1e-12)
    assert found.weights.value.max() < 0.95
    opposite = opposite_momenta(found.momenta, np.array(hamiltonian.supercell.index))
    np.testing.assert_allclose(found.weights.value, found.weights.value[opposite], atol=1e-12)
    projected = MomentumProjected(ansatz, hamiltonian.supercell, hamiltonian.supercell.momenta()[2])
    weights = total_momentum(samples[:8, :1], hamiltonian, projected, parameters).weights
    np.testing.assert_allclose(weights.value, np.arange(4) == 2, atol=1e-9)


def test_a_crystal_in_one_registry_has_thirds():
    """Electrons on one sublattice of three: Γ, K and K' alike."""
    cells = supercell(MOIRE, 3)
    hamiltonian = moire(3, (3, 0))
    sites = cells.primitive_translations()
    turns = sites @ zone_corners(MOIRE)[0] / (2 * np.pi)
    sites = sites[np.abs(turns - np.round(turns)) < 1e-6]
    waves = jnp.asarray(cells.lattice.reciprocal_vectors(1.2 * float(np.linalg.norm(MOIRE.reciprocal[0]))))
    places = jnp.asarray(sites)
    assert len(sites) == 3

    class Crystal(eqx.Module):
        def __call__(self, r, parameters):
            # Periodic bumps on the sites.
            turns = (r[:, None] - places[None]) @ waves.T
            matrix = 1 + 2 * jnp.sum(jnp.cos(turns) * jnp.exp(-0.6 * jnp.sum(waves**2, axis=1))[None, None], axis=-1)
            sign, log = jnp.linalg.slogdet(matrix)
            return LogPsi(log, jnp.where(sign < 0, jnp.pi, 0.0), real=True)

    rng = np.random.default_rng(2)
    samples = sites + 1.2 * rng.standard_normal((16, 40, 3, 2))
    found = total_momentum(samples, hamiltonian, Crystal(), NOTHING)
    order = np.argsort(found.weights.value)[::-1]
    names = {tuple(n) for n in found.momenta[order[:3]].tolist()}
    corners = np.round(zone_corners(MOIRE)[:2] @ cells.lattice.matrix.T / (2 * np.pi)).astype(int)
    assert names == {(0, 0), *map(tuple, MomentumGroup(3 * np.eye(2, dtype=int)).canonical(corners).tolist())}
    np.testing.assert_allclose(found.weights.value[order[:3]], 1 / 3, atol=0.02)
    assert found.weights.value[order[3:]].sum() < 1e-9


def test_momenta_are_measured_where_they_are_conserved():
    hamiltonian = chain(3, 2)
    samples, ansatz = uniform(hamiltonian), Waves(jnp.zeros((1, 2, 1)), jnp.ones(1, complex), True)
    impurity = Potential(lambda r, parameters: parameters["depth"] * jnp.cos(2 * jnp.pi * r[0] / 3))
    broken = chain(3, 2, impurity=impurity)

    def measured(hamiltonian, depth):
        parameters = {"depth": jnp.asarray(depth)}
        measurement = Measurement(samples, hamiltonian, parameters, ansatz, MATERIAL.units, jax.random.key(0))
        return TotalMomenta().measure(measurement)["total_momentum"]

    assert keeps_potentials(hamiltonian, NOTHING, samples)
    for where, depth, conserved in ((hamiltonian, 0.0, True), (broken, 0.0, True), (broken, 0.1, False)):
        found = measured(where, depth)
        assert np.isfinite(found.estimate.value).all() == conserved and found.estimate.value.shape == (3,)
        assert found.dimensions == ("momentum",) and found.grids["momentum"].values.shape == (3, 1)
    moire_cell = moire(3)
    parameters = moire_family(MATERIAL, 3, (2, 0), [5.0]).select(0)
    assert keeps_potentials(moire_cell, parameters, uniform(moire_cell))
    free = Hamiltonian(Kinetic(), {}, (2, 0), cell=Lattice(((3.0,),)))
    kinds = lambda h: [type(o) for o in standard_observables(h, np.zeros((1, 8, 1, 2, h.dim)))]
    assert TotalMomenta in kinds(moire_cell) and TotalMomenta not in kinds(free) and TotalMomenta not in kinds(moire(1))
    for function in (
        lambda: total_momentum(samples, free, ansatz, NOTHING),
        lambda: keeps_potentials(free, {}, samples),
    ):
        with pytest.raises(ValueError, match="lattice of its own"):
            function()


@pytest.mark.parametrize(
    ("size", "shape", "projected", "kept"),
    [
        # A ninth of the samples, of all walkers; for 225 translations 512 in all; of many walkers some, once.
        (3, (128, 200), False, (128, 22)),
        (15, (128, 200), False, (128, 4)),
        (15, (4096, 20), False, (512, 1)),
        (3, (32, 5), False, (32, 5)),
        (15, (128, 200), True, (8, 1)),
    ],
)
def test_the_cost_is_bounded(monkeypatch, size, shape, projected, kept):
    hamiltonian, seen = moire(size), []
    waves = Waves(jnp.zeros((1, 2, 2)), jnp.ones(1, complex), True)
    ansatz = MomentumProjected(waves, hamiltonian.supercell) if projected else waves

    def remember(samples, *arguments):
        seen.append(samples.shape[:2])
        return TotalMomentum(np.zeros((1, 2), int), Estimate(np.ones(1), np.zeros(1)))

    monkeypatch.setattr(standard, "total_momentum", remember)
    monkeypatch.setattr(standard, "keeps_potentials", lambda *arguments: True)
    samples = np.zeros((*shape, 2, 2))
    TotalMomenta().measure(Measurement(samples, hamiltonian, {}, ansatz, MATERIAL.units, jax.random.key(0)))
    assert seen == [kept]


# ------------------------------------------------------------------------------- tables and words


def with_momenta(dataset, shares, real=1, error=0.004):
    """A table with the weights of total momenta of each row, or of each phase, by the numbers of the momenta."""
    system = moire_system(MATERIAL, 3, (6, 0), [0.0, 10.0])
    hamiltonian = system.family.hamiltonian
    vectors = hamiltonian.supercell.momenta() @ hamiltonian.cell.matrix.T / (2 * np.pi)
    momenta = MomentumGroup(3 * np.eye(2, dtype=int)).canonical(np.round(vectors).astype(int))
    weights = np.array([[row.get(tuple(n), 0.0) for n in momenta.tolist()] for row in shares])
    if "phase" in dataset.dims:
        over = ("phase", "depth", "momentum")
        weights = np.repeat(weights[:, None], dataset.sizes["depth"], axis=1)
    else:
        over = ("depth", "momentum")
    dataset["total_momentum"] = over, weights, {"units": "1"}
    dataset["total_momentum_error"] = over, np.where(weights > 0, error, 0.0)
    dataset["momentum_vector"] = ("momentum", "component"), momenta
    dataset.attrs["real"] = real
    label_momenta(dataset, hamiltonian, system.zone_points)
    return dataset


DEPTHS = [0.0, 10.0, 15.0, 16.0, 17.0, 20.0, 30.0]
GAMMA, PAIR, CORNERS = {(0, 0): 1.0}, {(0, 1): 0.49, (0, 2): 0.49, (0, 0): 0.02}, {(0, 0): 0.34}
CORNERS |= {(1, 2): 0.33, (2, 1): 0.33}


def said(dataset):
    return [text for text in verdict(dataset)[:-1] if "otal moment" in text]


def test_the_verdict_names_the_momentum_of_each_phase_and_tells_crossings_apart():
    different = said(with_momenta(moire_phases(DEPTHS), [PAIR, GAMMA]))
    assert different[0] == "Total momentum of the liquid: ±(0,1) (weight 0.9800(80))."
    assert different[1] == "Total momentum of the crystal: (0,0) = Γ (weight 1.0000(40))."
    assert "They are different (weight in common: 0.0200(40)): the two levels cross" in different[2]
    assert different[2].startswith("At V₀ = 16 meV, by the crossing")
    same = said(with_momenta(moire_phases(DEPTHS), [GAMMA, GAMMA]))
    assert "They are the same (weight in common: 1.0000(40))" in same[2] and "may repel" in same[2]
    # A crystal in one registry is no state of one momentum; a third of it is the liquid's.
    broken = said(with_momenta(moire_phases(DEPTHS), [GAMMA, CORNERS]))
    assert "crystal: ±(1,2) = ±K (weight 0.6600(80))" in broken[1]
    assert "crystal ±(1,2) = ±K 0.6600(80), (0,0) = Γ 0.3400(40)." in broken[2]
    assert "weight in common is 0.3400(40): only these parts" in broken[2]
    # The transition says the same of its branches; and nothing without momenta.
    found = find_transition(with_momenta(moire_phases(np.linspace(10, 22, 13)), [PAIR, GAMMA]))
    assert any("They are different" in text for text in found.sentences)
    assert said(moire_phases(DEPTHS)) == []


def test_the_verdict_follows_the_momentum_along_one_wavefunction():
    rows = [GAMMA, GAMMA, {(0, 0): 0.9, (1, 0): 0.05, (2, 0): 0.05}, CORNERS | {(0, 0): 0.55}, PAIR, PAIR, PAIR]
    (text,) = said(with_momenta(moire_table(DEPTHS), rows, real=0))
    assert text == (
        "Total momentum: (0,0) = Γ for V₀ = 0 to 16 meV (weight at least 0.5500(40)); none alone for V₀ = 17 to 30 meV "
        "((0,2) 0.4900(40), (0,1) 0.4900(40) where they are most spread)."
    )
    rows[0] = {(0, 0): np.nan}
    assert "V₀ = 10 to 16 meV" in said(with_momenta(moire_table(DEPTHS), rows, real=0))[0]
    assert said(with_momenta(moire_table(DEPTHS), [{n: np.nan for n in np.ndindex(3, 3)}] * 7)) == []


def test_the_momenta_are_kept_with_labels(tmp_path):
    dataset = with_momenta(moire_phases(DEPTHS), [PAIR, GAMMA])
    again = read_netcdf(write_netcdf(dataset, tmp_path / "results.nc"))
    assert said(again) == said(dataset)
    names = dict(
        zip(map(tuple, again.momentum_vector.values.tolist()), again.total_momentum.attrs["names"], strict=True)
    )
    assert names[0, 0] == "Γ"
    assert {names[1, 2], names[2, 1]} == {"K", "K'"} and names[0, 1] == ""
    even = moire_system(MATERIAL, 2, (2, 0), [0.0, 10.0])
    halves = xarray.Dataset({"total_momentum": ("momentum", np.ones(3))})
    halves["momentum_vector"] = ("momentum", "component"), np.array([(0, 1), (1, 0), (1, 1)])
    label_momenta(halves, even.family.hamiltonian, even.zone_points)
    assert halves.total_momentum.attrs["names"] == ["M", "M", "M"]
    with pytest.raises(ValueError, match="zone point 'X' needs vectors"):
        dataclasses.replace(even, zone_points={"X": np.zeros((1, 3))})


def test_the_report_shows_them(tmp_path):
    dataset = with_momenta(moire_phases(DEPTHS), [PAIR, GAMMA])
    write_netcdf(dataset, tmp_path / "results.nc")
    table = momentum_table(read_record(tmp_path))
    assert table is not None and table.heads[-2:] == ("phase", "total momenta and their weights")
    assert [cell.text for cell in table.rows[0]] == ["0", "liquid", "±(0,1) 0.9800(80)"]
    write_netcdf(moire_table(DEPTHS), tmp_path / "results.nc")
    assert momentum_table(read_record(tmp_path)) is None


@pytest.mark.parametrize("electrons", [6, 24, 54, 150])
def test_what_evaluates_the_wavefunction_anew_takes_no_longer_in_large_systems(electrons):
    """Evaluations times what one costs, the square of the electrons; of few electrons all samples are taken."""
    samples = np.zeros((12, 40, electrons, 2))
    taken = _some(samples, _affordable(samples, electrons + 1))
    assert taken.shape[0] == 12 and taken.shape[2:] == samples.shape[2:]
    count = taken.shape[0] * taken.shape[1]
    if electrons <= 24:
        assert count == 480
    else:
        assert 24 <= count < 480
        assert count == 24 or count * (electrons + 1) * electrons**2 <= 50_000 * 24**2
