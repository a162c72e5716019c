"""Files that are either the old or the new one, whatever happens."""

import itertools
import os
import shutil
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a kill leaves either the old or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def set_aside(path: Path) -> None:
    """Rename a file or folder, if it is there, to `NAME.previous-1`, `-2` and so on: an earlier one is never lost."""
    if path.exists():
        path.rename(_aside(path))


def copy_aside(path: Path) -> None:
    """Copy a file, if it is there, to a name that [`set_aside`][qernel.run_directory.set_aside] would give it."""
    if path.exists():
        shutil.copy2(path, _aside(path))


def _aside(path: Path) -> Path:
    names = (path.with_name(f"{path.stem}.previous-{number}{path.suffix}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())
