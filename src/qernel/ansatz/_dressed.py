"""Derivatives of a sum of determinants of orbitals that a network dresses."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from qernel.orbitals import log_sum_determinants_laplacian, log_sum_determinants_probed
from qernel.propagation import EveryCoordinate, Jet, Probes, own_jet

from ._contract import Derivatives, LogPsi
from ._node_noise import node_noise
from ._stacked import stacked

# Of a Jastrow factor: value, gradient, Laplacian.
JastrowDerivatives = tuple[Float[Array, ""], Float[Array, "electrons dim"], Float[Array, ""]]


def dressed_derivatives(
    dressing: Jet,
    references: tuple[Callable[..., Inexact[Array, "electrons orbitals"]], ...],
    weights: Float[Array, " determinants"],
    r: Float[Array, "electrons dim"],
    parameters: Any,
    *,
    jastrows: Iterable[JastrowDerivatives] = (),
    wide: Callable[[Array], Array] = lambda array: array,
) -> Derivatives:
    r"""$\log\psi$ with its gradient and Laplacian of

    $$ \psi(r) = e^{J(r)} \sum_d w_d \det\bigl[\phi^d_j(r_i)\,(1 + f^d_{ij}(r))\bigr] . $$

    It is complex where the dressing or the orbitals are.

    **Arguments:** `dressing`, the jet of f as (electrons, parts × determinants × orbitals), where `parts` are the real
    and, for a complex one, the imaginary part; `references`, functions `(r, parameters)` whose row i depends on
    electron i alone, each for an equal share of the determinants, one after the other; `weights` of the determinants;
    `jastrows`, what `derivatives` of Jastrow factors return; `wide`, casts to the precision of the determinants, that
    of the result.

    **Raises:** `ValueError` if the determinants cannot be shared among the references, or the dressing has another
    size.
    """
    _check_parts(dressing, len(references), len(weights), len(r))
    matrices, jacobian, laplacian, _ = _matrices(dressing, references, len(weights), r, parameters, EveryCoordinate())
    found = log_sum_determinants_laplacian(*map(wide, (_joined(matrices), jacobian, laplacian, weights)))
    log_magnitude, phase, gradient, curvature = found
    log_psi = LogPsi(log_magnitude, phase, real=len(matrices) == 1)
    return _with_jastrows(Derivatives(log_psi, gradient.reshape(r.shape), curvature), jastrows)


def dressed_probed_derivatives(
    dressing: Jet,
    function: Callable[[Float[Array, "electrons dim"]], Float[Array, "electrons dressing"]],
    references: tuple[Callable[..., Inexact[Array, "electrons orbitals"]], ...],
    weights: Float[Array, " determinants"],
    r: Float[Array, "electrons dim"],
    parameters: Any,
    probes: Probes,
    *,
    jastrows: Iterable[JastrowDerivatives] = (),
    wide: Callable[[Array], Array] = lambda array: array,
) -> Derivatives:
    """What [`dressed_derivatives`][qernel.ansatz.dressed_derivatives] finds, the Laplacian from random directions.

    The gradient is exact: one backward pass through the dressing. The Laplacian has a control variate, the wavefunction
    whose dressing is held fixed ([`log_sum_determinants_probed`][qernel.orbitals.log_sum_determinants_probed]); that of
    the Jastrow factors is exact.

    **Arguments:** `dressing`, the jet of f along the `probes`, which begins with
    `own_jet(..., r, probes)`; `function`, from the positions to the values of this jet; the others as for
    `dressed_derivatives`.

    **Raises:** `ValueError` as `dressed_derivatives`.
    """
    _check_parts(dressing, len(references), len(weights), len(r))
    matrices, jacobian, laplacian, own = _matrices(dressing, references, len(weights), r, parameters, probes)
    found = log_sum_determinants_probed(
        wide(_joined(matrices)), wide(jacobian), wide(laplacian), wide(own), wide(weights), probes
    )
    phi = stacked([orbital(r, parameters) for orbital in references])
    phi = jnp.repeat(phi, len(weights) // len(references), axis=0)
    slopes = _backward(function, r, found.scores * phi.astype(found.scores.dtype))
    log_psi = LogPsi(found.log_magnitude, found.phase, real=len(matrices) == 1)
    slopes = slopes.astype(found.own_gradient.dtype)
    own = _with_jastrows(Derivatives(log_psi, found.own_gradient, found.laplacian), jastrows)
    laplacian = own.laplacian + node_noise(probes, own.gradient + slopes, own.gradient)
    return Derivatives(own.log_psi, own.gradient + slopes, laplacian)


def _backward(function, r, scores):
    """Gradient that log ψ has from f, from its derivatives `scores` in the elements (determinants, electrons, orbitals)
    of a complex f."""
    dressing, pull = jax.vjp(function, r)
    parts = dressing.size // scores.size

    def of(*scores):
        """The gradient of a real function with these derivatives in the parts of f."""
        stacked_scores = jnp.stack(scores[:parts]).astype(dressing.dtype)
        (gradient,) = pull(jnp.moveaxis(stacked_scores, 2, 0).reshape(dressing.shape))
        return gradient

    if not jnp.iscomplexobj(scores):
        return of(scores)
    return jax.lax.complex(of(scores.real, -scores.imag), of(scores.imag, scores.real))


def _joined(matrices):
    return jax.lax.complex(matrices[0], matrices[1]) if len(matrices) == 2 else matrices[0]


def _with_jastrows(found, jastrows):
    log_magnitude, gradient, laplacian = found.log_psi.log_magnitude, found.gradient, found.laplacian
    for value, slope, second in jastrows:
        log_magnitude = log_magnitude + value.astype(log_magnitude.dtype)
        gradient, laplacian = gradient + slope.astype(gradient.dtype), laplacian + second.astype(laplacian.dtype)
    return Derivatives(LogPsi(log_magnitude, found.log_psi.phase, real=found.log_psi.real), gradient, laplacian)


def _check_parts(dressing, references, determinants, n):
    if not references or not determinants or determinants % references:
        raise ValueError(f"{determinants} determinants cannot be shared among {references} sets of reference orbitals")
    if (size := dressing.value.shape[-1]) not in (determinants * n, 2 * determinants * n):
        raise ValueError(
            f"the dressing of {determinants} determinants of {n} orbitals has {determinants * n} features for each "
            f"electron, twice as many if it is complex, got {size}"
        )


def _matrices(dressing, references, determinants, r, parameters, directions):
    """φ (1 + f) as (parts, determinants, electrons, orbitals), the Jacobian with the directions before the orbitals,
    the Laplacian, and the Jacobian in each electron's own coordinates with f held fixed."""
    n, dim = r.shape

    def split(part):
        part = part.reshape(*part.shape[:-1], -1, determinants, n)
        return jnp.moveaxis(part, (-3, -2), (0, 1))

    f, f1, f2 = split(dressing.value), split(dressing.jacobian), split(dressing.laplacian)
    f = f + jnp.asarray([1.0, 0.0][: len(f)], r.dtype)[:, None, None, None]
    f1_own = directions.gather(f1, dim)
    products = []
    for part in _reference_parts(references, r, parameters):
        # 1, determinants, electrons, (dim,) orbitals
        phi, phi1, phi2 = (jnp.repeat(x, determinants // len(references), axis=0)[None] for x in part)
        own = phi1 * f[:, :, :, None]
        jacobian = phi[:, :, :, None] * f1 + directions.spread(own)
        laplacian = phi2 * f + phi * f2
        for axis in range(dim):
            laplacian = laplacian + 2 * phi1[:, :, :, axis] * f1_own[:, :, :, axis]
        products.append((phi * f, jacobian, laplacian, own))
    if len(products) == 1:
        return products[0]
    if len(f) == 1:
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *products)
    # (φ' + iφ'')(f' + if'')
    return jax.tree.map(lambda a, b: jnp.stack([a[0] - b[1], a[1] + b[0]]), *products)


def _reference_parts(references, r, parameters):
    """Real and, if there is one, imaginary part of the orbitals with their own derivatives: (references, electrons,
    orbitals), the same with `dim` before the orbitals, and the Laplacian."""
    jets = [own_jet(lambda x, orbital=orbital: orbital(x, parameters), r) for orbital in references]
    parts = [stacked(part) for part in zip(*((j.value, j.jacobian, j.laplacian) for j in jets), strict=True)]
    yield tuple(jnp.real(part).astype(r.dtype) for part in parts)
    if jnp.iscomplexobj(parts[0]):
        yield tuple(jnp.imag(part).astype(r.dtype) for part in parts)
