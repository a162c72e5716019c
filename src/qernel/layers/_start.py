import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, PRNGKeyArray


def normal(key: PRNGKeyArray, shape: tuple[int, ...], deviation: float, dtype: np.dtype) -> Float[Array, "..."]:
    """Draw normal numbers of standard `deviation` for initial weights, seeded by `key`.

    They come from NumPy in float64 and are then rounded: `jax.random` compiles a program per shape, which is most of
    the time of building a network, and float32 and float64 networks of one key agree up to rounding. Under
    `jit`, `vmap` or `eval_shape` the numbers come from a callback.
    """

    def draw(seed):
        numbers = np.random.default_rng(np.asarray(seed, np.uint32)).standard_normal(shape)
        return (deviation * numbers).astype(dtype)

    seed = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    if isinstance(seed, Tracer):
        return jax.pure_callback(draw, jax.ShapeDtypeStruct(shape, dtype), seed, vmap_method="sequential")
    return jnp.array(draw(seed))


def constant(value: float, shape: tuple[int, ...], dtype: np.dtype) -> Float[Array, "..."]:
    """Make an array of equal numbers, without compiling a program for its shape."""
    return jnp.array(np.full(shape, value, dtype))
