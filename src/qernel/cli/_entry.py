"""Where the command begins: before JAX is there, which reads its environment while it is imported."""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from ._signals import end_on_signals


def main(arguments: Sequence[str] | None = None) -> None:
    """The command `qernel`, or with `arguments` what it does, without its handlers of signals; ends with
    `SystemExit`."""
    if arguments is None:
        end_on_signals()
    try:
        from ._main import main as of_commands
    except ValueError as error:
        # A variable of JAX, such as JAX_ENABLE_X64, with a value that is none.
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    try:
        of_commands(arguments)
    except SystemExit as end:
        if arguments is None and isinstance(end.code, int) and end.code:
            _leave(end.code)
        raise


def _leave(code: int) -> NoReturn:
    """End now: after a failure a thread of a library may wait for a disk or for memory, and Python for the thread."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
