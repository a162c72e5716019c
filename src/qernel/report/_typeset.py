"""Plain sentences and numbers as a page should show them."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from ._table import superscript

if TYPE_CHECKING:
    from markupsafe import Markup

# A hyphen before a number is a minus sign; one inside a word or a date stays.
_MINUS = re.compile(r"(?<![\w-])-(?=[\d.])")
_POWER = re.compile(r"(\d)e([+-]\d+)")
_RAISED = re.compile(r"\^(-?\d)\b")
# One letter with a short index: a_B, ω_y.
_SUBSCRIPT = re.compile(r"(?<![\w])([^\W\d_])_(\w{1,2})(?!\w)")


def typesetter() -> Callable[[str], "Markup"]:
    """A filter: true minus signs, powers and subscripts."""
    from markupsafe import Markup, escape

    def typeset(text: str) -> Markup:
        text = "–" if text == "-" else text
        text = _RAISED.sub(lambda match: superscript(int(match[1])), text)
        text = _POWER.sub(lambda match: f"{match[1]}×10{superscript(int(match[2]))}", _MINUS.sub("−", text))
        return Markup(_SUBSCRIPT.sub(r"\1<sub>\2</sub>", str(escape(text))))

    return typeset
