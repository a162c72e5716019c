"""Standard output that a command outlives."""

import contextlib
import io
import os
from typing import Any


class Outlived(io.TextIOBase):
    """A stream that may go away, a pipe that was closed or a terminal that was lost: from then on it swallows.

    A training of days must not end because of a line that nobody reads.

    **Arguments:** `stream`: what is written to.
    """

    def __init__(self, stream: Any):
        self._stream = stream
        self._gone = False

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Whether it is a terminal that is still there."""
        return not self._gone and self._stream.isatty()

    def fileno(self) -> int:
        """The number of the file."""
        return self._stream.fileno()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Write, or swallow; characters that the encoding lacks are written as their numbers."""
        if not self._gone:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode("ascii", "backslashreplace").decode())
            except (OSError, ValueError):
                self._lose()
        return len(text)

    def flush(self) -> None:
        """Pass on what was written."""
        if not self._gone:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._lose()

    def _lose(self) -> None:
        self._gone = True
        # What is still in the buffer would fail once more when Python ends.
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
