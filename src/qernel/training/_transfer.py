"""A wavefunction of few electrons as the start of one of many."""

import math
from operator import attrgetter
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PRNGKeyArray, PyTree

from qernel.ansatz import Qernel
from qernel.compilation import compiled
from qernel.lattice import Lattice
from qernel.layers import PeriodicEmbedding, trainable

# The old pair function is kept within this share of its cell's radius, and goes over to a constant up to the radius.
_WHOLE = 0.7
_DIRECTIONS = 32
_SEPARATIONS = 64


class Transfer(NamedTuple):
    """A wavefunction that begins with what another one knows.

    - `ansatz`: the wavefunction.
    - `network`: whether the network went over, and not the Jastrow factor alone.
    - `misfit`: of the pair function, the mean square relative to the variance.
    """

    ansatz: Qernel
    network: bool
    misfit: float


def transferred(
    new: Qernel,
    old: Qernel,
    parameters: PyTree,
    *,
    cell: Lattice,
    old_cell: Lattice,
    key: PRNGKeyArray,
    steps: int = 1500,
) -> Transfer:
    r"""A wavefunction in a larger cell that begins with what a trained one knows.

    The conditioner, the weights of the phases, the range of the cusp and the pair function go over whatever the sizes
    of both networks. The pair function $u(r;\lambda)$ is one of the old cell: it is kept within the radius R of the
    circle inscribed there, goes over to its mean on that circle from 0.7 R on, and is fitted by the pair function of
    the new cell (Adam, at the family's own λ).

    The network goes over where its layers have the same shapes: waves by their vectors, those of the old cell that are
    none of the new one are left out; pair biases in proportion to the number of electrons, over which an attention is
    normalised; the factor of each orbital is the mean of those of the old orbitals of its determinant, which belong to
    other orbitals than the new ones. A network of other sizes starts anew, without effect on the orbitals, $f = 0$.

    **Arguments:** `new`, with starting parameters; `old`, trained; `parameters`, those of the new family, with a
    leading axis over Hamiltonians; the cells of both; `steps` of the fit.

    **Raises:** `ValueError` if the two are conditioned on different ranges of parameters or by vectors of different
    sizes, or if one of them has a pair function (or a cusp) and the other has none.
    """
    _check(new, old)
    same = _same_network(new, old)
    places = [attrgetter("conditioner")]
    if new.cusp is not None:
        places.append(attrgetter("cusp.log_range"))
    if same:
        places += [attrgetter("blocks"), attrgetter("lift.bias")]
    if _shapes(new.weight_head) == _shapes(old.weight_head):
        places.append(attrgetter("weight_head"))
    for place in places:
        new = eqx.tree_at(place, new, _with_arrays(place(new), jax.tree.leaves(place(old))))
    if same:
        new = _with_waves(new, old)
        dressing = [_mean_of_orbitals(x, old, new) for x in jax.tree.leaves(old.dressing)]
    else:
        # The first step can still move it: the features behind are not zero.
        dressing = [jnp.zeros_like(x) for x in jax.tree.leaves(new.dressing)]
    new = eqx.tree_at(lambda q: q.dressing, new, _with_arrays(new.dressing, dressing))
    misfit = 0.0
    if new.pair is not None:
        conditions = jax.vmap(new.conditioner)(parameters).astype(new.lift.weight.dtype)
        pair, misfit = _fitted_pair(new, old, conditions, cell, old_cell, key, steps)
        new = eqx.tree_at(lambda q: q.pair, new, pair)
    return Transfer(new, same, float(misfit))


def _shapes(tree):
    return [(jax.tree_util.keystr(path), x.shape) for path, x in jax.tree_util.tree_leaves_with_path(tree)]


def _kinds(structure):
    """The classes of a tree's modules: routers and gates of several kinds have arrays of the same shapes."""
    node = structure.node_data()
    return [node and node[0], *(kind for child in structure.children() for kind in _kinds(child))]


def _with_arrays(tree, arrays):
    """A tree of the same precision as before, with other values."""
    leaves, structure = jax.tree.flatten(tree)
    values = [jnp.asarray(x, leaf.dtype) for leaf, x in zip(leaves, arrays, strict=True)]
    return jax.tree.unflatten(structure, values)


def _same_network(new: Qernel, old: Qernel) -> bool:
    plain = new.determinants == old.determinants and new.complex == old.complex
    rest = new.lift.in_size - new.embedding.features == old.lift.in_size - old.embedding.features
    kinds = [_kinds(jax.tree.structure(q.blocks)) for q in (new, old)]
    return plain and rest and _shapes(new.blocks) == _shapes(old.blocks) and kinds[0] == kinds[1]


def _waves(ansatz: Qernel) -> np.ndarray:
    assert isinstance(ansatz.embedding, PeriodicEmbedding)
    return np.asarray(ansatz.embedding.reciprocal_vectors)


def _with_waves(new: Qernel, old: Qernel) -> Qernel:
    """The maps from plane-wave features: cosines as they are, sines with the sign of the vector."""
    dtype = new.lift.weight.dtype
    mine, theirs = _waves(new), _waves(old)
    found = []
    for source, vector in enumerate(theirs):
        for sign in (1.0, -1.0):
            distance = np.linalg.norm(mine - sign * vector, axis=1)
            if distance.min() < 1e-6 * np.linalg.norm(vector):
                found.append((int(distance.argmin()), source, sign))
    places, sources, signs = np.array(found).reshape(-1, 3).T
    places, sources, signs = places.astype(int), sources.astype(int), jnp.asarray(signs, dtype)

    def mapped(weights, rest):
        """Rows of features: cosines, sines, and what is not a wave."""
        cos, sin, own = jnp.split(weights.astype(dtype), [len(theirs), 2 * len(theirs)])
        empty = jnp.zeros((len(mine), weights.shape[1]), dtype)
        even, odd = empty.at[places].set(cos[sources]), empty.at[places].set(signs[:, None] * sin[sources])
        return jnp.concatenate([even, odd, own][: 2 + rest])

    share = sum(old.electrons) / sum(new.electrons)
    biases = [share * mapped(bias.weights.T, False).T for bias in old.pair_biases]
    lift = mapped(old.lift.weight, True)
    return eqx.tree_at(lambda q: (q.lift.weight, *(b.weights for b in q.pair_biases)), new, (lift, *biases))


def _mean_of_orbitals(x: Array, old: Qernel, new: Qernel) -> Array:
    parts = x.reshape(*x.shape[:-1], -1, sum(old.electrons))
    mean = jnp.mean(parts, axis=-1, keepdims=True)
    return jnp.broadcast_to(mean, (*mean.shape[:-1], sum(new.electrons))).reshape(*x.shape[:-1], -1)


def _check(new: Qernel, old: Qernel) -> None:
    if not all(isinstance(q.embedding, PeriodicEmbedding) for q in (new, old)):
        raise ValueError("what is carried over is matched by the waves of two cells: both must be periodic")
    mine, theirs = new.conditioner, old.conditioner
    if mine.size != theirs.size:
        raise ValueError(
            f"the condition has {theirs.size} numbers there and {mine.size} here: choose condition_size alike"
        )
    ranges = [
        (c.varying, c.logarithmic, *(tuple(round(x, 12) for x in xs) for xs in (c.centre, c.half_width)))
        for c in (mine, theirs)
    ]
    if ranges[0] != ranges[1]:
        raise ValueError(
            "the two are trained for different ranges of parameters: choose the same lowest and highest value of every "
            "coordinate, the same phases and otherwise the same system"
        )
    for name in ("cusp", "pair"):
        if (getattr(new, name) is None) != (getattr(old, name) is None):
            raise ValueError(f"one of the two wavefunctions has a {name} factor and the other has none")


def _fitted_pair(new, old, conditions, cell, old_cell, key, steps):
    dtype = conditions.dtype
    radius = old_cell.shortest_translation() / 2
    key_edge, key_fit = jax.random.split(key)
    directions = jax.random.normal(key_edge, (_DIRECTIONS, cell.dim), dtype)
    edge = radius * directions / jnp.linalg.norm(directions, axis=1, keepdims=True)

    def channels(pair, separations):
        """u of parallel and antiparallel pairs: (hamiltonians, separations, 2)."""

        def of(condition):
            both = pair.of_pairs(condition)
            n = len(separations)
            return jnp.stack([both(separations, jnp.full(n, parallel)) for parallel in (True, False)], axis=1)

        return jax.vmap(of)(conditions)

    def target(separations):
        nearest = cell.minimum_image(separations)
        outside = jnp.mean(channels(old.pair, edge), axis=1, keepdims=True)
        distance = jnp.linalg.norm(nearest, axis=1) / radius
        x = jnp.clip((distance - _WHOLE) / (1 - _WHOLE), 0, 1)
        inside = (1 - x**2 * (3 - 2 * x))[None, :, None]
        return outside + inside * (channels(old.pair, nearest) - outside)

    def separations(key):
        """Half over the whole cell, half where the function is not constant."""
        keys = jax.random.split(key)
        whole = jax.random.uniform(keys[0], (_SEPARATIONS, cell.dim), dtype) @ jnp.asarray(cell.matrix, dtype)
        near = math.sqrt(0.5) * radius * jax.random.normal(keys[1], whole.shape, dtype)
        return jnp.concatenate([whole, near])

    # Behind the first layer the two are alike: only the features of the separation are others.
    start = new.pair
    for place in (attrgetter("film"), attrgetter("output"), lambda pair: pair.hidden.layers[1]):
        start = eqx.tree_at(place, start, _with_arrays(place(start), jax.tree.leaves(place(old.pair))))
    trained, static = eqx.partition(start, trainable(start))
    optimiser = optax.adam(lambda step: 5e-3 * (1 + jnp.cos(jnp.pi * jnp.asarray(step, dtype) / steps)))

    def misfit(trained, key):
        r = separations(key)
        wanted = target(r)
        found = channels(eqx.combine(trained, static), r)
        square = jnp.mean((found - wanted) ** 2)
        return square, square / (jnp.mean(jnp.var(wanted, axis=1)) + jnp.finfo(dtype).tiny)

    def step(carry, key):
        trained, state = carry
        (_, relative), slope = jax.value_and_grad(misfit, has_aux=True)(trained, key)
        # Optax promotes its counters in silence.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(slope, state)
        return (eqx.apply_updates(trained, updates), state), relative

    @compiled
    def fit(trained, keys):
        (trained, _), relative = jax.lax.scan(step, (trained, optimiser.init(trained)), keys)
        return trained, jnp.mean(relative[-20:])

    trained, relative = fit(trained, jax.random.split(key_fit, steps))
    return eqx.combine(trained, static), relative
