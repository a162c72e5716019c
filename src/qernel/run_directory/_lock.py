"""A lock on the directory of a run: one process writes there, whoever else comes is told which one."""

import contextlib
import datetime
import functools
import json
import os
import platform
import secrets
import threading
import time
import warnings
import weakref
from pathlib import Path
from typing import Any

import psutil

_BEAT = 15.0
# Eight beats: a network file system may show a beat a minute late.
_SILENCE = 120.0


class Lock:
    """The right to write in a directory, held from the moment it is made until `release`, its last reference or the end
    of the process; a context manager. Within one process it may be taken again and again.

    The file names its holder: host, process and since when. A lock is left over, and taken away, if its holder was a
    process of this machine that is no more; or if nobody has touched it for two minutes by the clock of the file
    system, for a holder on another machine or in another container, nor while it was watched for half a minute more:
    that clock may jump. A holder touches it every 15 seconds.

    **Arguments:**

    - `path`: of the file.
    - `what`: the use that the message names, as in "is training in".
    - `wait`: seconds to wait for another holder to end.

    **Raises:** `ValueError` that names the holder, if another process holds it.
    """

    def __init__(self, path: str | Path, *, what: str = "writes in", wait: float = 0.0):
        self.path = Path(path)
        self._token = secrets.token_hex(8)
        until = time.monotonic() + wait
        while not (self._made() or _shared(self.path)):
            holder = _read(self.path)
            if _is_left_over(self.path, holder):
                _take_away(self.path, holder)
            elif time.monotonic() >= until:
                raise ValueError(_refusal(self.path, holder, what))
            else:
                time.sleep(0.1)
        self._stop = threading.Event()
        if _read(self.path).get("token") == self._token:
            threading.Thread(target=_beat, args=(self.path, self._token, self._stop), daemon=True).start()
        # Also at the end of the process, and without a cycle: the thread knows the file, not this object.
        self._end = weakref.finalize(self, _release, self.path, self._token, self._stop, os.getpid())

    def __enter__(self) -> "Lock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Let go of the directory."""
        self._end()

    def check(self) -> None:
        """Raises `RuntimeError` if this process no longer holds the lock: another took it, or it was removed."""
        if self._end.alive and self.path.parent.is_dir() and not _shared(self.path):
            if holder := _read(self.path):
                raise RuntimeError(
                    f"this process did not get to touch {self.path.parent} for {_SILENCE / 60:.0f} minutes, and "
                    f"{_holder(holder)} has taken it over: nothing more is written there"
                )
            raise RuntimeError(
                f"the lock of this process on {self.path.parent} is gone, and perhaps all that was there: nothing more "
                "is written"
            )

    def _made(self) -> bool:
        """Make the file with the name of its holder in it, whole from its first moment; False if there is one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f"{self.path.name}.{self._token}")
        draft.write_text(json.dumps(_this_process() | {"token": self._token}), encoding="utf-8")
        try:
            # The one step that is atomic on network file systems as well.
            os.link(draft, self.path)
            return True
        except FileExistsError:
            return False
        except OSError:
            # A file system without links.
            return self._made_exclusively(draft)
        finally:
            draft.unlink(missing_ok=True)

    def _made_exclusively(self, draft: Path) -> bool:
        try:
            with open(self.path, "x", encoding="utf-8") as file:
                file.write(draft.read_text(encoding="utf-8"))
            return True
        except FileExistsError:
            return False


@functools.cache
def _machine() -> str:
    """What tells apart machines, their boots and their containers: a number of a process means something within one."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    with contextlib.suppress(OSError):
        return f"{platform.node()} {boot.read_text().strip()} {os.readlink(space)}"
    return f"{platform.node()} {psutil.boot_time():.0f}"


def _this_process() -> dict[str, Any]:
    return {
        "host": platform.node(),
        "machine": _machine(),
        "process": os.getpid(),
        "started": _start(os.getpid()),
        "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def _shared(path: Path) -> bool:
    """Whether the lock is this very process's."""
    holder = _read(path)
    return holder.get("machine") == _machine() and holder.get("process") == os.getpid() and _is_running(holder)


def _read(path: Path) -> dict[str, Any]:
    """What a lock says of its holder: nothing, if it is gone or nobody can read it."""
    try:
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _start(process: int) -> str:
    """When a process of this machine began, empty if there is none; tells it from a later one of its number."""
    with contextlib.suppress(OSError, IndexError):
        # In ticks since the machine was started: a clock that is set anew does not change it.
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    with contextlib.suppress(psutil.Error):
        return str(psutil.Process(process).create_time())
    return ""


def _is_running(holder: dict[str, Any]) -> bool:
    """Whether the holder, of this machine, is alive."""
    process, started = holder.get("process"), holder.get("started")
    return isinstance(process, int) and bool(started) and _start(process) == started


def _is_left_over(path: Path, holder: dict[str, Any]) -> bool:
    if holder.get("machine") == _machine():
        return not _is_running(holder)
    probe = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        # The clock of the file system, which touched both: those of two machines may differ.
        probe.touch()
        touched = path.stat().st_mtime_ns
        silence = probe.stat().st_mtime - touched / 1e9
        if silence <= _SILENCE:
            return False
        warnings.warn(
            f"{_holder(holder)} has not touched its lock on {path.parent} for {silence / 60:.0f} minutes: "
            f"taking it over, unless it does within {2 * _BEAT:.0f} seconds",
            stacklevel=3,
        )
        time.sleep(2 * _BEAT)
        return path.stat().st_mtime_ns == touched
    except FileNotFoundError:
        return False
    finally:
        probe.unlink(missing_ok=True)


def _take_away(path: Path, holder: dict[str, Any]) -> None:
    """Remove a lock that was left over; of several processes that try, one does."""
    aside = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, aside)
        if _read(aside).get("token") != holder.get("token"):
            # Another process was faster and has made its own: back with it.
            with contextlib.suppress(OSError):
                os.link(aside, path)
        aside.unlink(missing_ok=True)


def _beat(path: Path, token: str, stop: threading.Event) -> None:
    while not stop.wait(_BEAT):
        with contextlib.suppress(OSError):
            if _read(path).get("token") == token:
                os.utime(path)


def _release(path: Path, token: str, stop: threading.Event, process: int) -> None:
    stop.set()
    # A process that was forked off is not the holder.
    if os.getpid() == process and _read(path).get("token") == token:
        with contextlib.suppress(OSError):
            path.unlink()


def _holder(holder: dict[str, Any]) -> str:
    if not holder:
        return "another process"
    return f"process {holder.get('process')} on {holder.get('host')}, since {holder.get('since')},"


def _refusal(path: Path, holder: dict[str, Any], what: str) -> str:
    return (
        f"{_holder(holder)} {what} {path.parent}: wait until it ends, or choose another directory (if it is no more, "
        f"its lock falls {_SILENCE / 60:.0f} minutes after its last sign of life)"
    )
