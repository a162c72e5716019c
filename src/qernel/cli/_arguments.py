"""Arguments that the parser does not know: several values after one option, points, and key=value."""

import contextlib
import itertools
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from qernel.presets import ConfigurationError, configuration_text, preset_names, show

_MOST_POINTS = 10_000


def is_point(text: str) -> bool:
    """Whether a word names values of coordinates, and is no setting: the keys of settings have sections."""
    name, equals, _ = text.partition("=")
    return bool(equals) and not text.startswith("-") and "." not in name


def is_name(text: str) -> bool:
    """Whether a word is neither a setting, an option nor a preset or file."""
    return not (text.startswith("-") or "=" in text or text in preset_names() or text.endswith(".toml"))


def is_size(text: str) -> bool:
    """Whether a word is a number or a matrix."""
    return text.startswith("[") or text.strip("-,").replace(",", "").isdecimal()


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
    count = 0
    for word in words:
        lists: dict[str, list[float]] = {}
        name = ""
        for part in word.strip(",").split(","):
            left, equals, right = part.rpartition("=")
            name = left.strip() if equals else name
            if not name:
                raise ConfigurationError(f"a point has the form COORDINATE=VALUE, got {show(word)}")
            lists.setdefault(name, []).append(_number(name, right))
        # All combinations: a few long lists name more points than there is memory.
        count += math.prod(len(values) for values in lists.values())
        if count > _MOST_POINTS:
            raise ConfigurationError(f"at most {_MOST_POINTS} points are measured at once, got {count} or more")
        points += [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]
    if len({tuple(point) for point in points}) > 1:
        raise ConfigurationError("all points must name the same coordinates")
    return [dict(point) for point in dict.fromkeys(tuple(p.items()) for p in points)]


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ConfigurationError(f"{show(name)[1:-1]} must be a number, got {show(text)}") from None
    if value != value or value in (float("inf"), float("-inf")):
        raise ConfigurationError(f"{show(name)[1:-1]} must be a finite number, got {show(text)}")
    return value


@contextlib.contextmanager
def source_of(arguments: Sequence[str] | None) -> Iterator[tuple[str | None, list[str]]]:
    """The preset or file, if one is given, and the overrides among the arguments of a command.

    A command reads its configuration several times, and a pipe (`<(...)`, `/dev/stdin`) can be read once: its text is
    kept in a file for as long.

    **Raises:** `ConfigurationError` for more than one preset or file, and a pipe that cannot be read.
    """
    source, overrides = split_source(arguments or [])
    if source is None or os.path.isfile(source) or os.path.isdir(source) or not os.path.exists(source):
        yield source, overrides
        return
    text = configuration_text(source)
    with tempfile.TemporaryDirectory(prefix="qernel-") as folder:
        copy = Path(folder) / "configuration.toml"
        copy.write_text(text, encoding="utf-8")
        yield str(copy), overrides


def split_source(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The preset or file, if one is given, and the overrides among the arguments of a command.

    **Raises:** `ConfigurationError` for more than one preset or file.
    """
    # By `os.path`: what is longer than a file's name can be is none, and no error.
    overrides = [a for a in arguments if "=" in a and (os.path.isdir(a) or not os.path.exists(a))]
    sources = [a for a in arguments if a not in overrides]
    if len(sources) > 1:
        given = " and ".join(map(show, sources[:3]))
        raise ConfigurationError(f"one preset or file at a time, got {given}: overrides have the form key=value")
    return (sources[0] if sources else None), overrides


def check_folder(path: Path) -> Path:
    """A folder for results, refused before anything is computed if it could not be made or written in.

    **Raises:** `ConfigurationError` that says what is in the way.
    """
    above = path.absolute()
    try:
        while not above.exists() and above != above.parent:
            above = above.parent
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigurationError(f"{show(str(path))} cannot be a folder: {reason.lower()}") from None
    if not above.is_dir():
        raise ConfigurationError(f"{path} cannot be a folder for results: {above} is a file")
    if not os.access(above, os.W_OK | os.X_OK):
        raise ConfigurationError(f"{path} cannot be written: {above} does not allow it")
    return path


def check_page(path: Path) -> Path:
    """A file to be written, refused before anything is computed if it could not be.

    **Raises:** `ConfigurationError` that says what is in the way.
    """
    if path.is_dir():
        raise ConfigurationError(f"{path} is a directory: give the name of a page, such as {path / 'report.html'}")
    check_folder(path.parent)
    return path
