"""Arguments that the parser does not know: several values after one option, and key=value."""

from collections.abc import Callable, Sequence
from pathlib import Path

from qernel.presets import ConfigurationError


def is_number(text: str) -> bool:
    """Whether a word is a number, or several with commas."""
    try:
        [float(part) for part in text.strip(",").split(",")]
    except ValueError:
        return False
    return True


def is_name(text: str) -> bool:
    """Whether a word is neither a setting, an option nor a preset or file."""
    from qernel.presets import preset_names

    return not (text.startswith("-") or "=" in text or text in preset_names() or text.endswith(".toml"))


def is_size(text: str) -> bool:
    """Whether a word is a number or a matrix."""
    return text.startswith("[") or is_number(text)


def spread_values(arguments: Sequence[str], option: str, belongs: Callable[[str], bool] = is_number) -> list[str]:
    """`--depth 0 7.5 12.5` as `--depth 0 --depth 7.5 --depth 12.5`: a number after a value belongs to it."""
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


def depths_of(values: Sequence[str] | None) -> tuple[float, ...] | None:
    """Depths in meV from the values of `--depth`; None if it was not given.

    **Raises:** `ConfigurationError` for anything that is not a number.
    """
    if not values:
        return None
    depths = []
    for text in values:
        for part in text.strip(",").split(","):
            try:
                depth = float(part)
            except ValueError:
                raise ConfigurationError(f"a depth must be a number of meV, got '{part}'") from None
            if depth != depth or depth in (float("inf"), float("-inf")):
                raise ConfigurationError(f"a depth must be a finite number of meV, got '{part}'")
            depths.append(depth)
    return tuple(sorted(set(depths)))


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
