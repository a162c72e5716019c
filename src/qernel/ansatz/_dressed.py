"""Derivatives of a sum of determinants of orbitals that a network dresses."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from qernel.orbitals import log_sum_determinants_laplacian
from qernel.propagation import Jet, own_jet

from ._contract import Derivatives, LogPsi
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
    matrices, jacobian, laplacian = _matrices(dressing, references, len(weights), r, parameters)
    is_complex = len(matrices) == 2
    matrices = jax.lax.complex(matrices[0], matrices[1]) if is_complex else matrices[0]
    found = log_sum_determinants_laplacian(*map(wide, (matrices, jacobian, laplacian, weights)))
    log_magnitude, phase, gradient, curvature = found
    gradient = gradient.reshape(r.shape)
    for value, slope, second in jastrows:
        log_magnitude = log_magnitude + value.astype(log_magnitude.dtype)
        gradient, curvature = gradient + slope.astype(gradient.dtype), curvature + second.astype(curvature.dtype)
    return Derivatives(LogPsi(log_magnitude, phase, real=not is_complex), gradient, curvature)


def _check_parts(dressing, references, determinants, n):
    if not references or not determinants or determinants % references:
        raise ValueError(f"{determinants} determinants cannot be shared among {references} sets of reference orbitals")
    if (size := dressing.value.shape[-1]) not in (determinants * n, 2 * determinants * n):
        raise ValueError(
            f"the dressing of {determinants} determinants of {n} orbitals has {determinants * n} features for each "
            f"electron, twice as many if it is complex, got {size}"
        )


def _matrices(dressing, references, determinants, r, parameters):
    """φ (1 + f) as (parts, determinants, electrons, orbitals) with its Laplacian, and the Jacobian with the coordinates
    before the orbitals."""
    n, dim = r.shape

    def split(part):
        part = part.reshape(*part.shape[:-1], -1, determinants, n)
        return jnp.moveaxis(part, (-3, -2), (0, 1))

    f, f1, f2 = split(dressing.value), split(dressing.jacobian), split(dressing.laplacian)
    f = f + jnp.asarray([1.0, 0.0][: len(f)], r.dtype)[:, None, None, None]
    own = jnp.eye(n, dtype=r.dtype)[None, None, :, :, None, None]
    # The derivatives in each electron's own coordinates: every (n + 1)-th of the n x n pairs of electrons.
    f1_own = f1.reshape(*f1.shape[:2], n * n, dim, n)[:, :, :: n + 1]
    products = []
    for part in _reference_parts(references, r, parameters):
        # 1, determinants, electrons, (dim,) orbitals
        phi, phi1, phi2 = (jnp.repeat(x, determinants // len(references), axis=0)[None] for x in part)
        slopes = (phi1 * f[:, :, :, None])[:, :, :, None] * own
        jacobian = phi[:, :, :, None] * f1 + slopes.reshape(f1.shape)
        laplacian = phi2 * f + phi * f2
        for axis in range(dim):
            laplacian = laplacian + 2 * phi1[:, :, :, axis] * f1_own[:, :, :, axis]
        products.append((phi * f, jacobian, laplacian))
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
