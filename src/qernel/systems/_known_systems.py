"""The systems that are shipped: one folder each, found by looking."""

import importlib
import pkgutil
from pathlib import Path

from ._section import SystemSection


def system_names() -> tuple[str, ...]:
    """Names of the shipped systems: the folders beside this file."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules([str(Path(__file__).parent)]) if found.ispkg))


def system_section(name: str) -> type[SystemSection]:
    """The class of a shipped system's [system] section.

    **Raises:** `ValueError` for a name that no shipped system has.
    """
    if name not in system_names():
        raise ValueError(f"there is no system '{name}': there are {', '.join(system_names())}")
    return importlib.import_module(f"qernel.systems.{name}").SECTION
