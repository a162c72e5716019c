from collections.abc import Callable, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ._harmonic_orbitals import HarmonicOrbitals
from ._interpolation import interpolated, node_tables
from ._orbitals import AbstractOrbitals


class TrapOrbitals(AbstractOrbitals):
    r"""Orbitals expanded in oscillator functions, with coefficients that change along a family,

    $$ \phi_n(r; \lambda) = \sum_a h_a(r; \Omega(\lambda))\, C_{an}(s(\lambda)) , $$

    such as Hartree-Fock orbitals of electrons that repel one another in a trap. The coefficients are known at nodes of
    one coordinate s and joined between them as those of
    [`InterpolatedOrbitals`][qernel.orbitals.InterpolatedOrbitals].

    **Arguments:**

    - `functions`: the oscillator functions $h_a$, whose frequency Ω may follow the parameters.
    - `nodes`: ascending values of s.
    - `coefficients`: (nodes, functions, orbitals), real, in a gauge that varies smoothly.
    - `coordinate`: the function s(λ) of the Hamiltonian's parameters.

    **Raises:** `ValueError` if the nodes do not ascend or the shapes do not fit.

    **Example:** two orbitals of a trap, the second one of angular momentum zero.

    ```python
    import jax.numpy as jnp
    from qernel.orbitals import HarmonicOrbitals, TrapOrbitals

    functions = HarmonicOrbitals([(0, 0), (2, 0), (0, 2)], 1.0)
    mixed = [[[1.0, 0.0], [0.0, 0.5**0.5], [0.0, 0.5**0.5]]]
    orbitals = TrapOrbitals(functions, [0.0], jnp.array(mixed), lambda parameters: jnp.zeros(()))
    ```
    """

    functions: HarmonicOrbitals
    values: Float[Array, "nodes functions orbitals"]
    slopes: Float[Array, "nodes functions orbitals"]
    nodes: tuple[float, ...] = eqx.field(static=True)
    coordinate: Callable[[PyTree], Float[Array, ""]]

    def __init__(
        self,
        functions: HarmonicOrbitals,
        nodes: Float[np.ndarray, " nodes"] | Sequence[float],
        coefficients: Float[Array | np.ndarray, "..."],
        coordinate: Callable[[PyTree], Float[Array, ""]],
    ):
        self.functions = functions
        self.nodes, self.values, self.slopes = node_tables(nodes, coefficients, functions.orbitals)
        self.coordinate = coordinate

    @property
    def orbitals(self) -> int:
        return self.values.shape[2]

    def __call__(self, r: Float[Array, "electrons dim"], parameters: PyTree) -> Float[Array, "electrons orbitals"]:
        with jax.named_scope("qernel.orbitals.TrapOrbitals"):
            table = interpolated(self.nodes, self.values, self.slopes, self.coordinate(parameters))
            functions = self.functions(r, parameters)
            return jnp.matmul(functions, table.astype(functions.dtype), precision="highest")
