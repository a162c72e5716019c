"""Plain sentences and numbers as a page should show them."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._axis import Axis
from ._table import superscript

if TYPE_CHECKING:
    from markupsafe import Markup

# A hyphen before a number is a minus sign; one inside a word or a date stays.
_MINUS = re.compile(r"(?<![\w-])-(?=[\d.])")
_POWER = re.compile(r"(\d)e([+-]\d+)")
_SUBSCRIPT = re.compile(r"\b(a|r)_(\w+)")


def typesetter(axis: Axis) -> Callable[[str], "Markup"]:
    """A filter: true minus signs, powers of ten, subscripts, and the symbol of the parameter for its key."""
    from markupsafe import Markup, escape

    def typeset(text: str) -> Markup:
        text = "–" if text == "-" else text.replace(f"d({axis.key})", f"d{axis.symbol}").replace("V0", "V₀")
        text = _POWER.sub(lambda match: f"{match[1]}×10{superscript(int(match[2]))}", _MINUS.sub("−", text))
        return Markup(_SUBSCRIPT.sub(r"\1<sub>\2</sub>", str(escape(text))))

    return typeset
