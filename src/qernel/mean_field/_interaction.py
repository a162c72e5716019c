import dataclasses

import numpy as np
from jaxtyping import Float

from ._grid import Grid


@dataclasses.dataclass(frozen=True)
class Interaction:
    r"""An interaction of all pairs, $\sum_{i<j} v(r_i - r_j) + N\xi/2$, in a periodic cell.

    - `kernel`: $v_q/\Omega$ with $v_q = \int v(s)\,e^{-iq\cdot s}\,d^ds$ at the waves of the grid, in the order of a
      Fourier transform; Ha*.
    - `self_image`: ξ/2, the energy of each electron with its own images; Ha*.
    - `coulomb`: the prefactor of 1/r, 0 for another interaction.
    """

    kernel: Float[np.ndarray, "..."]
    self_image: float = 0.0
    coulomb: float = 0.0


def coulomb_kernel(grid: Grid) -> Float[np.ndarray, "..."]:
    """v_q/Ω of 1/r with a neutralising background: 2π/q in two dimensions, 4π/q² in three, 0 at q = 0.

    Raises `ValueError` in one dimension, where 1/r has no Fourier coefficients.
    """
    dim = len(grid.shape)
    length = np.linalg.norm(grid.wave_numbers @ grid.waves.lattice.reciprocal, axis=-1)
    length.flat[0] = 1.0
    if dim == 2:
        kernel = 2 * np.pi / length
    elif dim == 3:
        kernel = 4 * np.pi / length**2
    else:
        raise ValueError(f"plane-wave Hartree-Fock knows the Coulomb kernel in 2D and 3D, not {dim}D")
    # The uniform background and the self-image constant hold all that q = 0 contributes.
    kernel.flat[0] = 0.0
    return kernel / grid.waves.lattice.volume
