import math
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..parameters import AxisNumbers, CheckedAxes, along_axes, checked_axes
from ._harmonic_levels import Levels
from ._orbitals import AbstractOrbitals


class HarmonicOrbitals(AbstractOrbitals):
    r"""Eigenstates of one particle in a harmonic trap, orthonormal, of unit mass,

    $$ \phi_n(r) = \prod_a \Bigl(\frac{\omega_a}{\pi}\Bigr)^{1/4} \frac{1}{\sqrt{2^{n_a} n_a!}}\,
       H_{n_a}\bigl(\sqrt{\omega_a}\,x_a\bigr)\, e^{-\omega_a x_a^2/2} , $$

    by the recursion $\sqrt{n+1}\,h_{n+1} = \sqrt2\,\xi h_n - \sqrt n\,h_{n-1}$ of the functions with their
    Gaussian, which neither overflows nor cancels for any n. The frequencies may follow the Hamiltonian's parameters, so
    that one set serves a whole family, and a derivative in λ passes through it.

    **Arguments:**

    - `levels`: quantum numbers $(n_x, n_y, \ldots)$, one tuple for each orbital, such as those of
      [`harmonic_levels`][qernel.orbitals.harmonic_levels].
    - `frequency`: ω in effective Hartree, for all axes; or a sequence $\omega_a$. Each may be a number or a function of
      the Hamiltonian's parameters. A single function may also return an array with the frequencies of all axes.

    **Raises:** `ValueError` for quantum numbers that are negative, of different dimensions or there twice, and for a
    given frequency that is not positive; where it is called, if frequencies or positions have another dimension.
    """

    levels: Levels = eqx.field(static=True)
    frequency: CheckedAxes = eqx.field(static=True)

    def __init__(self, levels: Sequence[Sequence[int]] | np.ndarray, frequency: AxisNumbers):
        table = tuple(tuple(int(n) for n in level) for level in levels)
        if not table or len({len(level) for level in table}) != 1 or not table[0]:
            raise ValueError(f"each orbital needs one quantum number for each axis, got {table}")
        if any(n < 0 for level in table for n in level):
            raise ValueError(f"quantum numbers of a trap are 0, 1, 2, ..., got {table}")
        if len(set(table)) != len(table):
            raise ValueError(f"a level is there twice, so that the determinant would vanish: {table}")
        self.levels = table
        self.frequency = checked_axes("frequency of the orbitals", frequency)

    @property
    def orbitals(self) -> int:
        return len(self.levels)

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return len(self.levels[0])

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, "electrons orbitals"]:
        if r.shape[1] != self.dim:
            raise ValueError(f"the orbitals are those of a {self.dim}-dimensional trap, got positions {r.shape}")
        with jax.named_scope("qernel.orbitals.HarmonicOrbitals"):
            frequency = along_axes("frequency of the orbitals", self.frequency, parameters, self.dim, r.dtype)[None]
            x = jnp.sqrt(frequency) * r
            below, functions = jnp.zeros_like(x), [(frequency / math.pi) ** 0.25 * jnp.exp(-0.5 * x**2)]
            for n in range(max(max(level) for level in self.levels)):
                ladder = math.sqrt(2 / (n + 1)) * x * functions[-1] - math.sqrt(n / (n + 1)) * below
                below = functions[-1]
                functions.append(ladder)
            # quanta, electrons, axes
            table = jnp.stack(functions)
            quanta = np.asarray(self.levels)
            factors = [table[quanta[:, axis], :, axis] for axis in range(self.dim)]
            return jnp.prod(jnp.stack(factors), axis=0).T
