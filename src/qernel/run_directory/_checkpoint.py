"""Checkpoints by Orbax: atomic, verified when read, the last few kept. The only module that knows Orbax."""

import contextlib
import gc
import json
import logging
import os
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from qernel import hosts

from ._named_arrays import digest, fingerprint, fingerprints, free, join, split

_CONSTANTS = "constants"
# As often as checkpoints may be taken away while one is read, and as a save is begun again.
_READS, _SAVES = 100, 10
# Orbax gives a save up by the clock on the wall, which may jump; in seconds.
_NEVER = 10**9


# Parts of a training state that those of version 0.1.0 had not.
_SINCE = (".average", ".point", ".mean_variance")


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another model; the message is one sentence for the user."""


class SaveError(RuntimeError):
    """A checkpoint that could not be written; the message is one sentence for the user."""


def _orbax() -> Any:
    # Imported here: it takes most of a second, and `import qernel` must stay light.
    from orbax.checkpoint import v1

    return v1


def checkpoint_steps(directory: str | Path) -> tuple[int, ...]:
    """The steps of the finished checkpoints in a directory, ascending."""
    folder = Path(directory)
    if not folder.is_dir():
        return ()
    # Orbax renames a finished checkpoint to its bare number; an interrupted save keeps a longer name.
    return tuple(sorted(int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()))


class CheckpointWriter:
    """Saves training states in a directory, in the background; the last `keep` of them stay.

    Arrays are stored under the names of their places in the state, with a hash of each; those of `Frozen`
    modules, which no step changes, once for all checkpoints. A kill at any moment leaves the previous
    checkpoints whole. Use as a context manager: leaving it waits for the last save.

    `identity` is plain data that says which model this is; a reader with another identity refuses the
    checkpoint and names what differs.

    **Raises:** `SaveError` if one cannot be written: the disk is full, say. Those before it are whole.
    """

    def __init__(self, directory: str | Path, *, keep: int = 3, identity: Mapping[str, Any] | None = None):
        if keep < 1:
            raise ValueError(f"at least one checkpoint must be kept, got {keep}")
        self.directory = Path(directory).resolve()
        self.identity = dict(identity or {})
        self._failed = False
        self._closing, self._silence = contextlib.ExitStack(), contextlib.ExitStack()
        self._silence.enter_context(_said_once())
        with self._failing("open"):
            self.directory.mkdir(parents=True, exist_ok=True)
            self._plain, self._keep = self._closing.enter_context(_plainly_named(self.directory)), keep
            self._checkpointer: Any = self._opened()
        self._constants: str | None = None
        self._pending: Any = None
        self._start: Callable[[], Any] = lambda: None
        self._step = 0

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> Any:
        training = _orbax().training
        return training.Checkpointer(
            self._plain,
            preservation_policy=training.preservation_policies.LatestN(self._keep),
            cleanup_tmp_directories=True,
        )

    def save(self, step: int, state: PyTree) -> None:
        """Start to save `state` as `step`, unless it is there already; returns before it is on disk.

        Several processes save together: every one of them must call it.
        """
        if hosts.agreed(step in checkpoint_steps(self.directory)):
            return
        state = hosts.shared(state)
        changing, constant = split(state)
        # One save at a time: Orbax would skip a second one in silence.
        self.wait()
        self._step = step
        with self._failing(f"save step {step} in"):
            self._check_room(changing)
            if self._constants is None:
                self._constants = self._save_constants(constant)
            metadata = {
                "step": step,
                "identity": self.identity,
                "leaves": fingerprints(changing),
                "constants": self._constants,
            }
            described = metadata | {"digest": digest(metadata)}
            self._start = lambda: self._checkpointer.save_async(step, changing, force=True, custom_metadata=described)
            with _without_deadline():
                self._pending = self._start()

    def _check_room(self, arrays: dict[str, Any]) -> None:
        """Raises the system's own `OSError` if the folder takes no file of that size: Orbax would say it in a thousand
        lines, and its threads would wait for a folder that cannot be made for minutes."""
        size = sum(leaf.size * leaf.dtype.itemsize for leaf in arrays.values())
        with tempfile.TemporaryFile(dir=self.directory) as probe:
            if hasattr(os, "posix_fallocate"):
                # Twice: it writes everything, and then merges it into another file.
                os.posix_fallocate(probe.fileno(), 0, 2 * size + 2**20)

    def _save_constants(self, constant: dict[str, Any]) -> str:
        prints = fingerprints(constant)
        with _plainly_named(self.directory) as folder:
            path = folder / _CONSTANTS
            missing = False
            try:
                _constants(path, constant, digest(prints))
            except (_Damaged, CheckpointError):
                missing = True
            if constant and hosts.agreed(missing):
                with _without_deadline():
                    _orbax().save(path, constant, overwrite=True, custom_metadata={"leaves": prints})
        return digest(prints)

    def wait(self) -> None:
        """Wait until the last save is on disk."""
        pending, self._pending = self._pending, None
        if pending is not None:
            with self._failing(f"save step {self._step} in"):
                self._finish(pending)

    def _finish(self, pending: Any) -> None:
        trials = 1 if hosts.several() else _SAVES
        for trial in range(trials):
            try:
                # Not only waited for: until its result is asked for, a save keeps a thread and three open files.
                pending.result()
                return
            except TimeoutError:
                # Nothing takes so long: the clock on the wall has jumped, by which Orbax waits for its threads.
                if trial == trials - 1:
                    raise
                # One that has failed once raises the same of every later save.
                with contextlib.suppress(Exception):
                    self._checkpointer.close()
                self._checkpointer = self._opened()
                with _without_deadline():
                    pending = self._start()

    def close(self) -> None:
        """Wait for the last save and let go of the directory."""
        try:
            with self._closing:
                try:
                    self.wait()
                finally:
                    # It would raise once more what a save has raised.
                    with contextlib.suppress(Exception) if self._failed else self._failing("close"):
                        self._checkpointer.close()
        finally:
            if self._failed:
                # Threads of a save that has failed go on complaining, at any time.
                self._silence.pop_all()
            self._silence.close()

    @contextlib.contextmanager
    def _failing(self, doing: str) -> Iterator[None]:
        try:
            yield
        except jax.errors.JaxRuntimeError:
            # Not the disk: another process of this run has ended, for one.
            self._failed = True
            raise
        except Exception as error:
            self._failed = True
            raise SaveError(
                f"cannot {doing} {self.directory}: {_reason(error)}; the checkpoints before it are whole"
            ) from None


def _without_deadline() -> Any:
    """A context of Orbax in which a save takes as long as it takes."""
    ocp = _orbax()
    return ocp.Context(async_options=ocp.options.AsyncOptions(timeout_secs=_NEVER))


def _reason(error: Exception) -> str:
    """What the system says is wrong, without what libraries say around it."""
    code = error.errno if isinstance(error, OSError) else None
    found = re.search(r"os_error_code='(\d+)'", str(error))
    code = int(found[1]) if found else code
    return os.strerror(code).lower() if code else _first_line(error)


@contextlib.contextmanager
def _plainly_named(folder: Path) -> Iterator[Path]:
    """The folder under a path that no pattern is made of: in one with brackets Orbax does not find its own files."""
    if not re.search(r"[\[\]*?]", str(folder)):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="qernel-") as place:
        link = Path(place) / "folder"
        link.symlink_to(folder, target_is_directory=True)
        yield link


class _Silence(logging.Filter):
    """Nothing passes."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: D102
        return False


@contextlib.contextmanager
def _said_once() -> Iterator[None]:
    """Leave unsaid what Orbax and its loops log and print of a failure, many tracebacks for one: it is raised too."""
    silence, loggers = _Silence(), [logging.getLogger(name) for name in ("absl", "asyncio", "root")]
    for logger in loggers:
        logger.addFilter(silence)
    before = sys.unraisablehook

    def hook(of: "sys.UnraisableHookArgs") -> None:
        # TensorStore's threads report to a loop that has ended, and print that they could not.
        if not (isinstance(of.exc_value, RuntimeError) and str(of.exc_value) == "Event loop is closed"):
            before(of)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        if sys.unraisablehook is hook:
            sys.unraisablehook = before
        for logger in loggers:
            logger.removeFilter(silence)


def _read_metadata(path: Path) -> dict[str, Any]:
    """What was saved beside the arrays. Orbax itself would open every array as well, and keep a megabyte each time."""
    found = json.loads((path / "_CHECKPOINT_METADATA").read_text(encoding="utf-8"))["custom_metadata"]
    return dict(found or {})


def load_checkpoint(
    directory: str | Path,
    like: PyTree,
    *,
    identity: Mapping[str, Any] | None = None,
    step: int | None = None,
    constants: Callable[[], PyTree] | None = None,
    on_damage: Callable[[int, str], None] | None = None,
) -> PyTree:
    """The newest whole checkpoint of a directory, in the shape of `like`, on the default device.

    **Arguments:**

    - `like`: a state of the same shapes (its values do not matter), arrays or `jax.ShapeDtypeStruct`.
    - `identity`: as given to the writer; None accepts any.
    - `step`: a particular step.
    - `constants`: makes the arrays of `Frozen` modules anew, in a state of this shape, if those on disk are damaged;
      they are taken if they are the recorded ones to the last bit.
    - `on_damage`: called with the step and what is wrong with it, for each damaged checkpoint that is passed
      over. By default a `UserWarning`.

    **Raises:** `CheckpointError` if there is none, if none is whole, or if it is of another model.
    """
    folder = Path(directory).resolve()
    # A training that goes on meanwhile takes old checkpoints away: then there are newer ones.
    for trial in range(_READS):
        steps = checkpoint_steps(folder)
        if step is not None and step not in steps:
            raise CheckpointError(
                f"{directory} has no checkpoint of step {step}: it has {', '.join(map(str, steps)) or 'none'}"
            )
        if not steps:
            raise CheckpointError(f"there is no checkpoint in {directory}")
        state, damaged = _newest(folder, steps if step is None else (step,), like, identity, constants)
        if not damaged:
            return state
        # Time enough for one that is being taken away to be gone.
        time.sleep(0.1)
        if trial < _READS - 1 and checkpoint_steps(folder) != steps:
            continue
        for candidate, reason in damaged.items():
            if on_damage is not None:
                on_damage(candidate, reason)
            else:
                warnings.warn(f"the checkpoint of step {candidate} is damaged ({reason})", stacklevel=2)
        if len(damaged) == len(steps) or step is not None:
            break
        return state
    raise CheckpointError(
        f"no checkpoint in {directory} is whole: all of {', '.join(map(str, steps))} are damaged; bring back copies of "
        "them, if there are any, or begin another run"
    )


def _newest(
    folder: Path,
    steps: tuple[int, ...],
    like: PyTree,
    identity: Mapping[str, Any] | None,
    constants: Callable[[], PyTree] | None,
) -> tuple[PyTree, dict[int, str]]:
    """The newest whole one of some checkpoints, and what is wrong with those after it."""
    damaged: dict[int, str] = {}
    for step in steps[::-1]:
        try:
            with _said_once(), _plainly_named(folder) as plain:
                return _load(plain, step, like, identity, constants), damaged
        except _Damaged as damage:
            damaged[step] = str(damage)
    return None, damaged


class _Damaged(Exception):
    pass


def _load(
    folder: Path, step: int, like: PyTree, identity: Mapping[str, Any] | None, solve: Callable[[], PyTree] | None
) -> PyTree:
    path = folder / str(step)
    try:
        metadata = _read_metadata(path)
        written = metadata.pop("digest", None)
        found, expected = metadata["leaves"], metadata["constants"]
        theirs = metadata["identity"]
    except Exception as error:
        raise _Damaged(f"its description cannot be read: {_first_line(error)}") from None
    if written is not None and written != digest(metadata):
        raise _Damaged("its description has changed since it was written")
    if metadata.get("step", step) != step:
        raise _Damaged(f"it is the one of step {metadata['step']}, renamed")
    if identity is not None:
        _check_identity(path, theirs, identity)
    changing, constant = split(like)
    added = {name for name in changing if _is_new(name, found)}
    changing = {name: leaf for name, leaf in changing.items() if name not in added}
    _check_shapes(path, found, changing)
    values = _restore(path, changing, found)
    # Where there was no average the parameters themselves stand for it; else what a training begins with.
    sources = {name: name.replace(".average", ".ansatz", 1) for name in added}
    values |= {name: values[source] for name, source in sources.items() if source in values}
    if constant:
        try:
            values |= _constants(folder / _CONSTANTS, constant, expected)
        except _Damaged:
            if solve is None:
                raise
            _, again = split(solve())
            if digest(fingerprints(again)) != expected:
                raise
            values |= {name: free(leaf) for name, leaf in again.items()}
    return join(like, values)


def _is_new(name: str, found: dict[str, list[Any]]) -> bool:
    """Whether an array is part of what a state did not hold when the checkpoint was written."""
    part = next((part for part in _SINCE if name.startswith(part)), None)
    return part is not None and not any(known.startswith(part) for known in found)


def _constants(path: Path, like: dict[str, Any], expected: str) -> dict[str, Any]:
    try:
        stored = _read_metadata(path)["leaves"]
    except Exception as error:
        raise _Damaged(f"its constants cannot be read: {_first_line(error)}") from None
    if digest(stored) != expected:
        raise _Damaged("its constants have changed since they were written, or belong to another run")
    _check_shapes(path, stored, like)
    return _restore(path, like, stored)


def _check_identity(path: Path, theirs: Any, ours: Mapping[str, Any]) -> None:
    left, right = _flat(theirs), _flat(json.loads(json.dumps(dict(ours))))
    different = [name for name in {**left, **right} if left.get(name) != right.get(name)]
    if different:
        name = different[0]
        raise CheckpointError(
            f"{path} is a checkpoint of another model: {name} is {left.get(name)} there and {right.get(name)} here"
        )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, entry in value.items():
        flat |= _flat(entry, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _check_shapes(path: Path, found: dict[str, list[Any]], expected: dict[str, Any]) -> None:
    for name in {**found, **expected}:
        if name not in found or name not in expected:
            side = "here" if name in expected else "there"
            raise CheckpointError(f"{path} is a checkpoint of another model: {_place(name)} exists only {side}")
        shape, dtype = tuple(found[name][0]), found[name][1]
        leaf = expected[name]
        if shape != tuple(leaf.shape) or dtype != str(leaf.dtype):
            raise CheckpointError(
                f"{path} is a checkpoint of another model: {_place(name)} is {dtype}{list(shape)} there and "
                f"{leaf.dtype}{list(leaf.shape)} here"
            )


def _place(name: str) -> str:
    return re.sub(r"^\.", "", name)


def _restore(path: Path, expected: dict[str, Any], found: dict[str, list[Any]]) -> dict[str, Any]:
    structs = {name: _abstract(leaf) for name, leaf in expected.items()}
    try:
        values = _orbax().load(path, structs, checkpointable_name="state")
    except Exception as error:
        reason = _first_line(error)
        # What is left of its threads would complain when it is collected, at any time later.
        del error
        gc.collect()
        raise _Damaged(reason) from None
    for name, leaf in values.items():
        if fingerprint(leaf) != found[name]:
            raise _Damaged(f"the bytes of {_place(name)} have changed since they were written")
    return {name: free(leaf) for name, leaf in values.items()}


def _abstract(leaf: Any) -> Any:
    # As arrays of the host: on devices Orbax places them in threads of its own, where x64 may not be enabled.
    if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return np.empty(leaf.shape, leaf.dtype)
    device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=device)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


def set_damaged_aside(directory: str | Path, step: int) -> None:
    """Rename a damaged checkpoint, so that it neither counts as the newest nor blocks its step."""
    _set_aside(Path(directory), step, "damaged")


def set_later_aside(directory: str | Path, step: int) -> None:
    """Rename the checkpoints after `step`: the training goes on from there, and they are not lost."""
    for later in checkpoint_steps(directory):
        if later > step:
            _set_aside(Path(directory), later, "left")


def _set_aside(folder: Path, step: int, why: str) -> None:
    target = folder / f"{why}-{step}"
    number = 1
    while target.exists():
        number += 1
        target = folder / f"{why}-{step}-{number}"
    os.replace(folder / str(step), target)
