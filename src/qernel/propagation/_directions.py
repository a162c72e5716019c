"""Directions in the space of all positions along which functions are differentiated."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Inexact, PRNGKeyArray


class AbstractDirections(eqx.Module):
    r"""Directions of all positions at once: the electrons of colour c move along the axis a, forwards or backwards,

    $$ v_{ca} = \sum_i m_{ic}\, s_{ia}\, e_{ia}, \qquad m_{ic} \in \{0, 1\}, \quad \sum_c m_{ic} = 1,
       \quad s_{ia} = \pm 1 . $$

    Every coordinate belongs to one direction. Columns of a Jacobian are in the order (c, a).
    """

    @abc.abstractmethod
    def membership(self, electrons: int, dtype: DTypeLike) -> Inexact[Array, "electrons colours"]:
        """Colours m: one where electron i has the colour c, zero elsewhere."""

    @abc.abstractmethod
    def signs(self, electrons: int, dim: int, dtype: DTypeLike) -> Inexact[Array, "electrons dim"]:
        """Signs s of the coordinates."""

    def spread(
        self, own: Inexact[Array, "*batch electrons dim features"]
    ) -> Inexact[Array, "*batch electrons directions features"]:
        """Derivatives along the directions of rows that depend on their own electron alone, from those in its
        coordinates."""
        n, dim, features = own.shape[-3:]
        signed = _times(own, self.signs(n, dim, own.dtype)[:, :, None])
        spread = _times(signed[..., :, None, :, :], self.membership(n, own.dtype)[:, :, None, None])
        return spread.reshape(*own.shape[:-3], n, -1, features)

    @abc.abstractmethod
    def gather(
        self, jacobian: Inexact[Array, "*batch electrons directions features"], dim: int
    ) -> Inexact[Array, "*batch electrons dim features"]:
        r"""For each electron's row the columns in which it moves, $\sum_c m_{ic} s_{ia} J_{i,ca}$."""

    def slopes(self, gradient: Inexact[Array, "*batch electrons dim"]) -> Inexact[Array, "*batch colours dim"]:
        r"""Derivatives along the directions, $\sum_i m_{ic} s_{ia}\,\partial_{ia}$."""
        n, dim = gradient.shape[-2:]
        signed = _times(gradient, self.signs(n, dim, gradient.dtype))
        # Sums and not a product of matrices: exact in any precision, and small.
        return jnp.sum(_times(signed[..., :, None, :], self.membership(n, gradient.dtype)[:, :, None]), axis=-3)

    def of_pairs(
        self,
        left: Float[Array, "heads electrons dim electrons"],
        right: Float[Array, "heads electrons dim electrons"],
    ) -> Float[Array, "heads electrons directions electrons"]:
        """Derivatives along the directions of functions of two electrons, from those in the coordinates of each."""
        heads, n, dim, _ = left.shape
        colours, signs = self.membership(n, left.dtype), self.signs(n, dim, left.dtype)
        first = _times(_times(left, signs[:, :, None])[:, :, None], colours[:, :, None, None])
        second = _times(_times(right, signs.T)[:, :, None], colours.T[:, None])
        return (first + second).reshape(heads, n, -1, n)


def _times(array: Array, factor: Array) -> Array:
    """Multiply by a factor that has the last axes only."""
    return array * jnp.expand_dims(factor, tuple(range(array.ndim - factor.ndim)))


class EveryCoordinate(AbstractDirections):
    """One direction for each coordinate of each electron: derivatives are exact."""

    def membership(self, electrons: int, dtype: DTypeLike) -> Inexact[Array, "electrons colours"]:
        return jnp.eye(electrons, dtype=dtype)

    def signs(self, electrons: int, dim: int, dtype: DTypeLike) -> Inexact[Array, "electrons dim"]:
        return jnp.ones((electrons, dim), dtype)

    def gather(
        self, jacobian: Inexact[Array, "*batch electrons directions features"], dim: int
    ) -> Inexact[Array, "*batch electrons dim features"]:
        # Every (n + 1)-th of the n x n pairs of electrons, and no sum.
        *batch, n, _, features = jacobian.shape
        return jacobian.reshape(*batch, n * n, dim, features)[..., :: n + 1, :, :]


class Probes(AbstractDirections):
    r"""Random directions, far fewer than coordinates: with independent signs of mean zero the sum of second derivatives
    along them has the Laplacian for its mean, whatever the colours are, since every product of two different signs
    averages to zero:

    $$ \Bigl\langle \sum_{ca} v_{ca}^T H v_{ca} \Bigr\rangle
       = \sum_{ijca} m_{ic} m_{jc} \langle s_{ia} s_{ja}\rangle H_{ia,ja} = \operatorname{tr} H , \qquad
       \operatorname{Var} = 2 \sum_{i \ne j,\,a} \delta_{c_i c_j} H_{ia,ja}^2 . $$

    Made by [`random_probes`][qernel.propagation.random_probes].

    **Fields:** `colours`, m, (electrons, colours); `orientation`, s, (electrons, dim).

    **Source:** M. F. Hutchinson, Commun. Stat. Simul. Comput. 18, 1059 (1989); with one probe for each colour of a
    graph, J. M. Tang and Y. Saad, Numer. Linear Algebra Appl. 19, 485 (2012).
    """

    colours: Float[Array, "electrons colours"]
    orientation: Float[Array, "electrons dim"]

    def membership(self, electrons: int, dtype: DTypeLike) -> Inexact[Array, "electrons colours"]:
        return self.colours.astype(dtype)

    def signs(self, electrons: int, dim: int, dtype: DTypeLike) -> Inexact[Array, "electrons dim"]:
        return self.orientation.astype(dtype)

    def gather(
        self, jacobian: Inexact[Array, "*batch electrons directions features"], dim: int
    ) -> Inexact[Array, "*batch electrons dim features"]:
        n, _, features = jacobian.shape[-3:]
        columns = jacobian.reshape(*jacobian.shape[:-2], -1, dim, features)
        chosen = jnp.sum(_times(columns, self.membership(n, jacobian.dtype)[:, :, None, None]), axis=-3)
        return _times(chosen, self.signs(n, dim, jacobian.dtype)[:, :, None])

    def vectors(self) -> Float[Array, "directions electrons dim"]:
        """The directions themselves."""
        dim = self.orientation.shape[1]
        axes = jnp.eye(dim, dtype=self.orientation.dtype)
        # colours, axis of the direction, electrons, dim
        vectors = self.colours.T[:, None, :, None] * (axes[:, None] * self.orientation[None])[None]
        return vectors.reshape(-1, *self.orientation.shape)


def random_probes(key: PRNGKeyArray, electrons: int, dim: int, colours: int, dtype: DTypeLike) -> Probes:
    """Draw probes with equally many electrons of each colour, at random.

    **Arguments:** `colours`, their number, at most that of the electrons: with so many the probes are exact.

    **Raises:** `ValueError` for no colour, or more than electrons.
    """
    if not 1 <= colours <= electrons:
        raise ValueError(f"{electrons} electrons have between 1 and {electrons} colours, got {colours}")
    of_colours, of_signs = jax.random.split(key)
    drawn = jax.random.permutation(of_colours, jnp.arange(electrons) % colours)
    signs = jax.random.rademacher(of_signs, (electrons, dim), dtype)
    return Probes(jax.nn.one_hot(drawn, colours, dtype=dtype), signs)
