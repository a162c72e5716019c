"""Errors and warnings as sentences; what a user did wrong never ends in a traceback."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import NoReturn

import typer
from rich.console import Console

# Exit codes: 2 for input that cannot be used, 1 for a run that failed, 130 for Ctrl-C.
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def error_console() -> Console:
    """Standard error, in colour where it is a terminal."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def sentences(traceback: bool) -> Iterator[None]:
    """Run a command: warnings as lines, errors as one sentence and an exit code."""
    console = error_console()
    seen: set[str] = set()

    def show(message, category, filename, lineno, file=None, line=None):
        text = str(message)
        if text not in seen:
            seen.add(text)
            console.print(f"[yellow]warning:[/] {_plain(text)}")

    with warnings.catch_warnings():
        # Only ours and what is addressed to users: a dependency's deprecations are not the user's to mend.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", category=UserWarning, module=r"qernel|__main__")
        warnings.filterwarnings("always", category=UserWarning, message=r".*(checkpoint|open shell|TopK)")
        warnings.showwarning = show
        try:
            yield
        except KeyboardInterrupt as stop:
            # A run that was stopped says how to go on.
            console.print(_plain(str(stop) or "stopped"))
            _leave(INTERRUPTED)
        except (ValueError, OSError, RuntimeError) as error:
            if traceback:
                raise
            console.print(f"[red]error:[/] {_plain(_sentence(error))}")
            _leave(BAD_INPUT if isinstance(error, ValueError | OSError) else FAILED)


def _leave(code: int) -> NoReturn:
    hosts = sys.modules.get("qernel.hosts")
    if hosts is not None and hosts.several():
        # The usual end would wait for processes that may be gone.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code) from None


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = f" {os.fspath(error.filename)}" if error.filename else ""
        return f"{error.strerror.lower()}:{place}"
    text = str(error).strip()
    # Errors of libraries are long; their first line is the sentence, the rest needs --traceback.
    first = text.splitlines()[0] if text else type(error).__name__
    return first if len(first) < len(text) and not text.startswith(first + " ") else text


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
