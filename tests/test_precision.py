"""Three policies: what they change, and how far they are from float64."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import random_positions, small_family, small_qernel

from qernel.ansatz import log_density
from qernel.gradient import local_energies
from qernel.layers import Linear
from qernel.precision import precision, product_precision
from qernel.presets import ConfigurationError, parse
from qernel.sampling import Sampler, random_walk

FAMILY = small_family((6, 0))


def cast(tree, dtype):
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, tree)


def difference(policy, r, complex=False):
    """Largest difference of local energies from float64, of one and the same float32 parameters.

    Relative to the sum of the terms' magnitudes: the energy of a random configuration may be anything, also zero.
    """
    of = lambda policy: small_qernel(FAMILY, dtype=jnp.float32, precision=policy, complex=complex)
    r = cast(r, jnp.float32)
    found = local_energies(of(policy), FAMILY.hamiltonian, r, FAMILY.parameters).total
    assert found.dtype == (jnp.complex64 if complex else jnp.float32)
    exact = local_energies(cast(of("mixed"), float), FAMILY.hamiltonian, cast(r, float), FAMILY.parameters)
    scale = sum(np.abs(np.asarray(term)) for term in (exact.kinetic, *exact.potentials.values()))
    return float(np.max(np.abs(np.asarray(found) - np.asarray(exact.total)) / scale))


def walkers(complex):
    """Drawn from |ψ|², which keeps away from nodes."""
    ansatz = small_qernel(FAMILY, complex=complex)
    sampler = Sampler(random_walk, moves=100, cell=FAMILY.hamiltonian.cell)
    r, widths = random_positions(FAMILY, 64), jnp.full(FAMILY.size, 2.0)
    for number in range(5):
        found = eqx.filter_jit(sampler)(log_density(ansatz), FAMILY.parameters, r, widths, jax.random.key(number))
        r, widths = found.positions, found.step_size
    return r


@pytest.mark.parametrize("complex", [False, True])
def test_mixed_energies_are_those_of_double(complex):
    assert difference("mixed", walkers(complex), complex) < 1e-5


def test_determinants_in_float64_keep_digits_near_a_node():
    # Two electrons of one spin almost on one spot: rows of the matrix that differ in their last digits.
    r = random_positions(FAMILY, 64)
    r = r.at[:, :, 1].set(r[:, :, 0] + 1e-2)
    assert difference("mixed", r) < 0.7 * difference("fast", r)


def test_products_of_three_where_the_backend_has_them(monkeypatch):
    assert precision("fast").products == "tf32x3" and precision("mixed").products == "highest"
    assert product_precision("tf32x3") == "highest" and product_precision("high") == "high"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert product_precision("tf32x3") == jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    assert product_precision("highest") == "highest"
    layer = Linear(4, 4, key=jax.random.key(0), precision="tf32x3")
    assert "TF32_TF32_F32_X3" in str(jax.make_jaxpr(layer)(jnp.ones((2, 4), jnp.float32)))


def test_policies_of_a_whole_wavefunction():
    ansatz = small_qernel(FAMILY, dtype=jnp.float32, precision="fast")
    assert ansatz.lift.precision == ansatz.blocks[0].attention.precision == ansatz.dressing.precision == "tf32x3"
    with pytest.raises(ValueError, match="double precision is that of float64 parameters, got float32"):
        small_qernel(FAMILY, dtype=jnp.float32, precision="double")
    with pytest.raises(ValueError, match="precision must be one of fast, mixed, double, got 'half'"):
        small_qernel(FAMILY, precision="half")


def test_the_precision_of_what_a_run_stores_tells_its_checkpoints_apart():
    """Products of another precision go on with the same parameters."""
    runs = [parse(f'[training]\nprecision = "{name}"\n') for name in ("fast", "mixed", "double")]
    assert [run.training.precision for run in runs] == ["fast", "mixed", "double"]
    fast, mixed, double = (run.identity() for run in runs)
    assert fast == mixed != double
    with pytest.raises(ConfigurationError, match="training.precision must be one of fast, mixed, double, got 'single'"):
        parse('[training]\nprecision = "single"\n')
