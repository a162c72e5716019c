"""A state as named arrays, their fingerprints, and back."""

import hashlib
import json
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from qernel import hosts
from qernel.layers import Frozen


def split(state: PyTree) -> tuple[dict[str, Any], dict[str, Any]]:
    """Arrays by the names of their places: those that change, and those of `Frozen` modules."""
    changing, constant = {}, {}
    leaves, _ = jax.tree_util.tree_flatten_with_path(state, is_leaf=lambda node: isinstance(node, Frozen))
    for path, node in leaves:
        name = jax.tree_util.keystr(path)
        if isinstance(node, Frozen):
            inner, _ = jax.tree_util.tree_flatten_with_path(node)
            constant |= {name + jax.tree_util.keystr(p): leaf for p, leaf in inner if _is_array(leaf)}
        elif _is_array(node):
            changing[name] = node
    return changing, constant


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def host(leaf: Any) -> np.ndarray:
    """The whole array on this host; a random key as its words."""
    if _is_key(leaf):
        leaf = jax.random.key_data(leaf)
    return np.asarray(hosts.fetch(leaf))


def fingerprint(leaf: Any) -> list[Any]:
    """Shape, dtype and a hash of the bytes."""
    array = np.ascontiguousarray(host(leaf))
    return [list(leaf.shape), str(leaf.dtype), hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()]


def fingerprints(tree: dict[str, Any]) -> dict[str, list[Any]]:
    """The fingerprint of every named array."""
    return {name: fingerprint(leaf) for name, leaf in tree.items()}


def digest(value: Any) -> str:
    """A hash of plain data."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()


def join(like: PyTree, values: dict[str, Any]) -> PyTree:
    """The inverse of `split`: `like` with the named arrays in their places."""

    def place(path: Any, node: Any) -> Any:
        name = jax.tree_util.keystr(path)
        if isinstance(node, Frozen):
            return jax.tree_util.tree_map_with_path(
                lambda p, leaf: values.get(name + jax.tree_util.keystr(p), leaf), node
            )
        return values.get(name, node)

    return jax.tree_util.tree_map_with_path(place, like, is_leaf=lambda node: isinstance(node, Frozen))


def free(leaf: Any) -> Any:
    """The same array, bound to no device."""
    # Orbax commits arrays to their device, and a program compiled for free ones would be compiled again.
    with jax.enable_x64(True):
        if _is_key(leaf):
            return jax.random.wrap_key_data(jnp.asarray(host(leaf)), impl=jax.random.key_impl(leaf))
        return jnp.asarray(host(leaf))
