"""Layers of the tests, and what goes into them."""

import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from qernel import layers
from qernel.layers import ConditionRouter, ElectronRouter, JointRouter, MixtureOfExperts, Spline, SquaredReLU, TopK

ELECTRONS, FEATURES, CONDITION, EXPERTS = 5, 8, 3, 4
KEY = jax.random.key(7)


class Conditioned(eqx.Module):
    """A layer of (x, condition) with the condition filled in."""

    layer: Any
    condition: jax.Array

    def __call__(self, x):
        return self.layer(x, self.condition)


def numbers(shape, dtype=jnp.float64):
    return jnp.asarray(np.random.default_rng(3).normal(size=shape), dtype)


def condition(dtype):
    return jnp.asarray([0.4, -0.3, 1.1], dtype)


ROUTERS = {"electron": ElectronRouter, "condition": ConditionRouter, "joint": JointRouter}


def router(kind, dtype):
    sizes = {"features": FEATURES, "condition_size": CONDITION, "experts": EXPERTS}
    return ROUTERS[kind](**sizes, key=KEY, dtype=dtype)


def top_k(k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TopK(k)


GATES = {"softmax": layers.Softmax, "relu2": SquaredReLU, "top2": lambda: top_k(2), "spline": Spline}


def mixture(kind, gate, dtype):
    layer = MixtureOfExperts(FEATURES, 6, EXPERTS, router=router(kind, dtype), gate=GATES[gate](), key=KEY, dtype=dtype)
    bias_in = numbers(layer.bias_in.shape, dtype)
    bias_out = numbers(layer.bias_out.shape, dtype)
    layer = eqx.tree_at(lambda m: (m.bias_in, m.bias_out), layer, (bias_in, bias_out))
    return Conditioned(layer, condition(dtype))


def features(dtype=jnp.float64, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(ELECTRONS, FEATURES)), dtype)
