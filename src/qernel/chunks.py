"""Functions of one walker at all walkers, so many at once as memory or a cache holds."""

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jaxtyping import Array, Key, PRNGKeyArray, PyTree

from qernel import hosts
from qernel.compilation import compiler_options

try:
    import resource
except ImportError:  # Windows
    resource = None

# Of the memory of a device, the share for the temporary arrays of a program.
_SHARE = 0.5
# Of a CPU: what stays in a core's second-level cache. Larger chunks fit the memory, and are slower.
_CACHE = 3 * 2**19


def sharing_devices(positions: Array) -> int:
    """How many devices share the walkers of a Hamiltonian, the second axis; for chunks of so many on each of them."""
    sharding = positions.sharding
    if not isinstance(sharding, NamedSharding) or len(sharding.spec) < 2 or sharding.spec[1] is None:
        return 1
    return math.prod(sharding.mesh.shape[axis] for axis in np.atleast_1d(sharding.spec[1]))


def walker_keys(key: PRNGKeyArray, shape: tuple[int, ...]) -> Key[Array, "hamiltonians walkers"]:
    """A key for each of (Hamiltonians, walkers), folded with its number: the same on any number of devices."""
    numbers = jnp.arange(shape[0] * shape[1]).reshape(shape)
    return jax.vmap(jax.vmap(lambda number: jax.random.fold_in(key, number)))(numbers)


def map_walkers(
    function: Callable[..., Any], parameters: PyTree, walkers: tuple[PyTree, ...], count: int, chunk: int | None
) -> Any:
    """`function(parameters of one Hamiltonian, *one walker's)` of all walkers of all Hamiltonians.

    The leaves of `walkers` have the leading axes (Hamiltonian, `count` walkers). At most `chunk` walkers of each
    Hamiltonian are done at once, in equal chunks; where `count` is no multiple, some walkers are done twice to fill
    the last one. Neighbours go to different chunks: devices that share the walkers, neighbours to each, then have
    their part of every chunk, if `chunk` is a multiple of their number, and none waits for another.
    """

    def of_one_hamiltonian(parameters, walkers):
        if chunk is None or chunk >= count:
            return jax.vmap(lambda one: function(parameters, *one))(walkers)
        chunks = -(-count // chunk)
        size = -(-count // chunks)

        def split(leaf):
            filled = jnp.concatenate([leaf, leaf[: chunks * size - count]])
            return jnp.swapaxes(filled.reshape(size, chunks, *leaf.shape[1:]), 0, 1)

        def joined(leaf):
            return jnp.swapaxes(leaf, 0, 1).reshape(chunks * size, *leaf.shape[2:])[:count]

        of_chunk = jax.vmap(lambda one: function(parameters, *one))
        return jax.tree.map(joined, jax.lax.map(of_chunk, jax.tree.map(split, walkers)))

    if jax.tree.leaves(walkers)[0].shape[0] > 1:
        return jax.vmap(of_one_hamiltonian)(parameters, walkers)
    # Without the axis of length one: XLA's CPU backend sums products of arrays with such an axis at a twentieth of its
    # speed.
    only = of_one_hamiltonian(*jax.tree.map(lambda leaf: leaf[0], (parameters, walkers)))
    return jax.tree.map(lambda leaf: leaf[None], only)


def memory_budget(positions: Array, *, cache: bool = True) -> int:
    """Bytes for the temporary arrays of one chunk: half of the memory of the device of `positions`; of a CPU, a core's
    `cache`, or without it half of the memory, too."""
    device = min(positions.sharding.addressable_devices, key=lambda device: device.id)
    if device.platform != "cpu":
        statistics = device.memory_stats() or {}
        return int(_SHARE * statistics.get("bytes_limit", 2**34))
    if cache:
        return _CACHE
    return int(_SHARE * machine_memory())


def machine_memory() -> int:
    """Bytes of memory that this process may use: those of the machine, or what a container or `ulimit -v` leaves.

    Where the system does not say, 16 GiB.
    """
    limits = []
    if hasattr(os, "sysconf") and {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= set(os.sysconf_names):
        limits.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    limits += _control_groups()
    if resource is not None:
        soft = resource.getrlimit(resource.RLIMIT_AS)[0]
        limits += [soft] if soft != resource.RLIM_INFINITY else []
    return min((limit for limit in limits if limit > 0), default=2**34)


def _control_groups(processes: str = "/proc/self/cgroup", mounted: str = "/sys/fs/cgroup") -> list[int]:
    """Limits of the control groups of this process, as batch systems and containers set them, of both versions."""
    found = []
    with contextlib.suppress(OSError):
        for line in Path(processes).read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            name = "memory.limit_in_bytes" if controllers else "memory.max"
            folder = Path(mounted) / controllers / group.strip("/")
            # A group has no more than those that it lies in; inside of a container the path is the host's, and only
            # the outermost folder is there.
            while folder.is_relative_to(mounted):
                # "max" is no limit.
                with contextlib.suppress(OSError, ValueError):
                    found.append(int((folder / name).read_text()))
                folder = folder.parent
    return found


def chunk_that_fits(program: Callable[[int], Callable[..., Any]], arguments: PyTree, walkers: int, budget: int) -> int:
    """The largest chunk, of so many `walkers`, with which the temporary arrays of a program fit a `budget` in bytes.

    `program(chunk)` is the function of `arguments` (a tuple) to be compiled. It is compiled for one and for two walkers
    at once, without optimising its kernels; what it says of its memory grows linearly from there. Of several processes,
    all of which must call this, the first one chooses.

    **Raises:** `ValueError` for a budget that is not positive.
    """
    if budget < 1:
        raise ValueError(f"a budget of memory must be positive, got {budget} bytes")
    if walkers == 1:
        return 1
    one, two = (_temporary_bytes(program(chunk), arguments) for chunk in (1, 2))
    largest = 1 + (budget - one) // max(two - one, 1)
    return int(hosts.from_first(np.asarray(min(max(largest, 1), walkers))))


def _temporary_bytes(function, arguments) -> int:
    arrays, static = eqx.partition(arguments, eqx.is_array)
    options = dict(compiler_options())
    if jax.default_backend() == "cpu":
        options["xla_backend_optimization_level"] = "0"
    # Shapes alone, on one device: the program is never run.
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arrays)
    program = jax.jit(lambda arrays: function(*eqx.combine(arrays, static)), compiler_options=options)
    analysis = program.lower(shapes).compile().memory_analysis()
    # Not every backend analyses.
    return 0 if analysis is None else int(analysis.temp_size_in_bytes)
