"""Cells of moiré systems by a number or a matrix."""

import re

from qernel.lattice import triangular_index

Index = tuple[tuple[int, int], tuple[int, int]]


def cell_of(size: str) -> Index:
    """A supercell from a number of moiré cells or a matrix of whole numbers.

    **Raises:** `ValueError` if it is neither, or has no zone corner K.
    """
    numbers = [int(n) for n in re.findall(r"-?\d+", size)]
    if re.fullmatch(r"-?\d+", size):
        index = triangular_index(numbers[0])
    elif re.fullmatch(r"\[\[-?\d+,-?\d+\],\[-?\d+,-?\d+\]\]", size.replace(" ", "")):
        index = (numbers[0], numbers[1]), (numbers[2], numbers[3])
    else:
        raise ValueError(f"a size is a number of moiré cells or a matrix such as [[2,2],[-2,4]], got '{size}'")
    (a, b), (c, d) = index
    # K = (b1 + 2 b2)/3, whose phases along the cell's vectors must be whole turns.
    if (a + 2 * b) % 3 or (c + 2 * d) % 3:
        raise ValueError(
            f"the zone corner K is no wave vector of the cell {size}, so that its crystal does not fit: "
            "take 3, 9, 12, 21, 27, 36 or another multiple of 3"
        )
    return index


def cells_in(index: Index) -> int:
    """Moiré cells in a supercell."""
    (a, b), (c, d) = index
    return abs(a * d - b * c)


def electrons_in(index: Index, electrons: tuple[int, int], before: Index) -> tuple[int, int]:
    """The electrons of each spin in a cell at the filling that another one has.

    **Raises:** `ValueError` if they are no whole numbers.
    """
    cells, old = cells_in(index), cells_in(before)
    if cells == 0 or any((n * cells) % old for n in electrons):
        raise ValueError(
            f"{cells} moiré cells hold no whole number of electrons at the filling of {sum(electrons)} in {old}"
        )
    up, down = (n * cells // old for n in electrons)
    return up, down
