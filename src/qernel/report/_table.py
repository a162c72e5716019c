"""Tables as the page shows them."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Cell:
    """One entry; `flagged` if it lies beyond a limit."""

    text: str
    flagged: bool = False


@dataclass(frozen=True)
class Table:
    """A caption, the heads of the columns, rows of cells, and perhaps a last row of limits.

    Columns whose head is in `words` are text; all others are numbers, aligned to the right.
    """

    caption: str
    heads: tuple[str, ...]
    rows: list[list[Cell]]
    limits: tuple[str, ...] = ()
    words: tuple[str, ...] = field(default=())


def scientific(value: float, digits: int = 1) -> str:
    """1.2×10⁻³ for 0.0012."""
    if not np.isfinite(value):
        return "–"
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa}×10{superscript(int(exponent))}"


def superscript(number: int) -> str:
    """⁻³ for -3."""
    return str(number).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def fixed(value: float, digits: int) -> str:
    """A number with so many decimals, a dash where there is none."""
    return f"{value:.{digits}f}" if np.isfinite(value) else "–"
