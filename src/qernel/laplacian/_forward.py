"""The forward Laplacian, by folx, with a closed rule for sums of determinants."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.ansatz import AtParameters, Derivatives, DifferentiableAnsatz, LogPsi
from qernel.orbitals import log_sum_determinants_laplacian

from ._derivatives import AbstractLaplacian, without_constants


def _determinant_rule(args: Any, kwargs: Any, sparsity_threshold: int) -> Any:
    """Tell folx the closed forward Laplacian of `log_sum_determinants`, in the form that folx asks for."""
    from folx.api import FwdJacobian, FwdLaplArray

    del kwargs, sparsity_threshold
    matrices, weights = args
    if isinstance(weights, FwdLaplArray):
        raise ValueError(
            "the weights of log_sum_determinants depend on the electrons' positions: "
            "multiply a row of the matrices instead"
        )
    if not isinstance(matrices, FwdLaplArray):
        from qernel.orbitals import log_sum_determinants

        return list(log_sum_determinants(matrices, weights))
    # (coordinates, determinants, n, n) -> (parts, determinants, n, coordinates, n)
    parts = (jnp.real, jnp.imag) if jnp.iscomplexobj(matrices.x) else (jnp.real,)
    jacobian = jnp.moveaxis(jnp.stack([part(matrices.dense_jacobian) for part in parts]), 1, 3)
    second = jnp.stack([part(matrices.laplacian) for part in parts])
    log_magnitude, phase, gradient, laplacian = log_sum_determinants_laplacian(matrices.x, jacobian, second, weights)
    log_magnitude = FwdLaplArray(log_magnitude, FwdJacobian.from_dense(gradient.real), laplacian.real)
    if not jnp.iscomplexobj(gradient):
        return [log_magnitude, phase]
    return [log_magnitude, FwdLaplArray(phase, FwdJacobian.from_dense(gradient.imag), laplacian.imag)]


class ForwardLaplacian(AbstractLaplacian):
    r"""Carries (value, Jacobian, Laplacian) through every operation in one forward sweep.

    Exact, like [`qernel.laplacian.HessianTrace`][], and several times faster. An ansatz with a method `derivatives`
    ([`DifferentiableAnsatz`][qernel.ansatz.DifferentiableAnsatz], [`Qernel`][qernel.ansatz.Qernel] among them) is asked
    for them; any other goes through [`FolxLaplacian`][qernel.laplacian.FolxLaplacian].

    **Raises:** `ValueError` where [`FolxLaplacian`][qernel.laplacian.FolxLaplacian] does.

    **Source:** forward Laplacian, arXiv:2307.08214.

    **Example:**

    ```python
    import jax.numpy as jnp
    from qernel.ansatz import LogPsi
    from qernel.laplacian import ForwardLaplacian

    def harmonic(r):
        return LogPsi(-jnp.sum(r**2) / 2, jnp.zeros((), r.dtype), real=True)

    derivatives = ForwardLaplacian()(harmonic, jnp.array([[0.3, 0.1], [0.2, 0.4]]))
    assert jnp.allclose(derivatives.laplacian, -4.0)
    ```
    """

    def __call__(
        self,
        log_psi: Callable[[Float[Array, "electrons dim"]], LogPsi],
        r: Float[Array, "electrons dim"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Derivatives:
        del key
        log_psi = without_constants(log_psi)
        if isinstance(log_psi, AtParameters) and isinstance(log_psi.ansatz, DifferentiableAnsatz):
            return log_psi.ansatz.derivatives(r, log_psi.parameters)
        return FolxLaplacian()(log_psi, r)


class FolxLaplacian(AbstractLaplacian):
    r"""General forward Laplacian of the library folx, with closed rules for determinants and plane waves.

    Any `eqx.Module` made of ordinary JAX operations passes; `top_k` and gathers by a position-dependent index do not.

    **Raises:** `ValueError` if ψ does not depend on the positions, or the weights of a sum of determinants do.

    **Source:** forward Laplacian, arXiv:2307.08214; implementation: folx.
    """

    def __call__(
        self,
        log_psi: Callable[[Float[Array, "electrons dim"]], LogPsi],
        r: Float[Array, "electrons dim"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Derivatives:
        del key
        # Imported here: registering the rule is a side effect on folx that importing qernel must not have.
        import folx
        from folx.api import FwdLaplArray
        from folx.wrapped_functions import is_registered, register_function

        if not is_registered("qernel_log_sum_determinants"):
            register_function("qernel_log_sum_determinants", _determinant_rule)

        real = jax.eval_shape(log_psi, r).real

        def pair(flat):
            value = log_psi(flat.reshape(r.shape))
            return value.log_magnitude, value.phase

        # folx itself relies on implicit promotion. Threshold 0: none of its sparse Jacobians, the robust setting.
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            propagate = folx.forward_laplacian(pair, sparsity_threshold=0, disable_jit=True)
            magnitude, phase = propagate(r.reshape(-1))
        if not isinstance(magnitude, FwdLaplArray):
            raise ValueError("the ansatz does not depend on the electrons' positions")
        gradient, laplacian = magnitude.dense_jacobian, magnitude.laplacian
        value = LogPsi(magnitude.x, jnp.asarray(phase.x if isinstance(phase, FwdLaplArray) else phase), real=real)
        if not real:
            if isinstance(phase, FwdLaplArray):
                gradient = jax.lax.complex(gradient, phase.dense_jacobian)
                laplacian = jax.lax.complex(laplacian, phase.laplacian)
            else:
                gradient = jax.lax.complex(gradient, jnp.zeros_like(gradient))
                laplacian = jax.lax.complex(laplacian, jnp.zeros_like(laplacian))
        return Derivatives(value, gradient.reshape(r.shape), laplacian)
