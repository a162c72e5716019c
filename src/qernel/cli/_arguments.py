"""Arguments that the parser does not know: several values after one option, points, and key=value."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

from qernel.presets import ConfigurationError, preset_names


def is_point(text: str) -> bool:
    """Whether a word names values of coordinates, and is no setting: the keys of settings have sections."""
    name, equals, _ = text.partition("=")
    return bool(equals) and not text.startswith("-") and "." not in name


def is_name(text: str) -> bool:
    """Whether a word is neither a setting, an option nor a preset or file."""
    return not (text.startswith("-") or "=" in text or text in preset_names() or text.endswith(".toml"))


def is_size(text: str) -> bool:
    """Whether a word is a number or a matrix."""
    return text.startswith("[") or text.strip("-,").replace(",", "").isdigit()


def spread_values(arguments: Sequence[str], option: str, belongs: Callable[[str], bool]) -> list[str]:
    """`--at kappa=0 kappa=1` as `--at kappa=0 --at kappa=1`: what belongs to the option and follows a value is one."""
    spread: list[str] = []
    open_ = False
    for argument in arguments:
        if argument == option or argument.startswith(option + "="):
            open_ = True
        elif open_ and belongs(argument):
            if spread[-1] != option:
                spread.append(option)
        elif not (open_ and spread[-1] == option):
            open_ = False
        spread.append(argument)
    return spread


def points_of(words: Sequence[str] | None) -> list[dict[str, float]] | None:
    """Points from the values of `--at`, each a value of the coordinates that it names; None if it was not given.

    `kappa=0.1,omega_y=2` is a point; `kappa=0.1,0.2,omega_y=2` are two: all combinations of the values.

    **Raises:** `ConfigurationError` for anything that is not of this form.
    """
    if not words:
        return None
    points: list[dict[str, float]] = []
    for word in words:
        lists: dict[str, list[float]] = {}
        name = ""
        for part in word.strip(",").split(","):
            left, equals, right = part.rpartition("=")
            name = left.strip() if equals else name
            if not name:
                raise ConfigurationError(f"a point has the form COORDINATE=VALUE, got '{word}'")
            lists.setdefault(name, []).append(_number(name, right))
        points += [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    if len({tuple(point) for point in points}) > 1:
        raise ConfigurationError("all points must name the same coordinates")
    return [dict(point) for point in dict.fromkeys(tuple(p.items()) for p in points)]


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ConfigurationError(f"{name} must be a number, got '{text}'") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise ConfigurationError(f"{name} must be a finite number, got '{text}'")
    return value


def split_source(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The preset or file, if one is given, and the overrides among the arguments of `run`.

    **Raises:** `ConfigurationError` for more than one preset or file.
    """
    overrides = [a for a in arguments if "=" in a and not Path(a).is_file()]
    sources = [a for a in arguments if a not in overrides]
    if len(sources) > 1:
        raise ConfigurationError(
            f"one preset or file at a time, got {' and '.join(sources)}: overrides have the form key=value"
        )
    return (sources[0] if sources else None), overrides
