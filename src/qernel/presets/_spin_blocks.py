import jax.numpy as jnp
from jaxtyping import Array, Float, Num, PyTree

from qernel.orbitals import AbstractOrbitals


class SpinBlocks(AbstractOrbitals):
    r"""Orbitals of their own for each spin, as the square matrix of a product of determinants,

    $$ \begin{pmatrix} \phi^\uparrow_j(r_i) & 0 \\ 0 & \phi^\downarrow_j(r_i) \end{pmatrix} , $$

    with the rows of the spin-up electrons first. Each of `up` and `down` holds one orbital for each electron.
    """

    up: AbstractOrbitals
    down: AbstractOrbitals

    @property
    def orbitals(self) -> int:
        return self.up.orbitals + self.down.orbitals

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Num[Array, "electrons orbitals"]:
        n = self.up.orbitals
        up, down = self.up(r[:n], parameters), self.down(r[n:], parameters)
        above = jnp.zeros((n, down.shape[1]), up.dtype)
        below = jnp.zeros((r.shape[0] - n, n), down.dtype)
        return jnp.concatenate([jnp.concatenate([up, above], axis=1), jnp.concatenate([below, down], axis=1)], axis=0)
