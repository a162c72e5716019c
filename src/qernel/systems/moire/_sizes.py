"""Cells of moiré systems by a number or a matrix."""

import re

from qernel.lattice import triangular_index

Index = tuple[tuple[int, int], tuple[int, int]]

# Orbitals and wave vectors of the whole cell are listed; with a hundred times the cells of the largest preset none of
# the networks could be trained.
MOST_CELLS = 10_000


def check_cells(index: Index) -> None:
    """Refuse a supercell that no wavefunction could be made for.

    **Raises:** `ValueError` if it has too many cells, or is so skewed that its vectors say nothing of its shape.
    """
    # The vectors first: of much larger ones even the number of cells may have no words.
    if max(abs(n) for row in index for n in row) > MOST_CELLS:
        raise ValueError(f"must have vectors of at most {MOST_CELLS} moiré cells")
    if cells_in(index) > MOST_CELLS:
        raise ValueError(f"must hold at most {MOST_CELLS} moiré cells, got {cells_in(index)}")


def cell_of(size: str) -> Index:
    """A supercell from a number of moiré cells or a matrix of whole numbers.

    **Raises:** `ValueError` if it is neither, or has no zone corner K.
    """
    # Numbers of so many digits are refused below; Python itself refuses to read thousands of them.
    numbers = [int(n[:20]) for n in re.findall(r"-?\d+", size)]
    if re.fullmatch(r"-?\d+", size):
        if numbers[0] > MOST_CELLS:
            raise ValueError(f"a size is a number of at most {MOST_CELLS} moiré cells, got {size[:40]}")
        index = triangular_index(numbers[0])
    elif re.fullmatch(r"\[\[-?\d+,-?\d+\],\[-?\d+,-?\d+\]\]", size.replace(" ", "")):
        index = (numbers[0], numbers[1]), (numbers[2], numbers[3])
    else:
        raise ValueError(f"a size is a number of moiré cells or a matrix such as [[2,2],[-2,4]], got {size[:80]!r}")
    (a, b), (c, d) = index
    # K = (b1 + 2 b2)/3, whose phases along the cell's vectors must be whole turns.
    if (a + 2 * b) % 3 or (c + 2 * d) % 3:
        raise ValueError(
            f"the zone corner K is no wave vector of the cell {size}, so that its crystal does not fit: "
            "take 3, 9, 12, 21, 27, 36 or another multiple of 3"
        )
    if cells_in(index) > MOST_CELLS or max(map(abs, (a, b, c, d))) > MOST_CELLS:
        raise ValueError(f"a size has at most {MOST_CELLS} moiré cells, and vectors of no more, got {size[:80]}")
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
