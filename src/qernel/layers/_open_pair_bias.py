import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from qernel.propagation import EveryCoordinate, Jet, PairJet

from ._check import check_sizes, check_width
from ._embedding import AbstractPairBias
from ._rational_waves import rational_waves


class OpenPairBias(AbstractPairBias):
    r"""Attention logits that know the distance, without a cell,

    $$ b_{hij} = \sum_{an} A_{han} \cos n\theta_a(x_i - x_j) + B_{han} \sin n\theta_a(x_i - x_j), \qquad
       \theta_a(x) = \arctan x_a , $$

    with the coordinates x in units of a length that an [`OpenEmbedding`][qernel.layers.OpenEmbedding] has first among
    its features. Smooth and bounded at every distance. One linear map a block.

    **Arguments:** `weights`, [A, B] side by side, n before a; zeros are a start without any bias. `dim` and `harmonics`
    are those of the embedding.

    **Raises:** `ValueError` for weights of another shape.
    """

    weights: Float[Array, "heads waves"]
    dim: int = eqx.field(static=True)
    harmonics: int = eqx.field(static=True)

    def __check_init__(self):
        check_sizes("OpenPairBias", dim=self.dim, harmonics=self.harmonics)
        shape, waves = self.weights.shape, 2 * self.dim * self.harmonics
        if len(shape) != 2 or shape[0] < 1 or shape[1] != waves:
            raise ValueError(f"OpenPairBias: weights must be (heads, {waves}) with at least one head, got {shape}.")

    def __call__(self, embedded: Float[Array, "electrons features"]) -> Float[Array, "heads electrons electrons"]:
        """Bias of every pair from the features of the positions."""
        with jax.named_scope("qernel.layers.OpenPairBias"):
            return self._of_separations(self._separations(embedded))

    def propagate(self, embedded: Jet) -> PairJet:
        r"""The bias with derivatives; it depends on $x_i - x_j$ alone, so that $\partial_j b = -\partial_i b$."""
        separations = self._separations(embedded.value)
        n, coordinates = embedded.jacobian.shape[:2]
        slopes, curvature = [], jnp.zeros((), separations.dtype)
        for coordinate in range(coordinates):
            # All first electrons move at once; x is linear in the position, so there is no further term.
            direction = embedded.jacobian[:, None, coordinate, : self.dim]
            direction = jnp.broadcast_to(direction, separations.shape)
            slope_of = lambda s, t=direction: jax.jvp(self._of_separations, (s,), (t,))[1]
            slope, second = jax.jvp(slope_of, (separations,), (direction,))
            slopes.append(slope)
            curvature = curvature + second
        slope = jnp.stack(slopes, axis=2)
        # The Laplacian in one of the electrons is as large as that in the other; b_ii is constant.
        others = 1 - jnp.eye(n, dtype=slope.dtype)[None]
        return PairJet(
            self._of_separations(separations), slope, -slope, 2 * others * curvature, embedded.own or EveryCoordinate()
        )

    def _separations(self, embedded):
        check_width("OpenPairBias", "features", embedded, self.dim * (1 + 2 * self.harmonics))
        x = embedded[:, : self.dim]
        return x[:, None] - x[None]

    def _of_separations(self, separations):
        waves = [wave.reshape(*separations.shape[:2], -1) for wave in rational_waves(separations, self.harmonics)]
        waves = jnp.concatenate(waves, axis=-1)
        weights = self.weights.astype(separations.dtype)
        return jnp.einsum("hw,ijw->hij", weights, waves, precision="highest")
