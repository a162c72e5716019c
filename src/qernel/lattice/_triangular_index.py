import math

# A million square roots in all.
_MOST = 10**12


def triangular_index(cells: int) -> tuple[tuple[int, int], tuple[int, int]]:
    r"""Supercell of `cells` primitive cells that keeps the symmetry of a triangular lattice,

    $$ A_1 = m\,a_1 + k\,a_2, \qquad A_2 = -k\,a_1 + (m + k)\,a_2, \qquad m^2 + mk + k^2 = \texttt{cells}, $$

    $A_2$ being $A_1$ turned by 60°. If there are several, that with the smallest $k$ is taken. A plane wave of the zone
    corner K is periodic in it if and only if 3 divides `cells`.

    **Returns:** the rows (m, k) and (-k, m + k), for [`supercell`][qernel.lattice.supercell].

    **Raises:** `ValueError` if there is none; the message names the nearest numbers that have one. And for more cells
    than anybody has counted.

    **Example:**

    ```python
    from qernel.lattice import supercell, triangular, triangular_index

    assert supercell(triangular(10.6), triangular_index(7)).cells == 7
    ```
    """
    if cells > _MOST:
        raise ValueError(f"no supercell of more than {_MOST:.0e} cells is looked for")
    found = _indices(cells)
    if not found:
        below = next((n for n in range(cells - 1, 0, -1) if _indices(n)), None)
        above = next(n for n in range(max(cells, 0) + 1, 2 * abs(cells) + 5) if _indices(n))
        near = f"{above}" if below is None else f"{below} or {above}"
        raise ValueError(f"no supercell of {cells} cells keeps the symmetry of the triangular lattice: take {near}")
    m, k = found[0]
    return (m, k), (-k, m + k)


def _indices(cells: int) -> list[tuple[int, int]]:
    # k ≤ m, so that 3k² ≤ cells; and m is the positive root of its quadratic equation.
    found = []
    for k in range(math.isqrt(max(cells, 0) // 3) + 1):
        m = (math.isqrt(4 * cells - 3 * k * k) - k) // 2 if cells > 0 else 0
        if m >= k and 0 < m * m + m * k + k * k == cells:
            found.append((m, k))
    return found
