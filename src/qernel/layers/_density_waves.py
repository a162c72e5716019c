from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.propagation import AbstractDirections, Jet, add, multiply, own_jet

from ._film import FiLM
from ._linear import Linear
from ._periodic_embedding import PeriodicEmbedding


class DensityWaves(eqx.Module):
    r"""Waves of the density as each electron sees them, in a periodic cell,

    $$ x_{iG} = \frac1{\sqrt N}\sum_{j\in\sigma} e^{iG\cdot(r_i - r_j)} , \qquad
       h_i = \mathrm{FiLM}_c(W\,[\mathrm{Re}\,x_i, \mathrm{Im}\,x_i]) , $$

    with sums over the electrons of its own spin and, where there are any, of the other one. Linear in W are then all
    functions $\sum_j\eta(r_i - r_j)$ of these waves, backflow displacements among them, in which a dressed plane wave
    $e^{ik\cdot r}(1 + f)$ follows the electrons around it. Starts at zero.

    **Arguments:**

    - `waves`: the vectors G, inverse length, one of each pair ±G.
    - `electrons`: (n_up, n_down); `condition_size`, of c; `features`, of h.
    - `key`, `dtype`, `precision`: see [`Linear`][qernel.layers.Linear].

    **Source:** backflow, Y. Kwon, D. M. Ceperley and R. M. Martin, Phys. Rev. B 58, 6800 (1998).
    """

    embedding: PeriodicEmbedding
    mix: Linear
    film: FiLM
    electrons: tuple[int, int] = eqx.field(static=True)

    def __init__(
        self,
        waves: np.ndarray,
        electrons: tuple[int, int],
        condition_size: int,
        features: int,
        *,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
        precision: str = "highest",
    ):
        self.embedding = PeriodicEmbedding(waves)
        self.electrons = electrons
        size = self.embedding.features * (2 if min(electrons) else 1)
        # Without a constant: FiLM's shift has it.
        self.mix = Linear(size, features, key=key, bias=False, scale=0.0, dtype=dtype, precision=precision)
        self.film = FiLM(condition_size, features, dtype=dtype)

    def __call__(
        self, r: Float[Array, "electrons dim"], condition: Float[Array, " condition"]
    ) -> Float[Array, "electrons features"]:
        with jax.named_scope("qernel.layers.DensityWaves"):
            own = self.embedding(r)
            parts = [self._seen(own, jnp.matmul(sums, own, precision="highest")) for sums in self._sums(r.dtype)]
            return self.film(self.mix(jnp.concatenate(parts, axis=-1)), condition)

    def propagate(
        self, r: Float[Array, "electrons dim"], condition: Float[Array, " condition"], directions: AbstractDirections
    ) -> Jet:
        """The features with their derivatives along directions: see [`Jet`][qernel.propagation.Jet]."""
        own = own_jet(self.embedding, r, directions).dense()
        parts = []
        for sums in self._sums(r.dtype):
            of = lambda part, m=sums: jnp.tensordot(m, part, 1, precision="highest")
            parts.append(self._seen_jet(own, Jet(of(own.value), of(own.jacobian), of(own.laplacian))))
        join = lambda *arrays: jnp.concatenate(arrays, axis=-1)
        return self.film.propagate(self.mix.propagate(jax.tree.map(join, *parts)), condition)

    def _sums(self, dtype: Any) -> list[Float[Array, "electrons electrons"]]:
        """For every electron the electrons that it sees, of its own spin and of the other one."""
        spins = np.repeat([0, 1], self.electrons)
        same = spins[:, None] == spins[None]
        tables = [same, ~same] if min(self.electrons) else [same]
        return [jnp.asarray(table / np.sqrt(len(spins)), dtype) for table in tables]

    def _seen(self, own: Array, total: Array) -> Array:
        half = own.shape[-1] // 2
        cosine, sine = own[..., :half], own[..., half:]
        of_cosine, of_sine = total[..., :half], total[..., half:]
        real, imaginary = cosine * of_cosine + sine * of_sine, sine * of_cosine - cosine * of_sine
        return jnp.concatenate([real, imaginary], axis=-1)

    def _seen_jet(self, own: Jet, total: Jet) -> Jet:
        half = own.value.shape[-1] // 2
        first, last = (lambda x: x[..., :half]), (lambda x: x[..., half:])
        cosine, sine, of_cosine, of_sine = own.map(first), own.map(last), total.map(first), total.map(last)
        real = add(multiply(cosine, of_cosine), multiply(sine, of_sine))
        imaginary = add(multiply(sine, of_cosine), multiply(cosine.map(jnp.negative), of_sine))
        return jax.tree.map(lambda *arrays: jnp.concatenate(arrays, axis=-1), real, imaginary)
