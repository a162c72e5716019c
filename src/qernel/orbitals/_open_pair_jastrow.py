from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from qernel.layers import MLP, FiLM, Linear, rational_waves
from qernel.parameters import AxisNumbers, CheckedAxes, along_axes, checked_axes

from ._jastrow import PairFunction, _pair_sum, _pair_sum_derivatives
from ._pair_factor import AbstractPairFactor
from ._spin_blocks import check_electrons


class OpenPairJastrow(AbstractPairFactor):
    r"""A smooth two-body factor without a cell that depends on the Hamiltonian through a condition c:

    $$ J(r;\lambda) = -\frac1{2N}\sum_{i<j} \sum_a \bigl(e^{s_a(c)} - 1\bigr) x_{ij,a}^2
       + \sum_{i<j} u_\sigma(x_{ij};\,c), \qquad x_a = \frac{r_a}{\ell_a(\lambda)} . $$

    The first part is that of harmonic forces between the electrons: with orbitals of a trap of frequencies
    $\omega_a = 1/\ell_a^2$ it turns the frequency of the relative motion into $\omega_a e^{s_a}$ and leaves that of the
    centre of mass, and $\psi$ stays normalisable whatever s is. The second is a perceptron, bounded at every distance,

    $$ u = w_\sigma\cdot\mathrm{silu}\bigl(\mathrm{FiLM}_c(W_2\tanh(W_1 y))\bigr), $$

    of functions y even in $x_{ij}$: $\cos n\theta_a$ and $\sin n\theta_a \sin n\theta_b$ with $\theta_a = \arctan x_a$.
    Smooth at contact, so that it leaves a cusp alone. Both start at zero. The third part, of the centre of mass R, is
    there where `centre` is given: in a harmonic trap of frequency ω the centre of mass moves as one particle, whatever
    the electrons do to one another (Kohn's theorem), also where orbitals of another frequency $1/\ell^2$ suit their
    relative motion.

    **Arguments:**

    - `electrons`: (n_up, n_down).
    - `condition_size`: length of c.
    - `dim`: number of dimensions.
    - `length`: ℓ, as of an [`OpenEmbedding`][qernel.layers.OpenEmbedding].
    - `centre`: ω of the trap, one number or one for each axis, as for `length`; None leaves the centre of mass as the
      orbitals have it.
    - `harmonics`: the largest n.
    - `width`: of the perceptron.

    **Raises:** `ValueError` for sizes or a length that are not positive; where it is called, for a length of another
    dimension.
    """

    stiffness: Linear
    hidden: MLP
    film: FiLM
    output: Linear
    electrons: tuple[int, int] = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    length: CheckedAxes = eqx.field(static=True)
    harmonics: int = eqx.field(static=True)
    centre: CheckedAxes | None = eqx.field(static=True)

    def __init__(
        self,
        electrons: tuple[int, int],
        condition_size: int,
        *,
        dim: int,
        length: AxisNumbers,
        centre: AxisNumbers | None = None,
        harmonics: int = 2,
        width: int = 16,
        key: PRNGKeyArray,
        dtype: DTypeLike = jnp.float32,
    ):
        check_electrons(electrons)
        if dim < 1 or harmonics < 1:
            raise ValueError(f"a pair factor needs at least one dimension and one harmonic, got {dim} and {harmonics}")
        keys = jax.random.split(key, 4)
        even = harmonics * (dim + dim * (dim - 1) // 2)
        self.stiffness = Linear(condition_size, dim, key=keys[0], scale=0.0, dtype=dtype)
        self.hidden = MLP((even, width, width), key=keys[1], dtype=dtype)
        self.film = FiLM(condition_size, width, key=keys[2], dtype=dtype)
        self.output = Linear(width, 2, key=keys[3], bias=False, scale=0.0, dtype=dtype)
        self.electrons = electrons
        self.dim = dim
        self.length = checked_axes("length of a pair factor", length)
        self.harmonics = harmonics
        self.centre = None if centre is None else checked_axes("frequency of the centre of mass", centre)

    def __call__(
        self, r: Float[Array, "electrons dim"], parameters: Any, condition: Float[Array, " condition"]
    ) -> Float[Array, ""]:
        stiffness, centre = self._stiffness(r, parameters, condition), jnp.mean(r, axis=0, keepdims=True)
        harmonic = -0.5 * jnp.sum(stiffness * jnp.sum((r - centre) ** 2, axis=0))
        if self.centre is not None:
            harmonic = harmonic - 0.5 * len(r) * jnp.sum(self._of_centre(r, parameters) * centre[0] ** 2)
        return harmonic + _pair_sum(self.of_pairs(parameters, condition), r, self.electrons)

    def derivatives(
        self, r: Float[Array, "electrons dim"], parameters: Any, condition: Float[Array, " condition"]
    ) -> tuple[Float[Array, ""], Float[Array, "electrons dim"], Float[Array, ""]]:
        stiffness, centre = self._stiffness(r, parameters, condition), jnp.mean(r, axis=0, keepdims=True)
        centred = r - centre
        value, gradient, laplacian = _pair_sum_derivatives(self.of_pairs(parameters, condition), r, self.electrons)
        value = value - 0.5 * jnp.sum(stiffness * jnp.sum(centred**2, axis=0))
        gradient = gradient - stiffness[None] * centred
        laplacian = laplacian - (len(r) - 1) * jnp.sum(stiffness)
        if self.centre is None:
            return value, gradient, laplacian
        change = self._of_centre(r, parameters)
        return (
            value - 0.5 * len(r) * jnp.sum(change * centre[0] ** 2),
            gradient - change[None] * centre,
            laplacian - jnp.sum(change),
        )

    def of_pairs(self, parameters: Any, condition: Float[Array, " condition"]) -> PairFunction:
        """The pair function u of `(displacement, parallel)`, both with a leading axis over pairs."""

        def of_pairs(displacement, parallel):
            dtype = displacement.dtype
            x = displacement / self._length(parameters, dtype)[None]
            cosines, sines = rational_waves(x, self.harmonics)
            first, second = np.triu_indices(self.dim, 1)
            products = sines[..., first] * sines[..., second]
            even = jnp.concatenate([part.reshape(len(x), -1) for part in (cosines, products)], axis=1)
            hidden = jax.nn.silu(self.film(self.hidden(even), condition.astype(dtype)))
            channels = self.output(hidden)
            return jnp.where(parallel, channels[:, 0], channels[:, 1])

        return of_pairs

    def _length(self, parameters, dtype):
        return along_axes("length of a pair factor", self.length, parameters, self.dim, dtype)

    def _of_centre(self, r, parameters):
        r"""$\omega_a - 1/\ell_a^2$."""
        frequency = along_axes("frequency of the centre of mass", self.centre, parameters, self.dim, r.dtype)  # pyright: ignore[reportArgumentType]
        return frequency - 1 / self._length(parameters, r.dtype) ** 2

    def _stiffness(self, r, parameters, condition):
        r"""$(e^{s_a} - 1)/\ell_a^2$: the sum over pairs is N times that over distances from the centre of mass."""
        exponents = self.stiffness(condition.astype(r.dtype)[None])[0]
        return jnp.expm1(exponents) / self._length(parameters, r.dtype) ** 2
