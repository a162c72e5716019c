"""A command that several processes carry out together."""

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def joined(option: str | None) -> Iterator[bool]:
    """Join the processes that `--distributed` names, and yield whether this is the one that speaks.

    **Raises:** `ValueError` for an option that cannot be read; `RuntimeError` if another process ends before this one.
    """
    if option is None:
        yield True
        return
    arguments = _processes(option)
    import jax

    from qernel import hosts

    hosts.start(*arguments, on_loss=_end)
    try:
        yield hosts.first()
        hosts.finish()
    except jax.errors.JaxRuntimeError as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise RuntimeError(_sentence(lines[0][:200])) from error


def _sentence(reason: str) -> str:
    return (
        "another process of this run has ended, so that this one cannot go on; what was saved is whole: continue "
        f"with 'qernel resume', on as many devices as there are ({reason})"
    )


def _end(reason: str) -> None:
    sys.stdout.flush()
    os.write(sys.stderr.fileno(), f"error: {_sentence(reason)}\n".encode())
    os._exit(1)


def _processes(option: str) -> tuple[str | None, int | None, int | None]:
    if option == "auto":
        return None, None, None
    address, *numbers = option.split(",")
    if len(numbers) != 2 or ":" not in address or not all(map(_is_count, numbers)):
        raise ValueError(f"--distributed must be 'auto' or HOST:PORT,PROCESSES,NUMBER, got {option!r}")
    return address, int(numbers[0]), int(numbers[1])


def _is_count(text: str) -> bool:
    # Of more processes no machine can be made.
    return text.strip().isdecimal() and len(text.strip()) <= 6
