"""What is wrong with a configuration, in one sentence."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from qernel.systems import system_section

from ._config import Config


class ConfigurationError(ValueError):
    """A configuration that cannot be used; the message is one sentence for the user."""


def sections(system: str) -> dict[str, type[BaseModel]]:
    """The sections of a configuration of a system, by name."""
    found = {
        name: field.annotation
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    return found | {"system": system_section(system)}


def known_keys(system: str) -> tuple[str, ...]:
    """The full dotted names of all keys of a configuration of a system."""
    return tuple(f"{name}.{key}" for name, section in sections(system).items() for key in section.model_fields)


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate most like `word`, by its whole name or its last part; None if none is."""
    # What is so long is no slip of a finger, and its comparison takes the square of its length.
    if len(word) > 60:
        return None
    scores = {}
    for candidate in candidates:
        last, own = candidate.rpartition(".")[2], word.rpartition(".")[2]
        pairs = ((word, candidate), (own, last), (word, last))
        scores[candidate] = max(difflib.SequenceMatcher(None, a.lower(), b.lower()).ratio() for a, b in pairs)
        # The right section counts, but less than the right key.
        if "." in word and candidate.split(".")[0] == word.split(".")[0]:
            scores[candidate] += 0.05
    best = max(scores, key=lambda name: scores[name], default=None)
    return best if best is not None and scores[best] >= 0.6 else None


def unknown_key(key: str, system: str) -> str:
    """The sentence for a key that does not exist."""
    keys = (*known_keys(system), "description")
    guess = nearest(key, keys)
    if guess is not None:
        return f"unknown configuration key {show(key)}: did you mean '{guess}'?"
    section = key.split(".")[0]
    inside = [name for name in keys if name.startswith(section + ".")]
    choices = inside or sorted({name.split(".")[0] for name in known_keys(system)})
    return f"unknown configuration key {show(key)}: there are {', '.join(choices)}"


_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a table",
    "finite_number": "a finite number",
}
_BOUNDS = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


# Of what a user typed, a message repeats so much that it is recognised.
_FEW = 12
_LONGEST = 160
_SENTENCE = 600


def explain(error: ValidationError, system: str, prefix: tuple[str, ...] = ()) -> str:
    """The first mistake that pydantic found, in the user's terms; `prefix`, the section that alone was validated."""
    # A misspelt key is the likeliest cause of the others.
    found = sorted(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
    first = found[0]
    location = (*prefix, *first["loc"])
    key = one_line(_dotted(location))
    kind, context, given = first["type"], first.get("ctx", {}), first.get("input")
    if kind == "extra_forbidden":
        return unknown_key(key, system)
    if kind == "value_error":
        # Systems, and those of a user's own, repeat what they were given.
        message = one_line(str(context["error"]), _SENTENCE)
        return f"{key} {message}" if message.startswith("must") else f"{key}: {message}"
    if kind == "literal_error":
        return _choice(key, str(context["expected"]), given)
    if kind in ("model_type", "model_attributes_type"):
        return f"{key} is a section: write [{key}] and its keys below, or {key}.KEY = VALUE"
    if kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        limit = context[bound]
        return f"{key} must be {words} {limit if isinstance(limit, int) else f'{limit:g}'}, got {show(given)}"
    if kind in ("too_short", "too_long") or (kind == "missing" and len(location) > 2):
        return f"{_dotted(location[:2])} has the wrong number of entries"
    if kind in _KINDS:
        return f"{key} must be {_expected(location, _KINDS[kind], system)}, got {show(given)}"
    return f"{key}: {first['msg'][0].lower()}{first['msg'][1:]}, got {show(given)}"


def _choice(key: str, expected: str, given: Any) -> str:
    choices = [choice.strip("' ") for choice in expected.replace(" or ", ", ").split(",")]
    guess = nearest(given, choices) if isinstance(given, str) else None
    hint = f": did you mean '{guess}'?" if guess else ""
    return f"{key} must be one of {', '.join(choices)}, got {show(given)}{hint}"


def _expected(location: tuple[int | str, ...], kind: str, system: str) -> str:
    section = sections(system).get(str(location[0])) if location else None
    if kind == "a list" and section is not None:
        default = section.model_fields[str(location[1])].default
        return f"a list such as {show(default)}"
    return kind


def _dotted(location: tuple[int | str, ...]) -> str:
    names = [str(part) for part in location if isinstance(part, str)]
    entries = [f"[{part}]" for part in location if isinstance(part, int)]
    return ".".join(names) + "".join(entries)


def show(value: Any) -> str:
    """A value as TOML writes it, or its beginning, in one line that any terminal can print."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list):
        few = [show(entry) for entry in value[:_FEW]] + ["..."] * (len(value) > _FEW)
        return one_line("[" + ", ".join(few) + "]")
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, int):
        # Python writes no number of thousands of digits.
        return f"{value}" if abs(value) < 10**40 else f"a number of {value.bit_length() * 3 // 10} digits"
    return one_line(f"'{value}'" if isinstance(value, str) else f"{value}")


def one_line(text: str, most: int = _LONGEST) -> str:
    """A text with marks in place of what does not print, and only its beginning and end if it is longer than `most`."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return plain if len(plain) <= most else f"{plain[: most - 20]}...{plain[-15:]}"
