"""log_sum_determinants against dense linear algebra, singular matrices, and its two-fold derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qernel.ansatz import LogPsi
from qernel.laplacian import ForwardLaplacian, HessianTrace
from qernel.orbitals import log_sum_determinants


def matrices(n, dets, is_complex, seed=0):
    rng = np.random.default_rng(seed)
    real = rng.normal(size=(dets, n, n))
    return jnp.asarray(real + 1j * rng.normal(size=(dets, n, n)) if is_complex else real)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize(("n", "dets"), [(1, 1), (2, 3), (6, 4), (9, 2)])
def test_value_and_gradient_against_numpy(n, dets, is_complex):
    a, w = matrices(n, dets, is_complex), jnp.asarray(np.random.default_rng(1).normal(size=dets))
    total = np.sum(np.asarray(w) * np.linalg.det(np.asarray(a)))
    log_magnitude, phase = log_sum_determinants(a, w)
    assert np.isclose(log_magnitude, np.log(abs(total)), rtol=1e-11)
    assert np.isclose(np.exp(1j * float(phase)), total / abs(total), atol=1e-11)
    gradient = jax.grad(lambda x: log_sum_determinants(a, x)[0])(w)
    assert np.allclose(gradient, np.real(np.linalg.det(np.asarray(a)) / total), rtol=1e-9)
    direction = matrices(n, dets, is_complex, seed=5)
    change = jax.jvp(lambda x: log_sum_determinants(x, w), (a,), (direction,))[1]
    h = 1e-6
    moved = [
        np.sum(np.asarray(w) * np.linalg.det(np.asarray(np.asarray(a) + s * h * np.asarray(direction))))
        for s in (1, -1)
    ]
    expected = np.log(moved[0] / moved[1] + 0j) / (2 * h)
    assert np.isclose(change[0], expected.real, rtol=1e-5, atol=1e-6)
    if is_complex:
        assert np.isclose(change[1], expected.imag, rtol=1e-5, atol=1e-6)
    else:
        assert change[1] == 0


def test_large_and_small_scales_do_not_overflow():
    a = matrices(6, 3, False) * jnp.asarray([1e80, 1e79, 1e-80]).reshape(3, 1, 1)
    value, _ = log_sum_determinants(a, jnp.ones(3))
    scaled, _ = log_sum_determinants(a * 1e-80, jnp.ones(3))
    assert np.isfinite(value) and np.isclose(value - scaled, 6 * 80 * np.log(10))


def test_a_singular_determinant_does_not_poison_the_others():
    a = matrices(4, 2, False)
    a = a.at[1, 0].set(a[1, 1])
    gradient = jax.grad(lambda x: log_sum_determinants(x, jnp.ones(2))[0])(a)
    alone = jax.grad(lambda x: log_sum_determinants(x, jnp.ones(1))[0])(a[:1])
    assert np.allclose(gradient[0], alone[0])
    assert np.all(np.isfinite(gradient[1]))


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("rule", [ForwardLaplacian(), HessianTrace()])
def test_laplacian_of_a_known_function(is_complex, rule):
    """2x2 determinants of polynomials: the Laplacian of log ψ from analytic second differences."""
    weights = jnp.asarray([0.7, -0.4])
    twist = jnp.asarray(1 + 0.5j)

    def matrix(r):
        x, y = r[:, 0], r[:, 1]
        first = jnp.stack([jnp.ones_like(x), x + y**2], axis=1)
        second = jnp.stack([y, x * y + x**3], axis=1)
        out = jnp.stack([first, second])
        return out.astype(complex) * twist if is_complex else out

    def log_psi(r):
        magnitude, phase = log_sum_determinants(matrix(r), weights)
        return LogPsi(magnitude, phase, real=not is_complex)

    def psi(flat):
        (x1, y1), (x2, y2) = flat.reshape(2, 2)
        first = (x2 + y2**2) - (x1 + y1**2)
        second = y1 * (x2 * y2 + x2**3) - y2 * (x1 * y1 + x1**3)
        return 0.7 * first - 0.4 * second

    r = jnp.asarray([[0.3, -0.8], [1.1, 0.4]])
    flat = r.reshape(-1)
    gradient = jax.grad(psi)(flat) / psi(flat)
    laplacian = jnp.trace(jax.hessian(psi)(flat)) / psi(flat) - jnp.sum(gradient**2)
    found = rule(log_psi, r)
    assert np.allclose(found.gradient.reshape(-1), gradient, rtol=1e-10)
    assert np.isclose(found.laplacian, laplacian, rtol=1e-10)


def test_weights_must_not_depend_on_positions():
    def log_psi(r):
        return LogPsi(*log_sum_determinants(jnp.stack([r, r + 1]), r[0]), real=True)

    with pytest.raises(ValueError, match="multiply a row"):
        ForwardLaplacian()(log_psi, jnp.asarray([[1.0, 2.0], [0.5, -1.0]]))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64, jnp.float64, jnp.complex128])
def test_modulus_and_phase_have_the_precision_of_the_matrices(dtype):
    matrices = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3, 3)), dtype)
    weights = jnp.ones(2, matrices.real.dtype)
    assert {x.dtype for x in log_sum_determinants(matrices, weights)} == {matrices.real.dtype}
