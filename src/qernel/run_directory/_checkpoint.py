"""Checkpoints by Orbax: atomic, verified when read, the last few kept. The only module that knows Orbax."""

import json
import os
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from qernel import hosts

from ._named_arrays import digest, fingerprint, fingerprints, free, join, split

_CONSTANTS = "constants"


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or of another model; the message is one sentence for the user."""


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
    """

    def __init__(self, directory: str | Path, *, keep: int = 3, identity: Mapping[str, Any] | None = None):
        if keep < 1:
            raise ValueError(f"at least one checkpoint must be kept, got {keep}")
        self.directory = Path(directory).resolve()
        self.identity = dict(identity or {})
        self.directory.mkdir(parents=True, exist_ok=True)
        ocp = _orbax()
        self._checkpointer: Any = ocp.training.Checkpointer(
            self.directory,
            preservation_policy=ocp.training.preservation_policies.LatestN(keep),
            cleanup_tmp_directories=True,
        )
        self._constants: str | None = None
        self._pending: Any = None

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(self, step: int, state: PyTree) -> None:
        """Start to save `state` as `step`, unless it is there already; returns before it is on disk.

        Several processes save together: every one of them must call it.
        """
        if hosts.agreed(step in checkpoint_steps(self.directory)):
            return
        state = hosts.shared(state)
        changing, constant = split(state)
        if self._constants is None:
            self._constants = self._save_constants(constant)
        metadata = {
            "identity": self.identity,
            "leaves": fingerprints(changing),
            "constants": self._constants,
        }
        # One save at a time: Orbax would skip a second one in silence.
        self.wait()
        self._pending = self._checkpointer.save_async(step, changing, force=True, custom_metadata=metadata)

    def _save_constants(self, constant: dict[str, Any]) -> str:
        prints = fingerprints(constant)
        path = self.directory / _CONSTANTS
        missing = not path.is_dir() or _read_metadata(path).get("leaves") != prints
        if constant and hosts.agreed(missing):
            _orbax().save(path, constant, overwrite=True, custom_metadata={"leaves": prints})
        return digest(prints)

    def wait(self) -> None:
        """Wait until the last save is on disk."""
        pending, self._pending = self._pending, None
        if pending is not None:
            # Not only waited for: until its result is asked for, a save keeps a thread and three open files.
            pending.result()

    def close(self) -> None:
        """Wait for the last save and let go of the directory."""
        try:
            self.wait()
        finally:
            self._checkpointer.close()


def _read_metadata(path: Path) -> dict[str, Any]:
    return dict(_orbax().metadata(path, checkpointable_name="state").custom_metadata or {})


def load_checkpoint(
    directory: str | Path,
    like: PyTree,
    *,
    identity: Mapping[str, Any] | None = None,
    step: int | None = None,
    on_damage: Callable[[int, str], None] | None = None,
) -> PyTree:
    """The newest whole checkpoint of a directory, in the shape of `like`, on the default device.

    **Arguments:**

    - `like`: a state of the same shapes (its values do not matter), arrays or `jax.ShapeDtypeStruct`.
    - `identity`: as given to the writer; None accepts any.
    - `step`: a particular step.
    - `on_damage`: called with the step and what is wrong with it, for each damaged checkpoint that is passed
      over. By default a `UserWarning`.

    **Raises:** `CheckpointError` if there is none, if none is whole, or if it is of another model.
    """
    folder = Path(directory).resolve()
    steps = checkpoint_steps(folder)
    if step is not None and step not in steps:
        raise CheckpointError(
            f"{directory} has no checkpoint of step {step}: it has {', '.join(map(str, steps)) or 'none'}"
        )
    if not steps:
        raise CheckpointError(f"there is no checkpoint in {directory}")
    candidates = (step,) if step is not None else steps[::-1]
    for candidate in candidates:
        try:
            return _load(folder, candidate, like, identity)
        except CheckpointError:
            raise
        except _Damaged as damage:
            if on_damage is not None:
                on_damage(candidate, str(damage))
            else:
                warnings.warn(f"the checkpoint of step {candidate} is damaged ({damage})", stacklevel=2)
    raise CheckpointError(f"no checkpoint in {directory} is whole: all of {', '.join(map(str, steps))} are damaged")


class _Damaged(Exception):
    pass


def _load(folder: Path, step: int, like: PyTree, identity: Mapping[str, Any] | None) -> PyTree:
    path = folder / str(step)
    try:
        metadata = _read_metadata(path)
        found, expected = metadata["leaves"], metadata["constants"]
        theirs = metadata["identity"]
    except Exception as error:
        raise _Damaged(f"its description cannot be read: {_first_line(error)}") from None
    if identity is not None:
        _check_identity(path, theirs, identity)
    changing, constant = split(like)
    _check_shapes(path, found, changing)
    values = _restore(path, changing, found)
    if constant:
        try:
            stored = _read_metadata(folder / _CONSTANTS)["leaves"]
        except Exception as error:
            raise _Damaged(f"its constants cannot be read: {_first_line(error)}") from None
        if digest(stored) != expected:
            raise _Damaged("its constants belong to another run")
        _check_shapes(folder / _CONSTANTS, stored, constant)
        values |= _restore(folder / _CONSTANTS, constant, stored)
    return join(like, values)


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
        raise _Damaged(_first_line(error)) from None
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
    folder = Path(directory)
    target = folder / f"damaged-{step}"
    number = 1
    while target.exists():
        number += 1
        target = folder / f"damaged-{step}-{number}"
    os.replace(folder / str(step), target)
