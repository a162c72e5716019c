"""Several processes, on one or many hosts, that run one program together: started explicitly, never by import."""

import contextlib
import functools
import threading
import time
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding
from jaxtyping import Array, PyTree

# A process that is gone is noticed within this time, in seconds, where no broken connection tells at once.
_HEARTBEAT = 30
# Between two looks at the others.
_LOOK = 5
# The others wait so long for the one that writes the last figures.
_SHUTDOWN = 24 * 3600
# And process 0, which the others have to reach to leave, stays so long after the last of them.
_GRACE = 2
_WATCH = "qernel.hosts"
_FINISHED = threading.Event()


def start(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    on_loss: Callable[[str], None] | None = None,
) -> None:
    """Join the processes of this run; to be called once, before anything is computed.

    Every process runs the same program on its own devices. Afterwards `jax.devices()` are those of all, and
    [`make_mesh`][qernel.training.make_mesh] shares the work among them. This is `jax.distributed.initialize` with a
    heartbeat of half a minute.

    **Arguments:** `coordinator`, `HOST:PORT` of process 0; `processes`, their number; `process`, that of this one, from
    0. Without them JAX asks the batch system (SLURM, Open MPI). `on_loss`, called in a thread with a sentence when
    another process no longer answers; it should end this one, whose next common computation would wait for ever.
    Without it, and always when process 0 is lost, JAX itself ends the process with a message of its own.

    **Raises:** `ValueError` for numbers that do not fit; `RuntimeError` if something has been computed already, no
    batch system is found or the others do not answer within five minutes.
    """
    given = (coordinator, processes, process)
    if any(x is not None for x in given) and any(x is None for x in given):
        raise ValueError("several processes need all of coordinator, processes and process, or none of them")
    if processes is not None and process is not None and not 0 <= process < processes:
        raise ValueError(f"the number of a process must be from 0 to {processes - 1}, got {process}")
    jax.config.update("jax_enable_recoverability", on_loss is not None)
    try:
        jax.distributed.initialize(
            coordinator, processes, process, heartbeat_timeout_seconds=_HEARTBEAT, shutdown_timeout_seconds=_SHUTDOWN
        )
    except ValueError as error:
        raise RuntimeError(f"the processes did not find each other: {error}") from None
    if on_loss is not None and several():
        threading.Thread(target=_watch, args=(on_loss,), name=_WATCH, daemon=True).start()


def _watch(on_loss: Callable[[str], None]) -> None:
    everything = jax.devices()
    while not _FINISHED.wait(_LOOK):
        try:
            lost = {device.process_index for device in everything} - _live(everything)
        except Exception as error:
            lost, reason = {-1}, str(error).strip().splitlines()[0][:200]
        else:
            reason = f"process {', '.join(map(str, sorted(lost)))} no longer answers"
        if lost and not _FINISHED.is_set():
            on_loss(reason)
            return
    # All have finished. A look ends when each process looks too or has left, so that process 0 looks on.
    while jax.process_index() == 0:
        with contextlib.suppress(multihost_utils.ProcessFailureError):
            if _live(everything) == {0}:
                return


def _live(devices: list[Any]) -> set[int]:
    with multihost_utils.live_devices(devices) as live:
        return {device.process_index for device in live}


def finish() -> None:
    """Wait for all processes and leave them, process 0 last: the others cannot leave what is not there any more."""
    if not several():
        return
    wait("finished")
    _FINISHED.set()
    wait("leaving")
    watching = [thread for thread in threading.enumerate() if thread.name == _WATCH]
    for thread in watching:
        thread.join()
    if watching and first():
        time.sleep(_GRACE)
    jax.distributed.shutdown()


def several() -> bool:
    """Whether this process is one of several. Starts no backend."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def first() -> bool:
    """Whether this process is the one that writes files and speaks; it is where there is only one."""
    return not several() or jax.process_index() == 0


def wait(name: str) -> None:
    """Go on when all processes have come to the place of this `name`."""
    if several():
        multihost_utils.sync_global_devices(name)


def from_first(tree: PyTree) -> PyTree:
    """A tree whose arrays are those of process 0, of the same shapes in every process; random keys are left alone.

    What each process works out by itself may differ in its last digits from one kind of processor to another.
    """
    if not several():
        return tree

    def sent(leaf):
        return eqx.is_array(leaf) and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)

    arrays, rest = eqx.partition(tree, sent)
    with jax.enable_x64(True):
        received = multihost_utils.broadcast_one_to_all(jax.tree.map(np.asarray, arrays))
        arrays = jax.tree.map(
            lambda leaf, value: jnp.asarray(value) if isinstance(leaf, jax.Array) else np.asarray(value),
            arrays,
            received,
        )
    return eqx.combine(arrays, rest)


def largest(value: int) -> int:
    """The largest of the values of all processes."""
    if not several():
        return value
    return int(np.max(multihost_utils.process_allgather(np.asarray(value))))


def agreed(fact: bool) -> bool:
    """What process 0 has found, for all: what they read of a disk may differ for a moment."""
    return bool(from_first(np.asarray(fact)))


def said(text: str) -> str:
    """The text of process 0."""
    if not several():
        return text
    words = np.frombuffer(text.encode(), np.uint8)
    padded = np.zeros(largest(len(words)), np.uint8)
    padded[: len(words)] = words
    return bytes(from_first(padded)).rstrip(b"\0").decode()


def put(array: Array, sharding: Sharding) -> Array:
    """An array under another sharding, which may span processes; each of them gives the same values, or its share."""
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        # device_put of keys knows the devices of this process only.
        data = put(jax.random.key_data(array), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        if sharding.is_fully_addressable:
            return jax.device_put(array, sharding)
        # device_put would compare the values of all processes.
        values = np.asarray(array)
        return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])
    if array.sharding.is_equivalent_to(sharding, array.ndim):
        return array
    return _resharded(sharding)(array)


@functools.cache
def _resharded(sharding):
    return jax.jit(lambda x: x, out_shardings=sharding)


def shared(tree: PyTree) -> PyTree:
    """The same arrays, those of this process alone as copies on all devices of all processes."""
    if not several():
        return tree
    everywhere = NamedSharding(Mesh(np.array(jax.devices()), ("device",)), PartitionSpec())

    def of_leaf(leaf):
        alone = isinstance(leaf, jax.Array) and leaf.is_fully_addressable
        return put(leaf, everywhere) if alone else leaf

    arrays, static = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.tree.map(of_leaf, arrays), static)


def local(tree: PyTree) -> PyTree:
    """The same arrays, whole, on the first device of each process: every process must call it."""
    if not several():
        return tree
    device = jax.local_devices()[0]

    def of_leaf(leaf):
        if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable:
            return leaf
        mesh = leaf.sharding.mesh  # type: ignore[attr-defined]
        whole = put(leaf, NamedSharding(mesh, PartitionSpec()))
        return jax.device_put(whole.addressable_data(0), device)

    arrays, static = eqx.partition(tree, eqx.is_array)
    return eqx.combine(jax.tree.map(of_leaf, arrays), static)


def fetch(tree: PyTree) -> PyTree:
    """The arrays of a tree on the host, from the devices of all processes: every process must call it."""
    return jax.device_get(local(tree))
