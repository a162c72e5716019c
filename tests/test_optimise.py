"""The sample-space step against a dense pseudo-inverse; rank deficiency; momentum; optax."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from qernel.gradient import Alike, Gram, Layout, centred_gram, finite_walkers
from qernel.optimise import Cholesky, ConjugateGradients, FirstOrder, StochasticReconfiguration, System, solve_positive


class FakeDerivatives:
    """Given scores in place of a wavefunction's."""

    def __init__(self, scores):
        self._scores = jnp.asarray(scores)
        self.trained = jnp.zeros(self._scores.shape[-1])

    def scores(self):
        return self._scores

    def gram(self, mask):
        stack = Alike(self._scores[None, ..., None, :], None, (0,), (Layout((self._scores.shape[-1], 1)),))
        valid = mask & finite_walkers([stack])
        return Gram(centred_gram([stack], valid), valid, *self.products(valid))

    def finite(self, mask):
        return mask & jnp.all(jnp.isfinite(self._scores), axis=(2, 3))

    def products(self, valid):
        del valid
        return (
            lambda trained: self._scores @ trained,
            lambda weights: jnp.einsum("hwk,hwkp->p", weights, self._scores),
        )

    def outer_products(self, stride):
        raise AssertionError("an optimiser in the space of samples has no use for them")

    def gradient(self, residuals):
        return 2 * jnp.einsum("hw,hwp->p", residuals, self._scores[:, :, 0]) / residuals.size


def random_problem(parts, seed=0, hamiltonians=2, walkers=7, parameters=30):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(hamiltonians, walkers, parts, parameters))
    residuals = rng.normal(size=(hamiltonians, walkers))
    if parts == 2:
        residuals = residuals + 1j * rng.normal(size=(hamiltonians, walkers))
    residuals = residuals - residuals.mean(axis=1, keepdims=True)
    return scores, jnp.asarray(residuals), jnp.ones((hamiltonians, walkers), bool)


@pytest.mark.parametrize("parts", [1, 2])
def test_step_equals_the_dense_natural_gradient(parts):
    """θ change = -η S⁺ F with S = Re<O†O> and F = Re<(E-Ē)* O>, centred per Hamiltonian."""
    scores, residuals, mask = random_problem(parts)
    o = scores[:, :, 0] + (1j * scores[:, :, 1] if parts == 2 else 0)
    o = (o - o.mean(axis=1, keepdims=True)).reshape(-1, o.shape[-1])
    e = np.asarray(residuals).reshape(-1)
    s = np.real(o.conj().T @ o) / len(o)
    force = np.real(o.T @ e.conj()) / len(o)
    expected = -0.1 * np.linalg.pinv(s, rcond=1e-10) @ force
    method = StochasticReconfiguration(learning_rate=0.1, damping=1e-12, momentum=0.0, trust_region=1e9, balance=False)
    derivatives = FakeDerivatives(scores)
    update = method.update(derivatives, residuals, mask, method.init(derivatives.trained))
    assert np.allclose(update.trained, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("parameters", [12, 60])
def test_conjugate_gradients_take_the_step_of_the_factorisation(parts, parameters):
    """Fewer and more parameters than rows; a walker that does not count; momentum."""
    scores, residuals, mask = random_problem(parts, walkers=9, parameters=parameters)
    mask = mask.at[1, 3].set(False)
    derivatives = FakeDerivatives(scores)
    steps = {}
    for name, solver in {"cg": ConjugateGradients(tolerance=1e-9), "exact": Cholesky()}.items():
        # The damping is a random estimate in one of them: too small to be seen.
        method = StochasticReconfiguration(damping=1e-7, trust_region=1e9, solver=solver)
        state = method.init(derivatives.trained)
        state = dataclasses.replace(state, direction=jnp.linspace(-1, 1, parameters))
        steps[name] = method.update(derivatives, residuals, mask, state)
    np.testing.assert_allclose(steps["cg"].trained, steps["exact"].trained, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(steps["cg"].distance, steps["exact"].distance, rtol=1e-5)
    # With more rows than parameters the residual cannot fall below the rounding of x, which is large.
    assert parameters < 36 or not steps["cg"].fallback


def test_the_random_damping_is_that_of_the_mean_diagonal():
    rng = np.random.default_rng(2)
    scores = jnp.asarray(rng.normal(size=(2000, 300)))
    matrix = scores @ scores.T
    right = jnp.asarray(rng.normal(size=2000))
    system = System(lambda x: matrix @ x, jnp.ones(2000), right, 1e-2)
    exact = Cholesky().solve(matrix, system)
    random = ConjugateGradients(tolerance=1e-10).solve(None, system)
    # Outside of the range of the matrix the solution is inversely proportional to the damping.
    ratio = jnp.linalg.norm(random.x) / jnp.linalg.norm(exact.x)
    assert 0.8 < ratio < 1.25 and not random.fallback
    stopped = ConjugateGradients(iterations=1, tolerance=1e-10).solve(None, system)
    assert stopped.fallback and np.all(np.isfinite(stopped.x))


@pytest.mark.parametrize("bad", [dict(iterations=0), dict(tolerance=0.0), dict(tolerance=1.0)])
def test_conjugate_gradients_that_cannot_be(bad):
    with pytest.raises(ValueError, match="at least one iteration and a tolerance between 0 and 1"):
        ConjugateGradients(**bad)


def test_rank_deficiency_gives_a_finite_step():
    scores, residuals, mask = random_problem(1)
    scores[:] = scores[:1, :1]
    derivatives = FakeDerivatives(scores)
    method = StochasticReconfiguration(damping=1e-14)
    update = method.update(derivatives, residuals, mask, method.init(derivatives.trained))
    assert np.all(np.isfinite(update.trained))


def test_indefinite_matrix_falls_back_to_eigenvalues():
    matrix = jnp.asarray(np.diag([1.0, 2.0, -1e-9]))
    solution, fallback = solve_positive(matrix, jnp.ones(3), jnp.asarray(1e-3))
    assert bool(fallback) and np.allclose(solution, [1, 0.5, 1e3])


def test_spring_keeps_the_direction_that_the_samples_do_not_see():
    scores, residuals, mask = random_problem(1, parameters=40)
    derivatives = FakeDerivatives(scores)
    method = StochasticReconfiguration(learning_rate=1.0, momentum=0.5, damping=1e-8, trust_region=1e9)
    state = method.update(derivatives, residuals, mask, method.init(derivatives.trained)).state
    other = FakeDerivatives(random_problem(1, seed=1, parameters=40)[0])
    second = method.update(other, residuals * 0, mask, state)
    flat = np.asarray(other.scores()).reshape(-1, 40)
    centred = (np.asarray(other.scores()) - np.asarray(other.scores()).mean(1, keepdims=True)).reshape(-1, 40)
    _, _, basis = np.linalg.svd(centred)
    unseen = basis[np.linalg.matrix_rank(centred) :]
    assert flat.shape[0] < 40
    assert np.allclose(unseen @ np.asarray(second.trained), -0.5 * unseen @ np.asarray(state.direction), atol=1e-8)
    assert np.allclose(centred @ np.asarray(second.trained), 0, atol=1e-6)


def test_trust_region_bounds_the_change_of_the_wavefunction():
    scores, residuals, mask = random_problem(1)
    derivatives = FakeDerivatives(scores)
    method = StochasticReconfiguration(learning_rate=1e3, trust_region=0.1, balance=False)
    update = method.update(derivatives, residuals, mask, method.init(derivatives.trained))
    centred = scores[:, :, 0] - scores[:, :, 0].mean(axis=1, keepdims=True)
    change = centred.reshape(-1, 30) @ np.asarray(update.trained)
    assert np.isclose(np.sqrt(np.mean(change**2)), 0.1, rtol=1e-6)
    assert np.isclose(update.distance, 0.1, rtol=1e-6) and update.shrink < 1


@pytest.mark.parametrize("parts", [1, 2])
def test_walkers_that_do_not_count_leave_no_trace(parts):
    """Not in the mask, or with a score that is not finite: the step is that of the other walkers alone."""
    scores, residuals, mask = random_problem(parts, walkers=9)
    mask = mask.at[0, 3].set(False)
    scores[1, 5, :, 7] = np.nan
    residuals = residuals.at[0, 3].set(0)
    method = StochasticReconfiguration(learning_rate=0.1, damping=1e-6, trust_region=1e9)

    class Some(FakeDerivatives):
        def products(self, valid):
            self._scores = jnp.where(valid[:, :, None, None], self._scores, self._scores[0, 0])
            return super().products(valid)

    update = method.update(Some(scores), residuals, mask, method.init(jnp.zeros(30)))
    keep = [[w for w in range(9) if w != 3], [w for w in range(9) if w != 5]]
    fewer = np.stack([scores[h, keep[h]] for h in range(2)])
    rest = jnp.stack([residuals[h, jnp.asarray(keep[h])] for h in range(2)])
    rest = rest - rest.mean(axis=1, keepdims=True)
    expected = method.update(FakeDerivatives(fewer), rest, jnp.ones((2, 8), bool), method.init(jnp.zeros(30)))
    assert np.allclose(update.trained, expected.trained, rtol=1e-9)
    assert np.isclose(update.distance, expected.distance)


def test_any_optax_transformation_steps():
    scores, residuals, mask = random_problem(1)
    derivatives = FakeDerivatives(scores)
    method = FirstOrder(optax.sgd(0.5))
    update = method.update(derivatives, residuals, mask, method.init(derivatives.trained))
    assert np.allclose(update.trained, -0.5 * derivatives.gradient(residuals))


@pytest.mark.parametrize("bad", [dict(damping=0.0), dict(momentum=1.0), dict(trust_region=-1.0)])
def test_bad_settings_say_so(bad):
    with pytest.raises(ValueError):
        StochasticReconfiguration(**bad)
