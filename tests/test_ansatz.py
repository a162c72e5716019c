"""Every wavefunction: antisymmetric, periodic, smooth, finite, jit = eager; and what a misbuilt one says."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import plane_waves, random_positions, small_family, small_qernel

from qernel.ansatz import LogPsi, qernel
from qernel.check import check_ansatz, laplacian_difference
from qernel.layers import SquaredReLU, TopK, trainable

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


@pytest.mark.parametrize("name", ["real", "complex", "sparse experts"])
@pytest.mark.parametrize("electrons", [(3, 0), (2, 1)])
def test_forward_laplacian_equals_the_hessian(name, electrons):
    family = small_family(electrons)
    ansatz = small_qernel(family, **VARIANTS[name])
    assert laplacian_difference(ansatz, family.select(2), random_positions(family, 3)[0]) < 1e-10


@pytest.mark.parametrize("electrons", [(3, 0), (1, 1)])
def test_check_ansatz_accepts_a_good_one(electrons, key):
    family = small_family(electrons)
    report = check_ansatz(small_qernel(family), family.hamiltonian, family.select(1), key=key, walkers=32)
    assert report.ok, str(report)


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


def test_check_ansatz_misses_no_missing_cusp(key):
    family = small_family((1, 1))
    report = check_ansatz(
        small_qernel(family, cusp_range=None), family.hamiltonian, family.select(0), key=key, walkers=32
    )
    assert not report.ok and "cusps" in {f.name for f in report.findings if not f.passed}


def test_hard_routing_warns():
    with pytest.warns(UserWarning, match="delta"):
        TopK(1)


def test_reference_orbitals_are_not_trained():
    family = small_family()
    ansatz = small_qernel(family)
    marks = trainable(ansatz)
    assert not any(jax.tree.leaves(marks.references))
    assert marks.lift.weight


def build(**changes):
    family = small_family()
    settings = dict(references=(plane_waves(family, 3),), width=8, key=jax.random.key(0), determinants=2)
    settings.update(changes)
    return qernel(family.parameters, (3, 0), np.eye(2), **settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(references=(plane_waves(small_family(), 2),)), "3 electrons need as many orbitals"),
        (dict(determinants=3, references=(plane_waves(small_family(), 3),) * 2), "cannot be shared evenly"),
        (dict(query_heads=4, key_value_heads=3), "must divide"),
        (dict(cusp_range=-1.0), "must be positive"),
    ],
)
def test_bad_sizes_say_so(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)
