"""Every wavefunction: antisymmetric, periodic, smooth, finite, jit = eager; and what a misbuilt one says."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import compiled_call, plane_waves, random_positions, small_family, small_qernel

from qernel.ansatz import (
    AtParameters,
    Conditioner,
    LogPsi,
    MomentumProjected,
    SlaterDeterminant,
    Unconditioned,
    dressed_derivatives,
    qernel,
    single_branch,
)
from qernel.check import check_ansatz, laplacian_difference
from qernel.check._cusps import electron_cusps
from qernel.check._realness import realness
from qernel.gradient import local_energy
from qernel.hamiltonian import Hamiltonian, Kinetic, Potential
from qernel.laplacian import FolxLaplacian, ForwardLaplacian
from qernel.lattice import square
from qernel.layers import ConditionRouter, Frozen, SquaredReLU, TopK, trainable
from qernel.orbitals import ExpandedOrbitals, PlaneWaves, log_sum_determinants, plane_wave_orbitals
from qernel.propagation import own_jet

VARIANTS = {
    "real": dict(),
    "complex": dict(complex=True),
    "sparse experts": dict(gate=SquaredReLU()),
    "no cusp": dict(cusp_range=None),
    "one layer of multi-query attention": dict(query_heads=4, key_value_heads=1),
}


@pytest.mark.parametrize("electrons", [(3, 0), (2, 2)])
@pytest.mark.parametrize("name", VARIANTS)
def test_exchange_period_and_jit(name, electrons):
    family = small_family(electrons)
    ansatz = small_qernel(family, **VARIANTS[name])
    parameters = family.select(1)
    r = random_positions(family, 1)[0, 0]
    value = ansatz(r, parameters)
    jitted = eqx.filter_jit(ansatz)(r, parameters)
    assert np.isclose(value.log_magnitude, jitted.log_magnitude, rtol=1e-12)
    swapped = ansatz(r[jnp.array([1, 0, *range(2, len(r))])], parameters)
    assert np.isclose(swapped.log_magnitude, value.log_magnitude, rtol=1e-11)
    assert np.isclose(np.exp(1j * float(swapped.phase - value.phase)), -1, atol=1e-9)
    moved = ansatz(r.at[0].add(jnp.asarray(family.hamiltonian.cell.matrix[1])), parameters)
    assert np.isclose(moved.log_magnitude, value.log_magnitude, atol=1e-9)
    assert np.isclose(np.exp(1j * float(moved.phase - value.phase)), 1, atol=1e-9)


def test_the_value_depends_on_the_hamiltonian():
    family = small_family()
    ansatz = small_qernel(family)
    # FiLM starts as the identity: move its weights.
    ansatz = jax.tree.map(lambda x: x + 0.1 if eqx.is_inexact_array(x) else x, ansatz)
    r = random_positions(family, 1)[0, 0]
    values = [float(ansatz(r, family.select(i)).log_magnitude) for i in range(3)]
    assert len(set(np.round(values, 6))) == 3


LAPLACIANS = {
    "real": dict(layers=2),
    "complex": dict(complex=True, query_heads=4, key_value_heads=2),
    "sparse experts": dict(gate=SquaredReLU(), layers=2),
    "routed by the condition": dict(router=ConditionRouter, complex=True),
    "no film, no cusp": dict(film=False, cusp_range=None),
}


@pytest.mark.parametrize("name", LAPLACIANS)
@pytest.mark.parametrize("electrons", [(3, 0), (2, 1), (1, 0)])
def test_forward_laplacian_equals_the_hessian(name, electrons):
    family = small_family(electrons)
    ansatz = perturbed(small_qernel(family, **LAPLACIANS[name]))
    assert laplacian_difference(ansatz, family.select(2), random_positions(family, 3)[0]) < 1e-10


def perturbed(ansatz):
    """Away from the start, where FiLM is the identity and pair biases vanish."""
    trained, static = eqx.partition(ansatz, trainable(ansatz))
    trained = jax.tree.map(lambda x: x + 0.1 * jnp.cos(jnp.arange(x.size)).reshape(x.shape).astype(x.dtype), trained)
    return eqx.combine(trained, static)


def test_twisted_complex_orbitals_have_a_closed_laplacian():
    """Orbitals that are complex themselves times complex factors."""
    family = small_family()
    ansatz = small_qernel(family, complex=True)
    waves = PlaneWaves(family.hamiltonian.cell, 1.0)
    table = np.random.default_rng(1).normal(size=(2, waves.size, 3))
    orbitals = ExpandedOrbitals(waves, table[0] + 1j * table[1], (0.4, 0.9))
    ansatz = dataclasses.replace(ansatz, references=(Frozen(orbitals),))
    assert laplacian_difference(ansatz, family.select(1), random_positions(family, 3)[0]) < 1e-10


def test_closed_rules_and_folx_give_the_same_derivatives():
    family = small_family((2, 1))
    ansatz = perturbed(small_qernel(family, complex=True, layers=2))
    r = random_positions(family, 1)[0, 0]
    at = AtParameters(ansatz, family.select(1))
    closed, general = (eqx.filter_jit(method)(at, r) for method in (ForwardLaplacian(), FolxLaplacian()))
    for a, b in zip(jax.tree.leaves(closed), jax.tree.leaves(general), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    unconditioned = AtParameters(Unconditioned(ansatz, family.select(1)), family.select(0))
    again = eqx.filter_jit(ForwardLaplacian())(unconditioned, r)
    np.testing.assert_allclose(again.laplacian, closed.laplacian, rtol=1e-12)


@pytest.mark.parametrize("electrons", [(3, 0), (1, 1)])
def test_check_ansatz_accepts_a_good_one(electrons, key):
    family = small_family(electrons)
    report = check_ansatz(small_qernel(family), family.hamiltonian, family.select(1), key=key, walkers=32)
    assert report.ok, str(report)
    names = {finding.name for finding in report.findings}
    assert {"realness", "cusps", "boundary phase", "Laplacian", "smoothness"} < names


class Spoilt(eqx.Module):
    """A wavefunction with one property broken."""

    ansatz: eqx.Module
    how: str = eqx.field(static=True)

    def __call__(self, r, parameters):
        value = self.ansatz(r, parameters)
        magnitude, phase = value.log_magnitude, value.phase
        if self.how == "antisymmetry":
            magnitude = magnitude + 0.1 * jnp.cos(r[0, 0])
        elif self.how == "boundary phase":
            magnitude = magnitude + 0.01 * jnp.sum(r[:, 0])
        elif self.how == "smoothness":
            magnitude = magnitude + jnp.sum(jnp.abs(jnp.sin(r[:, 0] * 2)))
        return LogPsi(magnitude, phase, real=value.real)


@pytest.mark.parametrize("how", ["antisymmetry", "boundary phase", "smoothness"])
def test_check_ansatz_names_what_is_broken(how, key):
    family = small_family()
    spoilt = Spoilt(small_qernel(family), how)
    report = check_ansatz(spoilt, family.hamiltonian, family.select(1), key=key, walkers=64)
    failed = {finding.name for finding in report.findings if not finding.passed}
    assert how in failed, str(report)


def test_check_ansatz_misses_no_missing_cusp():
    family = small_family((1, 1))
    r = random_positions(family, 8)[0]
    finding = electron_cusps(small_qernel(family, cusp_range=None), family.hamiltonian, family.select(0), r)
    assert not finding.passed and "100.0% of the bare 1/r" in finding.message


def test_check_ansatz_names_a_potential_without_the_period_of_the_cell(key):
    potentials = {
        "lattice": Potential(lambda position, _: jnp.cos(2 * jnp.pi * position[0] / 3.0)),
        "field": Potential(lambda position, _: position[0]),
    }
    hamiltonian = Hamiltonian(Kinetic(), potentials, (1, 0), cell=square(3.0))
    wave = lambda r, parameters: LogPsi(jnp.sum(jnp.cos(2 * jnp.pi * r / 3.0)), jnp.zeros(()), real=True)
    report = check_ansatz(wave, hamiltonian, (), key=key, walkers=8, rounds=2)
    found = {finding.name: finding for finding in report.findings}["periodic potentials"]
    assert not found.passed and "'field'" in found.message and "'lattice'" not in found.message


def test_hard_routing_warns():
    with pytest.warns(UserWarning, match="delta"):
        TopK(1)


def test_reference_orbitals_are_not_trained():
    family = small_family()
    ansatz = small_qernel(family)
    marks = trainable(ansatz)
    assert not any(jax.tree.leaves(marks.references))
    assert marks.lift.weight


SIZES = (
    "width",
    "query_heads",
    "key_value_heads",
    "head_size",
    "experts",
    "expert_width",
    "determinants",
    "condition_size",
)


def build(**changes):
    family = small_family()
    settings = dict(references=(plane_waves(family, 3),), width=8, key=jax.random.key(0), determinants=2)
    settings.update(cusp_strength=family.hamiltonian.cusp)
    settings.update(changes)
    return qernel(family.parameters, (3, 0), np.eye(2), **settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(references=(plane_waves(small_family(), 2),)), "3 electrons need as many orbitals"),
        (dict(determinants=3, references=(plane_waves(small_family(), 3),) * 2), "cannot be shared evenly"),
        (dict(query_heads=4, key_value_heads=3), "must divide"),
        (dict(cusp_range=-1.0), "must be positive"),
        (dict(references=()), "at least one set of reference orbitals"),
        (dict(references=(plane_waves(small_family(), 4),)), "3 electrons need as many orbitals, the reference has 4"),
        (dict(pair=np.zeros((0, 2))), "a pair factor needs at least one wave"),
        (dict(initial_weights=()), "2 determinants need as many initial_weights"),
        (dict(initial_weights=(0.0, 0.0)), "not all of them zero"),
        (dict(layers=-1), "layers must not be negative"),
        *((dict([(name, 0)]), f"{name} must be at least 1, got 0") for name in SIZES),
    ],
)
def test_bad_sizes_say_so(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)


# ------------------------------------------------------------------------------------- realness

TWISTED = (0.7, -0.4)


@functools.cache
def twisted_electrons():
    """Two free electrons under a twist, and their exact energy, of the two lowest k = G + θ/L."""
    cell = square(3.0)
    hamiltonian = Hamiltonian(Kinetic(), {}, (2, 0), cell=cell)
    orbitals = plane_wave_orbitals(cell, 2, TWISTED)
    angles = np.array(TWISTED) + 2 * np.pi * np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
    energy = np.sort(np.sum((angles / 3) ** 2, axis=1) / 2)[:2].sum()
    r = jax.random.uniform(jax.random.key(0), (8, 2, 2), jnp.float64) @ jnp.asarray(cell.matrix)
    return hamiltonian, orbitals, energy, r


class Claim(eqx.Module):
    """A wavefunction that says it is real, with a phase of its own besides."""

    ansatz: eqx.Module
    turn: float = eqx.field(static=True, default=0.0)
    hidden: bool = eqx.field(static=True, default=False)

    def __call__(self, r, parameters):
        value = self.ansatz(r, parameters)
        phase = value.phase + self.turn
        return LogPsi(value.log_magnitude, jax.lax.stop_gradient(phase) if self.hidden else phase, real=True)


def test_a_determinant_is_complex_where_its_orbitals_are():
    """Without its imaginary part the energy was 0.548 per electron, below the exact 0.888."""
    hamiltonian, orbitals, energy, r = twisted_electrons()
    ansatz = SlaterDeterminant(orbitals, (2, 0))
    assert not ansatz(r[0], None).real
    found = compiled_call(local_energy, ansatz, hamiltonian, r[0], None).total
    assert found == pytest.approx(energy, abs=1e-12)
    assert energy / 2 == pytest.approx(0.8883878, abs=1e-7)
    assert realness(ansatz, None, r).passed


@pytest.mark.filterwarnings("ignore:open shell")
def test_a_claim_of_realness_is_checked():
    _, orbitals, _, r = twisted_electrons()
    turning, real = SlaterDeterminant(orbitals, (2, 0)), SlaterDeterminant(plane_wave_orbitals(square(3.0), 2), (2, 0))
    assert realness(real, None, r).passed
    assert realness(Claim(real, np.pi), None, r).passed
    for wrong in (Claim(turning), Claim(turning, hidden=True), Claim(real, np.pi / 2)):
        finding = realness(wrong, None, r)
        assert not finding.passed and finding.name == "realness", finding.message


def test_complex_references_need_a_complex_wavefunction():
    """At construction; and, put in afterwards by hand, when the wavefunction is first traced."""
    family = small_family()
    twisted = plane_wave_orbitals(family.hamiltonian.cell, 3, TWISTED)
    with pytest.raises(ValueError, match="complex=True"):
        build(references=(plane_waves(family, 3), twisted))
    assert build(references=(plane_waves(family, 3), twisted), complex=True).complex
    plain = build(references=(plane_waves(family, 3),))
    parameters, r = family.select(1), random_positions(family, 1)[0, 0]
    for wrong in (dataclasses.replace(plain, references=(Frozen(twisted),)), single_branch(plain, 0, twisted)):
        for method in (wrong, wrong.derivatives, Unconditioned(wrong, parameters)):
            with pytest.raises(ValueError, match="complex=True"):
                eqx.filter_eval_shape(method, r, parameters)


def test_complex_orbitals_with_a_real_dressing_have_a_closed_laplacian():
    """A real and a complex part of the product φ (1 + f), where f has the real one alone."""
    family = small_family()
    orbitals = plane_wave_orbitals(family.hamiltonian.cell, 3, TWISTED)
    weights = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3)))

    class Dressed(eqx.Module):
        def factor(self, r):
            return 0.3 * jnp.sin(r @ weights)

        def __call__(self, r, parameters):
            matrix = orbitals(r, parameters) * (1 + self.factor(r)).astype(complex)
            return LogPsi(*log_sum_determinants(matrix[None], jnp.ones(1)))

        def derivatives(self, r, parameters):
            jet = own_jet(self.factor, r).dense()
            return dressed_derivatives(jet, (orbitals,), jnp.ones(1), r, parameters)

    r = random_positions(family, 2)[0]
    found = compiled_call(Dressed().derivatives, r[0], family.select(0)).log_psi
    expected = Dressed()(r[0], family.select(0))
    assert not found.real and np.isclose(found.log_magnitude, expected.log_magnitude, atol=1e-12)
    assert np.isclose(np.exp(1j * float(found.phase - expected.phase)), 1, atol=1e-10)
    assert laplacian_difference(Dressed(), family.select(0), r) < 1e-10


# ------------------------------------------------------------------------------------- nothing to build from


@pytest.mark.parametrize("parameters", [{"depth": jnp.zeros(0)}, {"depth": jnp.zeros(())}])
def test_a_condition_needs_parameters(parameters):
    with pytest.raises(ValueError, match="one leading axis of at least one Hamiltonian"):
        Conditioner(parameters, 4, key=jax.random.key(0))


def test_a_sum_of_no_determinants_says_so():
    with pytest.raises(ValueError, match="at least one matrix"):
        log_sum_determinants(jnp.zeros((0, 2, 2)), jnp.zeros(0))
    # The annotation says so in the tests, the message elsewhere.
    with pytest.raises((ValueError, TypeError), match="weights"):
        log_sum_determinants(jnp.zeros((2, 2, 2)), jnp.zeros(1))
    jet = own_jet(lambda r: jnp.sin(r), jnp.ones((2, 2)))
    one = lambda r, parameters: r
    for references, weights in (((), 1), ((one, one), 3), ((one,), 0)):
        with pytest.raises(ValueError, match="cannot be shared among"):
            dressed_derivatives(jet, references, jnp.ones(weights), jnp.ones((2, 2)), None)
    with pytest.raises(ValueError, match="twice as many if it is complex, got 2"):
        dressed_derivatives(jet, (one,), jnp.ones(3), jnp.ones((2, 2)), None)


@pytest.mark.parametrize("number", [0, 1, 4])
@pytest.mark.parametrize("complex", [False, True])
def test_projection_has_its_momentum_and_the_right_laplacian(number, complex):
    family = small_family()
    supercell = family.hamiltonian.supercell
    assert supercell is not None
    momentum = supercell.momenta()[number]
    projected = MomentumProjected(perturbed(small_qernel(family, complex=complex)), supercell, momentum)
    parameters, r = family.select(1), random_positions(family, 2)[0]
    assert laplacian_difference(projected, parameters, r) < 1e-9
    at = AtParameters(projected, parameters)
    for translation in supercell.primitive_translations()[1:4]:
        here, there = at(r[0]), at(r[0] + jnp.asarray(translation)[None])
        assert np.isclose(here.log_magnitude, there.log_magnitude, atol=1e-9)
        turned = np.exp(1j * float(there.phase - here.phase - momentum @ translation))
        assert np.isclose(turned, 1, atol=1e-7)
    moved = projected.translated(r[None], key=jax.random.key(0))[0]
    assert not np.allclose(moved, r)
    for a, b in zip(r, moved, strict=True):
        assert np.isclose(at(a).log_magnitude, at(b).log_magnitude, atol=1e-9)
    if number == 0 and not complex:
        assert at(r[0]).real
        # A projection once more only counts the translations.
        again = MomentumProjected(projected, supercell)(r[0], parameters)
        assert np.isclose(again.log_magnitude, at(r[0]).log_magnitude + np.log(9), atol=1e-9)


def test_projections_that_cannot_be():
    family = small_family()
    supercell = family.hamiltonian.supercell
    assert supercell is not None
    with pytest.raises(ValueError, match="is no momentum"):
        MomentumProjected(small_qernel(family), supercell, np.array([0.01, 0.0]))
    with pytest.raises(ValueError, match="no method `derivatives`"):
        MomentumProjected(Spoilt(small_qernel(family), "cusp"), supercell)


# ------------------------------------------------------------------------------- the conditioning


@pytest.mark.parametrize("mixed", [False, True])
def test_integer_parameters_are_conditioned_on_like_floats(mixed, key):
    def family(dtype):
        first = {"depth": jnp.asarray([0, 1, 2], dtype)}
        return {**first, "scale": jnp.asarray([1.0, 2.0, 5.0], jnp.float32)} if mixed else first

    whole, real = (family(dtype) for dtype in (jnp.int32, jnp.float32))
    of_whole, of_real = (Conditioner(parameters, 8, key=key) for parameters in (whole, real))
    found = jax.vmap(of_whole)(whole)
    assert np.allclose(found, jax.vmap(of_real)(real)) and np.all(np.isfinite(found))
    assert np.allclose(found[:, 8], [-1.0, 0.0, 1.0])


def test_scales_are_conditioned_on_by_their_logarithms(key):
    """Positive and over a factor of two: ±1 at the ends, 0 at the geometric mean; in any unit, and finite at zero."""
    values = jnp.asarray([0.5, 1.0, 2.0])
    for unit in (1.0, 27.2):
        conditioner = Conditioner({"omega": unit * values, "shift": 10 + values, "kappa": values - 0.5}, 8, key=key)
        standard = lambda omega, of=conditioner, unit=unit: np.asarray(
            of({"omega": unit * jnp.asarray(omega), "shift": jnp.asarray(11.25), "kappa": jnp.asarray(0.75)})[8:]
        )
        # In the order of the names: kappa, omega, shift; the others, from zero and over a fifth, as they are.
        assert conditioner.logarithmic == (False, True, False)
        for omega, expected in ((0.5, -1.0), (1.0, 0.0), (2.0, 1.0), (4.0, 2.0)):
            np.testing.assert_allclose(standard(omega), [0.0, expected, 0.0], atol=1e-6)
        # Below the range the tangent, of slope 1 / (0.5 log 2) at the lowest value.
        for omega in (0.25, 0.0, -1.0):
            np.testing.assert_allclose(standard(omega)[1], -1 + (omega / 0.5 - 1) / np.log(2), rtol=1e-6)


def test_complex_parameters_are_refused(key):
    with pytest.raises(ValueError, match="must be real: give real and imaginary parts"):
        Conditioner({"depth": jnp.asarray([1j, 2.0])}, 8, key=key)
