"""Ctrl-C, SIGTERM and a lost terminal while nothing trains: the command ends at once, in a sentence."""

import contextlib
import contextvars
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

# What is said of a command that is stopped.
_SENTENCE = contextvars.ContextVar("sentence", default="stopped")


def end_on_signals() -> None:
    """End this process on SIGINT, SIGTERM and SIGHUP, with 128 and the number of the signal.

    At once, and not by an exception: one that is raised while Python collects garbage is swallowed. There is nothing to
    save; files are replaced in one stroke, and a lock falls with its process. A training puts its own handlers in their
    place, which save first. SIGHUP stays ignored where it is from the start, as under `nohup`.
    """
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # Of a job in the background of a script SIGINT is ignored as well, and yet it should end when it is told to.
        if number is not None and not (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
            signal.signal(number, _end)


@contextlib.contextmanager
def when_stopped(sentence: str) -> Iterator[None]:
    """Say this if the command is stopped meanwhile."""
    token = _SENTENCE.set(sentence)
    try:
        yield
    finally:
        _SENTENCE.reset(token)


def _end(number: int, frame: FrameType | None) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, f"{_SENTENCE.get()}\n".encode(errors="replace"))
    os._exit(128 + number)
