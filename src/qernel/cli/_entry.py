"""Where the command begins: before JAX is there, which reads its environment while it is imported."""

import sys
from collections.abc import Sequence

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
    of_commands(arguments)
