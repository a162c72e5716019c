"""Configurations from presets, files and the command line, and back into a file."""

import functools
import os
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from qernel.systems import system_names

from ._config import DEFAULT_SYSTEM, Config, SectionError
from ._decode import configuration_text
from ._explain import ConfigurationError, explain, known_keys, nearest, one_line, show, unknown_key

DEFAULT_PRESET = "moire-6"


@functools.cache
def preset_names() -> tuple[str, ...]:
    """The names of the shipped presets, small systems first."""
    found = {entry.name.removesuffix(".toml"): entry for entry in _folder().iterdir() if entry.name.endswith(".toml")}

    def electrons(name: str) -> tuple[int, str]:
        return sum(tomllib.loads(found[name].read_text(encoding="utf-8"))["system"]["electrons"]), name

    return tuple(sorted(found, key=electrons))


def _folder():
    return resources.files("qernel.presets").joinpath("data")


def preset_text(name: str) -> str:
    """The TOML text of a preset.

    **Raises:** `ConfigurationError` for an unknown name.
    """
    if name not in preset_names():
        guess = nearest(name, preset_names())
        hint = f"did you mean '{guess}'?" if guess else f"there are {', '.join(preset_names())}"
        raise ConfigurationError(f"there is no preset and no file {show(name)}: {hint}")
    return _folder().joinpath(f"{name}.toml").read_text(encoding="utf-8")


def preset(name: str = DEFAULT_PRESET, *overrides: str) -> Config:
    """A shipped preset, with `overrides` such as "training.steps=100" or "steps=100".

    **Raises:** `ConfigurationError` in one sentence.
    """
    return parse(preset_text(name), overrides, source=f"preset {name}")


def load(source: str | Path | Config, overrides: Sequence[str] = ()) -> Config:
    """A configuration from a preset's name, a TOML file or another configuration, with `overrides`.

    **Raises:** `ConfigurationError` in one sentence.
    """
    if isinstance(source, Config):
        return parse(to_toml(source), overrides) if overrides else source
    # Not by `Path`, which raises where a name is too long for a file.
    text = os.fspath(source)
    if text in preset_names() and not os.path.isfile(text):
        return preset(text, *overrides)
    if os.path.isdir(text):
        raise ConfigurationError(f"{text} is a directory: give a preset or a TOML file")
    path = Path(text)
    if not os.path.exists(text) and path.suffix != ".toml" and len(path.parts) < 2:
        return preset(text, *overrides)
    return parse(configuration_text(text), overrides, source=one_line(text, 1024))


def parse(text: str, overrides: Sequence[str] = (), *, source: str = "configuration") -> Config:
    """A configuration from TOML text, with `overrides`."""
    try:
        table = tomllib.loads(text)
    except RecursionError:
        raise ConfigurationError(f"{source} is no configuration: its lists or tables are nested too deeply") from None
    # Not only errors of TOML: Python refuses numbers of thousands of digits.
    except ValueError as error:
        raise ConfigurationError(f"{source} is not valid TOML: {one_line(str(error))}") from None
    try:
        system = _system_of(table, overrides)
        for override in overrides:
            _override(table, override, system)
        return Config.model_validate(_tuples(table))
    except SectionError as found:
        raise ConfigurationError(explain(found.error, system, (found.section,))) from None
    except ValidationError as error:
        raise ConfigurationError(explain(error, system)) from None


def _system_of(table: dict[str, Any], overrides: Sequence[str]) -> str:
    """Name of the system of a configuration: what keys there are depends on it."""
    section = table.get("system", {})
    name = section.get("name", DEFAULT_SYSTEM) if isinstance(section, dict) else DEFAULT_SYSTEM
    for override in overrides:
        key, _, text = override.partition("=")
        if key.strip() == "system.name":
            name = _value(text.strip())
    if name not in system_names():
        raise ConfigurationError(f"system.name must be one of {', '.join(system_names())}, got {show(name)}")
    return str(name)


def _override(table: dict[str, Any], override: str, system: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigurationError(f"an override has the form key=value, got {show(override)}")
    *sections, name = full_key(key.strip(), system).split(".")
    inner = table
    for section in sections:
        inner = inner.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigurationError(f"{section} must be a section of the file")
    inner[name] = _value(text.strip())


# Points by coordinate, which have names of their own.
_POINTS = "evaluation.at."


def full_key(key: str, system: str) -> str:
    """The full dotted name of a key, from itself or from its last part where only one key ends so.

    **Raises:** `ConfigurationError` for an unknown or ambiguous key.
    """
    keys = known_keys(system)
    if key in keys or (key.startswith(_POINTS) and key != _POINTS):
        return key
    matches = [name for name in keys if name.rpartition(".")[2] == key]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ConfigurationError(f"'{key}' could be {' or '.join(matches)}: write the one you mean in full")
    raise ConfigurationError(unknown_key(key, system))


def _value(text: str) -> Any:
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        # A word needs no quotes on the command line.
        return text
    # A line break would begin another key.
    return table["value"] if table.keys() == {"value"} else text


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(entry) for entry in value)
    return value


def to_toml(config: Config, provenance: Mapping[str, Any] | None = None) -> str:
    """The whole resolved configuration as TOML; `parse` reads it back."""
    table = config.model_dump(mode="json")
    table["provenance"] = dict(provenance) if provenance is not None else table["provenance"]
    return tomli_w.dumps({key: entry for key, entry in table.items() if entry != {} and entry != ""})
