"""The Laplacian from random directions: right in the mean over all signs, exact with as many colours as electrons."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import random_positions, small_family, small_qernel
from test_ansatz import LAPLACIANS, perturbed
from test_phases import competing
from test_trap import of_trap, trap_family, trap_qernel
from tiny_problem import tiny_config

from qernel.ansatz import AtParameters, LogPsi, MomentumProjected, ProbedAnsatz, Unconditioned
from qernel.gradient import local_energies
from qernel.judgement import findings
from qernel.laplacian import ForwardLaplacian, HessianTrace, ProbedLaplacian, probed_derivatives
from qernel.orbitals import SpinBlocks
from qernel.presets import load
from qernel.presets._colours import colours_of
from qernel.propagation import Probes, random_probes
from qernel.run_directory import read_metrics
from qernel.runs import Run


@eqx.filter_jit
def of_every_sign(log_psi, r, colours):
    """Derivatives with each pattern of signs there is, a leading axis: their mean is the mean over the signs."""
    members = jnp.asarray(np.eye(max(colours) + 1)[list(colours)])
    patterns = np.array(list(itertools.product([1.0, -1.0], repeat=r.size))).reshape(-1, *r.shape)
    return jax.vmap(lambda signs: probed_derivatives(log_psi, r, Probes(members, signs)))(jnp.asarray(patterns))


def check(log_psi, r, *, colours=(0, 0, 0), exact=None):
    """The mean over all signs is exact, a single pattern of signs is not, and with a colour for each electron it is."""
    exact = eqx.filter_jit(ForwardLaplacian())(log_psi, r) if exact is None else exact
    found = of_every_sign(log_psi, r, colours)
    size = float(jnp.abs(exact.laplacian))
    np.testing.assert_allclose(jnp.mean(found.laplacian), exact.laplacian, atol=1e-10 * size)
    assert np.std(found.laplacian) > 1e-6 * size
    for gradient in found.gradient[:2]:
        np.testing.assert_allclose(gradient, exact.gradient, rtol=1e-9, atol=1e-9)
    for a, b in ((found.log_psi.log_magnitude[0], exact.log_psi.log_magnitude),):
        np.testing.assert_allclose(a, b, rtol=1e-10)
    assert np.isclose(np.exp(1j * float(found.log_psi.phase[0] - exact.log_psi.phase)), 1)
    assert found.log_psi.real == exact.log_psi.real
    one_each = eqx.filter_jit(ProbedLaplacian(colours=99))(log_psi, r, key=jax.random.key(3))
    np.testing.assert_allclose(one_each.laplacian, exact.laplacian, rtol=1e-10)


@pytest.mark.parametrize("name", LAPLACIANS)
@pytest.mark.parametrize(("electrons", "colours"), [((3, 0), (0, 0, 0)), ((2, 1), (1, 0, 1))])
def test_right_in_the_mean_over_all_signs(name, electrons, colours):
    family = small_family(electrons)
    ansatz = perturbed(small_qernel(family, **LAPLACIANS[name]))
    check(AtParameters(ansatz, family.select(2)), random_positions(family, 1)[2, 0], colours=colours)


@pytest.mark.parametrize("complex", [False, True])
def test_projections_phases_and_constants(complex):
    family = small_family()
    ansatz, r = perturbed(small_qernel(family, complex=complex)), random_positions(family, 1)[1, 0]
    parameters = family.select(1)
    check(AtParameters(Unconditioned(ansatz, parameters), family.select(0)), r)
    projected = MomentumProjected(ansatz, family.hamiltonian.supercell, family.hamiltonian.supercell.momenta()[1])
    check(AtParameters(projected, parameters), r)
    two, lifted = competing(complex=complex)
    two = perturbed(two)
    at = AtParameters(two, lifted.select(3))
    check(at, r)
    check(AtParameters(two.phase(1), parameters), r, exact=eqx.filter_jit(ForwardLaplacian())(at, r))
    assert isinstance(two.phase(1), ProbedAnsatz)


@pytest.mark.parametrize("complex", [False, True])
def test_any_function_of_the_positions(complex):
    """Without a method of its own: along the directions by folx, in one to three dimensions, open boundaries."""
    for dim in (1, 2, 3):
        r = jnp.asarray(np.random.default_rng(dim).normal(size=(3, dim)))

        def log_psi(r):
            pairs = jnp.sum((r[:, None] - r[None]) ** 2, axis=-1)
            value = -jnp.sum(r**2) + jnp.sum(jnp.sin(pairs)) + jnp.prod(r)
            phase = jnp.sum(jnp.cos(pairs)) if complex else jnp.zeros((), r.dtype)
            return LogPsi(value, phase, real=not complex)

        check(log_psi, r, colours=(0, 1, 1), exact=eqx.filter_jit(HessianTrace())(log_psi, r))


@pytest.mark.parametrize(("electrons", "colours"), [((3, 0), (0, 0, 0)), ((2, 1), (0, 1, 0))])
def test_open_boundaries_in_three_dimensions(electrons, colours):
    """An embedding, a pair bias and a pair factor without a cell; two parameters."""
    family = trap_family(np.array([[1.0, 1.5, 2.0], [0.7, 0.9, 1.1]]), np.array([0.1, 0.2]), electrons)
    filling = ((0, 0, 0), (1, 0, 0), (0, 1, 0))
    orbitals = [of_trap(filling[:n]) for n in electrons if n]
    reference = orbitals[0] if len(orbitals) == 1 else SpinBlocks(*orbitals)
    ansatz = perturbed(trap_qernel(family, [reference], layers=2))
    r = jnp.asarray(np.random.default_rng(5).normal(size=(3, 3)))
    check(AtParameters(ansatz, family.select(1)), r, colours=colours)


def test_any_ansatz_with_closed_rules_of_its_own():
    """A projection of an ansatz that knows derivatives but no probes is exact, whatever the directions."""

    class Closed(eqx.Module):
        ansatz: eqx.Module

        def __call__(self, r, parameters):
            return self.ansatz(r, parameters)

        def derivatives(self, r, parameters):
            return self.ansatz.derivatives(r, parameters)

    family = small_family()
    r, parameters = random_positions(family, 1)[0, 0], family.select(0)
    projected = MomentumProjected(Closed(perturbed(small_qernel(family))), family.hamiltonian.supercell)
    at = AtParameters(projected, parameters)
    exact, found = (eqx.filter_jit(method)(at, r, key=jax.random.key(0)) for method in METHODS)
    np.testing.assert_allclose(found.laplacian, exact.laplacian, rtol=1e-12)


METHODS = (ForwardLaplacian(), ProbedLaplacian(colours=1))


def test_local_energies_do_not_depend_on_chunks_and_average_to_the_exact_ones():
    """Signs belong to walkers: the same in chunks, others with another key; the mean over keys is the exact energy."""
    family, r = small_family(), random_positions(small_family(), 4)
    ansatz = perturbed(small_qernel(family))

    @eqx.filter_jit
    def energies(key, method, chunk=None):
        found = local_energies(ansatz, family.hamiltonian, r, family.parameters, method, chunk, key=key)
        return found.total, found.kinetic_from_gradient

    keys = jax.random.split(jax.random.key(0), 400)
    exact, gradient = energies(None, ForwardLaplacian())
    found, squares = jax.vmap(lambda key: energies(key, ProbedLaplacian(colours=1)))(keys)
    np.testing.assert_allclose(found[0], energies(keys[0], ProbedLaplacian(colours=1), 2)[0], rtol=1e-12)
    np.testing.assert_allclose(squares[0], gradient, rtol=1e-10)
    error = np.std(found, axis=0) / np.sqrt(len(keys))
    assert np.all(error > 0)
    assert np.max(np.abs(np.mean(found, axis=0) - exact) / error) < 4
    with pytest.raises(ValueError, match="give it a key"):
        local_energies(ansatz, family.hamiltonian, r, family.parameters, ProbedLaplacian())


def test_the_noise_stays_finite_at_a_node():
    """Towards a node the noise of plain directions grows as 1/x², with the control variates as 1/x."""
    family = small_family((6, 0))
    at, r = AtParameters(perturbed(small_qernel(family)), family.select(1)), random_positions(family, 1)[1, 0]
    keys = jax.random.split(jax.random.key(1), 200)

    @eqx.filter_jit
    def noise(log_psi, distance):
        # Two electrons of one spin on one spot are a node.
        close = r.at[1].set(r[0] + jnp.stack([jnp.zeros(()), distance]))
        return jnp.std(jax.vmap(lambda key: ProbedLaplacian(colours=1)(log_psi, close, key=key).laplacian)(keys))

    # The second one is a function of which nothing is known.
    for log_psi in (at, lambda r: at(r)):
        far, near = (float(noise(log_psi, distance)) for distance in (1e-3, 1e-4))
        assert near < 12 * far


def test_bad_input():
    with pytest.raises(ValueError, match="at least one colour"):
        ProbedLaplacian(colours=0)
    with pytest.raises(ValueError, match="between 1 and 3 colours, got 4"):
        random_probes(jax.random.key(0), 3, 2, 4, float)


PROBED = [
    f"{section}.{setting}" for section in ("training", "evaluation") for setting in ("laplacian=probed", "colours=1")
]


def test_a_run_trains_and_measures_with_probes_and_says_what_they_add(tmp_path):
    run = Run.configured(tiny_config("training.steps=2", *PROBED), tmp_path / "run")
    assert run.problem.method.laplacian == ProbedLaplacian(colours=1) and run.problem.settings.measured_colours == 1
    for _ in run.train():
        pass
    table = run.evaluate()
    assert np.all(table["probe_share"].values > 0)
    assert np.all(table["probe_difference_error"].values > 0)
    of_probes = lambda table: [finding for finding in findings(table) if finding.topic == "probes"]
    (found,) = of_probes(table)
    assert "random directions" in found.text and not found.doubtful
    (wrong,) = of_probes(
        table.assign(probe_difference=table["probe_difference"] + table["probe_difference_error"] * 100)
    )
    assert wrong.doubtful
    # A direction for every coordinate leaves rounding alone, which is nothing to doubt.
    rounded = {"probe_difference": 1e-8 * table["kinetic"], "probe_difference_error": 0 * table["kinetic"]}
    (exact,) = of_probes(table.assign(rounded))
    assert not exact.doubtful


@pytest.mark.parametrize(
    ("name", "training", "evaluation"), [("moire-6", None, None), ("moire-24", 2, 2), ("moire-54", 2, 2)]
)
def test_many_electrons_are_probed_by_default(name, training, evaluation):
    config = load(name)
    electrons = sum(config.system.electrons)
    assert colours_of(config.training, electrons) == training
    assert colours_of(config.evaluation, electrons) == evaluation


def test_a_probed_training_goes_on_as_if_it_had_not_stopped(tmp_path):
    """The directions of a step are drawn from the seed and its number, whenever it is taken."""
    whole = Run.configured(tiny_config(*PROBED, "training.steps=4"), tmp_path / "whole")
    stopped = Run.configured(tiny_config(*PROBED, "training.steps=4"), tmp_path / "stopped")
    for steps in (whole.train(), stopped.train(2)):
        assert [step.number for step in steps]
    assert [step.number for step in Run.open(stopped.path).train()] == [3, 4]
    metrics = [list(read_metrics(run.path / "metrics.csv", repeatable=True)) for run in (whole, stopped)]
    assert metrics[0] == metrics[1] and len(metrics[0]) == 8
