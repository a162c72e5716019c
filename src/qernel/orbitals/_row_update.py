"""Determinants of which one row changes."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from ._determinants import _combine, _factorise


class RowUpdates(eqx.Module):
    r"""A weighted sum of determinants that is followed while one row after the other is replaced.

    With row i of $\Phi_d$ replaced by φ, by Sherman and Morrison,

    $$ \rho_d = \sum_j \phi_j (\Phi_d^{-1})_{ji}, \qquad \det\Phi_d' = \rho_d \det\Phi_d, \qquad
       \Phi_d'^{-1} = \Phi_d^{-1} - \tfrac1{\rho_d}\,\Phi_d^{-1} e_i\,(\phi\,\Phi_d^{-1} - e_i^T) , $$

    in $O(n^2)$ operations where a factorisation takes $O(n^3)$. Rounding adds up over many replacements: begin anew
    after some n of them, as [`single_electron`][qernel.sampling.single_electron] does at each sweep. A determinant that
    becomes exactly singular stays out of the sum until then.
    """

    inverse: Inexact[Array, "determinants n n"]
    sign: Inexact[Array, " determinants"]
    log_modulus: Float[Array, " determinants"]

    @staticmethod
    def begin(matrices: Inexact[Array, "determinants n n"]) -> "RowUpdates":
        """From the matrices themselves."""
        return RowUpdates(*_factorise(matrices))

    def replaced(self, row: Int[Array, ""], values: Inexact[Array, "determinants n"]) -> "RowUpdates":
        """With `values` in one row of each matrix."""
        column = self.inverse[:, :, row]
        products = jnp.einsum("dj,djk->dk", values, self.inverse, precision="highest")
        ratio = products[:, row]
        modulus = jnp.abs(ratio)
        safe = jnp.where(modulus > 0, ratio, 1)
        change = column[:, :, None] * (products.at[:, row].add(-1) / safe[:, None])[:, None, :]
        return RowUpdates(
            jnp.where((modulus > 0)[:, None, None], self.inverse - change, 0),
            jnp.where(modulus > 0, self.sign * ratio / jnp.where(modulus > 0, modulus, 1).astype(ratio.dtype), 0),
            self.log_modulus + jnp.log(modulus),
        )

    def log_sum(self, weights: Inexact[Array, " determinants"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Log-modulus and phase of the sum: see [`log_sum_determinants`][qernel.orbitals.log_sum_determinants]."""
        return _combine(self.sign, self.log_modulus, weights)[:2]
