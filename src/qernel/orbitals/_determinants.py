"""Logarithm of a weighted sum of determinants, with derivatives that survive a singular matrix."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact

from qernel.propagation import Probes


@jax.custom_jvp
def _factorise(matrices: Inexact[Array, "... n n"]):
    """Inverse, sign and log-modulus of the determinant from ONE LU factorisation, of [A, 1] = P⁻¹ L [U, L⁻¹P].

    A permutation made of pivots is a loop of small steps; in the factorisation it comes for nothing. And one
    batched factorisation followed by a solve that depends on it: two independent batched LAPACK calls in a
    program can deadlock XLA's CPU thread pool.
    """
    n = matrices.shape[-1]
    beside = jnp.concatenate([matrices, jnp.broadcast_to(jnp.eye(n, dtype=matrices.dtype), matrices.shape)], axis=-1)
    lu, pivots, _ = jax.lax.linalg.lu(beside)
    upper, right = jnp.split(lu, 2, axis=-1)
    diagonal = jnp.diagonal(upper, axis1=-2, axis2=-1)
    modulus = jnp.abs(diagonal)
    order = jnp.broadcast_to(jnp.arange(n, dtype=pivots.dtype), pivots.shape)
    swaps = jnp.sum(pivots != order, axis=-1) % 2
    phases = jnp.where(modulus > 0, diagonal / jnp.where(modulus > 0, modulus, 1).astype(lu.dtype), 0)
    sign = jnp.prod(phases, axis=-1) * (1 - 2 * swaps).astype(lu.dtype)
    log_modulus = jnp.sum(jnp.log(modulus), axis=-1)
    inverse = jax.lax.linalg.triangular_solve(upper, right, left_side=True, lower=False)
    regular = (sign != 0)[..., None, None] & jnp.isfinite(inverse)
    return jnp.where(regular, inverse, 0), sign, log_modulus


@_factorise.defjvp
def _factorise_jvp(primals, tangents):
    inverse, sign, log_modulus = _factorise(*primals)
    product = jnp.matmul(inverse, tangents[0], precision="highest")
    trace = jnp.trace(product, axis1=-2, axis2=-1)
    if jnp.iscomplexobj(sign):
        sign_tangent = sign * jax.lax.complex(jnp.zeros_like(trace.imag), trace.imag)
        log_tangent = trace.real
    else:
        sign_tangent, log_tangent = jnp.zeros_like(sign), trace
    inverse_tangent = -jnp.matmul(product, inverse, precision="highest")
    return (inverse, sign, log_modulus), (inverse_tangent, sign_tangent, log_tangent)


def _combine(sign, log_modulus, weights):
    """Log-modulus and phase of Σ_d w_d det_d, the shares p_d = w_d det_d / Σ, and ∂ log Σ / ∂w_d."""
    shift = jnp.max(log_modulus, axis=-1, keepdims=True)
    shift = jax.lax.stop_gradient(jnp.where(jnp.isfinite(shift), shift, 0))
    relative = sign * jnp.exp(log_modulus - shift).astype(sign.dtype)
    terms = weights.astype(sign.dtype) * relative
    total = jnp.sum(terms, axis=-1, keepdims=True)
    safe = jnp.where(total == 0, 1, total)
    return (
        jnp.log(jnp.abs(total[..., 0])) + shift[..., 0],
        # The angle of a real number takes the widest dtype.
        jnp.angle(total[..., 0]).astype(log_modulus.dtype),
        jnp.where(total == 0, 0, terms / safe),
        jnp.where(total == 0, 0, relative / safe),
    )


@jax.custom_jvp
def _log_sum(matrices, weights):
    sign, log_modulus = jnp.linalg.slogdet(matrices)
    return _combine(sign, log_modulus, weights)[:2]


@_log_sum.defjvp
def _log_sum_jvp(primals, tangents):
    matrices, weights = primals
    inverse, sign, log_modulus = _factorise(matrices)
    log_magnitude, phase, shares, weight_scores = _combine(sign, log_modulus, weights)
    traces = jnp.einsum("...dij,...dji->...d", inverse, tangents[0], precision="highest")
    change = jnp.sum(shares * traces + weight_scores * tangents[1].astype(sign.dtype), axis=-1)
    # A real sum has a piecewise constant phase.
    phase_change = change.imag if jnp.iscomplexobj(change) else jnp.zeros_like(phase)
    return (log_magnitude, phase), (change.real, phase_change)


def log_sum_determinants(
    matrices: Float[Array, "determinants n n"] | Complex[Array, "determinants n n"],
    weights: Float[Array, " determinants"] | Complex[Array, " determinants"],
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    r"""Log-modulus and phase of a weighted sum of determinants,

    $$ \log \Bigl| \sum_d w_d \det \Phi_d \Bigr|, \qquad \arg \sum_d w_d \det \Phi_d . $$

    Evaluated through `slogdet` with the largest term taken out, so that no determinant over- or
    underflows. Derivatives use $\partial \log\det\Phi = \mathrm{tr}(\Phi^{-1}\partial\Phi)$ weighted by the
    share of each determinant in the sum; an exactly singular one has share zero and contributes nothing,
    where a plain `slogdet` would make the gradient of the whole sum NaN. The forward Laplacian has a closed rule for
    this function (`qernel.laplacian`).

    **Arguments:** `matrices`, one square matrix a determinant, real or complex; `weights`, which must not depend on
    the electrons' positions (only on the parameters of the network and of the Hamiltonian).

    **Returns:** log-modulus and phase; for real input the phase is 0 or π and has zero derivative.

    **Raises:** `ValueError` for no matrix, or another number of weights.
    """
    if not len(matrices) or len(weights) != len(matrices):
        raise ValueError(
            "a sum of determinants needs at least one matrix, and one weight for each, got "
            f"{len(matrices)} matrices and {len(weights)} weights"
        )
    return _named_log_sum(matrices, weights)


def qernel_log_sum_determinants(
    matrices: Inexact[Array, "determinants n n"], weights: Inexact[Array, " determinants"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """What `log_sum_determinants` jits under a name of its own."""
    return _log_sum(matrices, weights)


# folx finds the closed rule by the name of the jitted function.
_named_log_sum = jax.jit(qernel_log_sum_determinants)


def log_sum_determinants_laplacian(
    matrices: Inexact[Array, "determinants n n"],
    jacobian: Float[Array, "parts determinants n coordinates n"],
    laplacian: Float[Array, "parts determinants n n"],
    weights: Inexact[Array, " determinants"],
) -> tuple[Float[Array, ""], Float[Array, ""], Inexact[Array, " coordinates"], Inexact[Array, ""]]:
    r"""Log-modulus, phase, gradient and Laplacian of $\log\sum_d w_d\det\Phi_d$ by the chain rule.

    With $M_{kd} = \Phi_d^{-1}\partial_k\Phi_d$ and the shares $p_d$ of each determinant in the sum,

    $$ \partial_k \log\psi = \sum_d p_d\,\mathrm{tr} M_{kd}, \qquad
       \nabla^2\log\psi = \sum_d p_d \Bigl[\mathrm{tr}(\Phi_d^{-1}\nabla^2\Phi_d)
       + \sum_k (\mathrm{tr} M_{kd})^2 - \mathrm{tr} M_{kd}^2\Bigr] - \sum_k (\partial_k\log\psi)^2 . $$

    **Arguments:** `jacobian` and `laplacian` of the matrices, real and (for complex matrices) imaginary `parts`; the
    coordinates lie between electrons and orbitals, so that all $M_{kd}$ are one product of real matrices.
    """
    inverse, sign, log_modulus = _factorise(matrices)
    log_magnitude, phase, shares, _ = _combine(sign, log_modulus, weights)
    traces, curvature = _of_each(inverse, jacobian, laplacian)
    gradient = jnp.sum(shares[:, None] * traces, axis=0)
    return log_magnitude, phase, gradient, jnp.sum(shares * curvature) - jnp.sum(gradient**2)


def _of_each(inverse, jacobian, laplacian):
    """tr M_k of every determinant, and its Laplacian divided by itself."""
    parts, determinants, n, coordinates, _ = jacobian.shape
    right = jnp.moveaxis(jacobian, 0, 1).reshape(determinants, parts * n, coordinates * n)
    product = _real_product(inverse, right).reshape(determinants, parts, n, coordinates, n)
    own = jnp.eye(n, dtype=product.dtype)[None, None, :, None, :]
    # determinants, parts, coordinates
    traces = jnp.sum(product * own, axis=(2, 4))
    turned = jnp.swapaxes(product, 2, 4)
    if parts == 1:
        traces, squares = traces[:, 0], jnp.sum(product * turned, axis=(1, 2, 3, 4))
        second = jnp.sum(inverse * jnp.swapaxes(laplacian[0], 1, 2), axis=(1, 2))
    else:
        traces = jax.lax.complex(traces[:, 0], traces[:, 1])
        squares = jax.lax.complex(
            jnp.sum(product[:, 0] * turned[:, 0] - product[:, 1] * turned[:, 1], axis=(1, 2, 3)),
            2 * jnp.sum(product[:, 0] * turned[:, 1], axis=(1, 2, 3)),
        )
        second = jnp.sum(inverse * jnp.swapaxes(jax.lax.complex(*laplacian), 1, 2), axis=(1, 2))
    return traces, second + jnp.sum(traces**2, axis=1) - squares


def _real_product(inverse, right):
    """Inverse times matrices whose real and imaginary parts lie below each other, by real products only."""
    if jnp.iscomplexobj(inverse):
        # [Re, -Im; Im, Re]
        inverse = jnp.block([[inverse.real, -inverse.imag], [inverse.imag, inverse.real]])
    return jnp.matmul(inverse, right, precision="highest")


class ProbedDeterminants(eqx.Module):
    r"""What [`log_sum_determinants_probed`][qernel.orbitals.log_sum_determinants_probed] finds.

    **Fields:**

    - `log_magnitude`, `phase`: of the sum.
    - `scores`: $\partial\log\psi / \partial\Phi_d$, exact.
    - `own_gradient`: what $\nabla\log\psi$ has from the dependence of each row on its own electron, exact.
    - `laplacian`: an estimate.
    """

    log_magnitude: Float[Array, ""]
    phase: Float[Array, ""]
    scores: Inexact[Array, "determinants n n"]
    own_gradient: Inexact[Array, "n dim"]
    laplacian: Inexact[Array, ""]


def log_sum_determinants_probed(
    matrices: Inexact[Array, "determinants n n"],
    jacobian: Float[Array, "parts determinants n directions n"],
    laplacian: Float[Array, "parts determinants n n"],
    own: Float[Array, "parts determinants n dim n"],
    weights: Inexact[Array, " determinants"],
    probes: Probes,
) -> ProbedDeterminants:
    r"""Estimate the Laplacian of $\log\sum_d w_d\det\Phi_d$ from random directions.

    As [`log_sum_determinants_laplacian`][qernel.orbitals.log_sum_determinants_laplacian], with a control variate. Rows
    that depend on their own electron alone have derivatives in all coordinates that follow from n dim of them: with
    $T_{ia,j} = \sum_o \partial_{ia}\Phi_{io}\,\Phi^{-1}_{oj}$ what the same directions miss of such a wavefunction,
    whose nodes are those of ψ,

    $$ \sum_a \sum_{i \ne j} \delta_{c_i c_j} s_{ia} s_{ja} \Bigl[ \sum_d p_d
       \bigl(T^d_{ia,i} T^d_{ja,j} - T^d_{ia,j} T^d_{ja,i}\bigr) - G_{ia} G_{ja} \Bigr], \qquad
       G_{ia} = \sum_d p_d T^d_{ia,i} , $$

    has the mean zero and is taken off: it is nearly all of the noise, and near a node all that grows fastest.

    **Arguments:** `jacobian` along the `probes`, and `laplacian`, a sum of second derivatives along them; `own`,
    $\partial_{ia}\Phi_{io}$ of the dependence of row i on its own electron, with whatever else it depends on held
    fixed.
    """
    inverse, sign, log_modulus = _factorise(matrices)
    log_magnitude, phase, shares, _ = _combine(sign, log_modulus, weights)
    traces, curvature = _of_each(inverse, jacobian, laplacian)
    slopes = jnp.sum(shares[:, None] * traces, axis=0)
    estimate = jnp.sum(shares * curvature) - jnp.sum(slopes**2)

    parts, determinants, n, dim, _ = own.shape
    turned = jnp.transpose(own, (1, 0, 4, 2, 3)).reshape(determinants, parts * n, n * dim)
    moved = _real_product(jnp.swapaxes(inverse, 1, 2), turned).reshape(determinants, parts, n, n, dim)
    # determinants, j, i, a
    moved = jax.lax.complex(moved[:, 0], moved[:, 1]) if parts == 2 else moved[:, 0]
    traces = jnp.moveaxis(jnp.diagonal(moved, axis1=1, axis2=2), -1, 1)
    own_gradient = jnp.sum(shares[:, None, None] * traces, axis=0)
    members, signs = probes.membership(n, moved.dtype), probes.signs(n, dim, moved.dtype)
    signed = moved * signs[None, None]
    exchanges = (
        jnp.sum(signed * jnp.swapaxes(signed, 1, 2), axis=3) * jnp.matmul(members, members.T, precision="highest")[None]
    )
    noise = jnp.sum(probes.slopes(traces) ** 2, axis=(1, 2)) - jnp.sum(exchanges, axis=(1, 2))
    noise = jnp.sum(shares * noise) - jnp.sum(probes.slopes(own_gradient) ** 2) + jnp.sum(own_gradient**2)
    scores = shares[:, None, None] * jnp.swapaxes(inverse, 1, 2)
    return ProbedDeterminants(log_magnitude, phase, scores, own_gradient, estimate - noise)
