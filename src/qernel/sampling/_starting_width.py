"""How far the first moves go."""

import numpy as np
from jaxtyping import Array, ArrayLike, Float


def starting_width(
    positions: Float[Array | np.ndarray, "hamiltonians walkers electrons dim"], step_size: ArrayLike | None = None
) -> Float[np.ndarray, " hamiltonians"]:
    r"""Width of the first moves of each Hamiltonian's walkers, unit of length: `step_size`, or a guess,

    $$ \sigma = 0.3\,N^{-1/d} \Bigl(\frac1d\sum_a \operatorname{Var} r_a\Bigr)^{1/2} , $$

    a part of the mean spacing of N electrons that are spread as the walkers are. The sampler adapts it.

    **Arguments:** `step_size`, one number, or one for each Hamiltonian.

    **Raises:** `ValueError` for a width that is not positive, walkers that are not finite, and where every walker of a
    Hamiltonian has two electrons, or, without a `step_size`, all electrons of all walkers are at one place: no width
    would be in proportion, and one of zero never grows.
    """
    where = np.asarray(positions)
    hamiltonians, _, electrons, dim = where.shape
    broken = np.argwhere(~np.all(np.isfinite(where), axis=(2, 3)))
    if len(broken):
        raise ValueError(
            f"the positions of {len(broken)} walkers are not finite, the first is number {broken[0][1]} of Hamiltonian "
            f"{broken[0][0]}"
        )
    for number, walkers in enumerate(where):
        # A few may have, and will be moved apart: log ψ = -∞ there, and every move is accepted.
        if all(len(np.unique(walker, axis=0)) < electrons for walker in walkers):
            raise ValueError(
                f"every walker of Hamiltonian {number} has two electrons at the same place, where wavefunctions vanish "
                "and potentials diverge: spread them, see qernel.sampling.initial_positions"
            )
    if step_size is not None:
        widths = np.asarray(step_size, np.float64)
        if widths.shape not in ((), (hamiltonians,)) or not np.all(np.isfinite(widths) & (widths > 0)):
            raise ValueError(
                f"step_size must be a positive number, or one for each of {hamiltonians} Hamiltonians, got {step_size}"
            )
        return np.broadcast_to(widths, (hamiltonians,))
    variance = np.var(np.asarray(where, np.float64), axis=(1, 2)).mean(axis=1)
    if np.any(variance == 0):
        raise ValueError(
            f"all walkers of Hamiltonian {int(np.argmin(variance))} are at one place, which does not say how far they "
            "should move: spread them, see qernel.sampling.initial_positions, or give step_size="
        )
    return 0.3 * np.sqrt(variance) / electrons ** (1 / dim)
