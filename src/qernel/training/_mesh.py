"""Devices as a mesh with one axis for Hamiltonians and one for walkers, also when there is one device."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, PyTree

from qernel import hosts
from qernel.hamiltonian import Family

from ._state import TrainingState

AXES = ("hamiltonian", "walker")


def make_mesh(devices: Sequence[Any] | None = None, *, hamiltonians: int = 1) -> Mesh:
    """A mesh of `devices` (default: all) with the axes ("hamiltonian", "walker").

    `hamiltonians` groups of devices share the Hamiltonians of a family; the devices of a group share the
    walkers. Sharing walkers alone (1, the default) balances best.

    Warns if several CPU devices of this process share too few threads, as they do by default.

    **Raises:** `ValueError` if the devices cannot be divided into so many groups.
    """
    devices = jax.devices() if devices is None else list(devices)
    _check_threads(devices)
    if hamiltonians < 1 or len(devices) % hamiltonians:
        raise ValueError(f"{len(devices)} devices cannot be divided into {hamiltonians} groups")
    grid = np.array(devices).reshape(hamiltonians, -1)
    return Mesh(grid, AXES, axis_types=(AxisType.Auto, AxisType.Auto))


def _check_threads(devices: Sequence[Any]) -> None:
    here = sum(device.platform == "cpu" and device.process_index == jax.process_index() for device in devices)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = int(os.environ.get("NPROC") or cores or 1)
    if here > 1 and threads < 4 * here:
        warnings.warn(
            f"{here} CPU devices of one process share {threads} threads, and JAX can wait for ever: "
            f"set NPROC={8 * here} in the environment before it starts",
            stacklevel=3,
        )


def largest_mesh(hamiltonians: int, walkers: int, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh of as many of `devices` (default: all) as can share so many Hamiltonians and walkers evenly.

    Its `size` says how many are used; a number of walkers that is a multiple of the devices uses all.
    """
    devices = jax.devices() if devices is None else list(devices)
    for count in range(len(devices), 0, -1):
        for groups in range(1, count + 1):
            if count % groups == 0 and hamiltonians % groups == 0 and walkers % (count // groups) == 0:
                return make_mesh(devices[:count], hamiltonians=groups)
    raise ValueError("a mesh needs at least one device")


def shard_walkers(array: Array, mesh: Mesh) -> Array:
    """Place an array with leading axes (hamiltonians, walkers) on the mesh.

    **Raises:** `ValueError` if the axes cannot be divided.
    """
    for size, axis in zip(array.shape, AXES, strict=False):
        if size % mesh.shape[axis]:
            raise ValueError(f"{size} {axis}s cannot be shared evenly by {mesh.shape[axis]} devices: choose a multiple")
    return hosts.put(array, NamedSharding(mesh, PartitionSpec(*AXES)))


def replicate(tree: PyTree, mesh: Mesh) -> PyTree:
    """Place a copy of every array of a tree on each device."""
    arrays, static = eqx.partition(tree, eqx.is_array)
    return eqx.combine(_put(arrays, NamedSharding(mesh, PartitionSpec())), static)


def _put(tree: PyTree, sharding: NamedSharding) -> PyTree:
    if not hosts.several():
        # All arrays at once.
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: hosts.put(leaf, sharding), tree)


def shard_state(state: TrainingState, mesh: Mesh) -> TrainingState:
    """Place a training state: walkers shared, everything that is small copied to each device.

    The numbers do not depend on the mesh: random keys belong to walkers, not to devices.
    """
    by_member = NamedSharding(mesh, PartitionSpec(AXES[0]))
    place = lambda array: None if array is None else hosts.put(array, by_member)
    of_members = lambda s: (s.step_size, s.phase, s.mean_energy, s.point, s.mean_variance)
    shared = shard_walkers(state.positions, mesh), *map(place, of_members(state))
    # Taken out before the rest is copied: walkers are the one array that may be too large for each device.
    places = lambda s: (s.positions, *of_members(s))
    empty = lambda node: node is None
    rest = replicate(eqx.tree_at(places, state, (None,) * len(shared), is_leaf=empty), mesh)
    return eqx.tree_at(places, rest, shared, is_leaf=empty)


def shard_family(family: Family, mesh: Mesh) -> Family:
    """Place a family: its parameters follow the Hamiltonians, its tables are copied to each device."""
    parameters = _put(family.parameters, NamedSharding(mesh, PartitionSpec(AXES[0])))
    return eqx.tree_at(lambda f: f.parameters, replicate(family, mesh), parameters)
