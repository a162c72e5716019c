"""Errors and warnings as sentences; what a user did wrong never ends in a traceback, nor does anything else."""

import contextlib
import io
import os
import sys
import traceback as tracebacks
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn, TextIO, cast

import typer
from rich.console import Console
from rich.text import Text

from ._output import Outlived

# Exit codes: 2 for input that cannot be used, 1 for a run that failed, 130 for Ctrl-C.
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def error_console() -> Console:
    """Standard error, in colour where it is a terminal."""
    return Console(file=cast(TextIO, Outlived(sys.stderr)), highlight=False, soft_wrap=True)


def print_anything() -> None:
    """Let standard output write what its encoding lacks as an escape: no letter of a path or a unit ends a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def sentences(traceback: bool) -> Iterator[None]:
    """Run a command: warnings as lines, errors as one sentence and an exit code."""
    console = error_console()
    seen: set[str] = set()

    def show(message, category, filename, lineno, file=None, line=None):
        text = str(message)
        if text not in seen:
            seen.add(text)
            console.print(Text.assemble(("warning:", "yellow"), " ", _plain(text)))

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
            console.print(Text(_plain(str(stop) or "stopped")))
            _leave(INTERRUPTED)
        except typer.Exit:
            raise
        except Exception as error:
            if traceback:
                raise
            console.print(Text.assemble(("error:", "red"), " ", _plain(_sentence(error))))
            _leave(BAD_INPUT if isinstance(error, ValueError | OSError) else FAILED)


def _leave(code: int) -> NoReturn:
    hosts = sys.modules.get("qernel.hosts")
    if hosts is not None and hosts.several():
        # The usual end would wait for processes that may be gone.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code) from None


_LESS_MEMORY = (
    'take fewer walkers, or let training.chunk, training.score_chunk, sampling.chunk and evaluation.chunk be "auto"'
)


def _sentence(error: Exception) -> str:
    text = str(error).strip()
    # Errors of libraries are long; their first line is the sentence, the rest needs --traceback.
    lines = text.splitlines() or [type(error).__name__]
    first = lines[0] if not text.startswith(lines[0] + " ") else text
    if isinstance(error, OSError) and error.strerror:
        # A file may be known by its number alone.
        place = f" {error.filename}" if error.filename else ""
        return f"{error.strerror.lower()}:{place}"
    if isinstance(error, MemoryError):
        return f"the memory of this machine does not suffice: {first}; {_LESS_MEMORY}"
    if first.startswith("RESOURCE_EXHAUSTED"):
        return f"the memory of the device does not suffice ({first.partition(':')[2].strip(' .')}): {_LESS_MEMORY}"
    if _without_device(error, first):
        return (
            f"JAX finds no device of JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}: leave the variable unset to "
            "take what there is; for a GPU install qernel[cuda] on a machine that has one, and see 'qernel doctor'"
        )
    if isinstance(error, UnicodeDecodeError):
        return f"a file that should hold text in UTF-8 does not: {first}"
    if isinstance(error, ValueError | OSError | RuntimeError) and not isinstance(error, RecursionError):
        return first
    return (
        f"{type(error).__name__}: {first} ({_place(error)}); this is a mistake in qernel, not yours: please report it "
        "with what the same command prints with --traceback"
    )


def _without_device(error: Exception, text: str) -> bool:
    # Of a platform that is not installed, JAX makes an assertion that fails.
    asserted = isinstance(error, AssertionError) and _frames(error)[-1].filename.endswith("xla_bridge.py")
    return bool(os.environ.get("JAX_PLATFORMS")) and (asserted or text.startswith("Unable to initialize backend"))


def _frames(error: Exception) -> list[tracebacks.FrameSummary]:
    return tracebacks.extract_tb(error.__traceback__)


def _place(error: Exception) -> str:
    """Where in qernel an error came from: one line that finds it."""
    root = Path(__file__).parents[2]
    here = Path(__file__)
    inside = [f for f in _frames(error) if Path(f.filename).is_relative_to(root) and Path(f.filename) != here]
    frame = (inside or _frames(error))[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}, in {frame.name}"


# A screen.
_LONGEST = 2000


def _plain(text: str) -> str:
    """A text without characters that would move the cursor, and with a beginning and an end that are in sight."""
    plain = "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)
    return plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 100]} ... {plain[-90:]}"
