"""Ctrl-C, SIGTERM, which batch systems send, and SIGHUP, of a lost terminal, as a request that the loop honours after
its step."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from qernel import hosts


class Interrupted(KeyboardInterrupt):
    """The user stopped a run, and all of it is saved; the message says how to go on."""


class Interruption:
    """While it is entered, the first signal only sets `requested`; a second one stops at once."""

    def __init__(self) -> None:
        self.requested: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in signals_that_end():
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def asked(self) -> str:
        """The name of the signal that one of the processes has received; of several, all stop at the same step."""
        number = 0 if self.requested is None else int(self.requested)
        number = hosts.largest(number)
        return signal.Signals(number).name if number else ""

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None:
            raise KeyboardInterrupt
        self.requested = signal.Signals(number)


def signals_that_end() -> list[signal.Signals]:
    """The signals that ask a program to end; SIGHUP is none where it is ignored from the start, as under `nohup`."""
    found = [signal.SIGINT, signal.SIGTERM]
    lost = getattr(signal, "SIGHUP", None)
    if lost is not None and signal.getsignal(lost) is not signal.SIG_IGN:
        found.append(lost)
    return found
