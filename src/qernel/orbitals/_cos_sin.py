"""Cosine and sine of many phases at once: polynomials, which vectorise where a library's cosine does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@functools.cache
def _coefficients(terms: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Of $\cos(2\pi t)$ and $\sin(2\pi t)/t$ in powers of $t^2$, $|t| \le 1/4$: interpolated at Chebyshev points."""

    def powers(function):
        series = np.polynomial.Chebyshev.interpolate(function, terms, domain=[0.0, 1 / 16])
        return np.asarray(series.convert(kind=np.polynomial.Polynomial).coef)

    cosine = powers(lambda square: np.cos(2 * np.pi * np.sqrt(square)))
    return cosine, powers(lambda square: 2 * np.pi * np.sinc(2 * np.sqrt(square)))


def _horner(coefficients, x):
    total = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = total * x + x.dtype.type(coefficient)
    return total


@jax.custom_jvp
def cos_sin(turns: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    r"""$\cos 2\pi t$ and $\sin 2\pi t$, to about $10^{-7}$ in single and $10^{-15}$ in double precision.

    The nearest half turn is taken off, which is exact, and polynomials do the rest: on a CPU about five times faster
    than `jnp.cos` and `jnp.sin`, whose range reduction does not vectorise there.
    """
    terms = 5 if turns.dtype == jnp.float32 else 10
    half_turns = jnp.round(2 * turns)
    t = turns - half_turns / 2
    # (-1)^k
    sign = 1 - 4 * (half_turns / 2 - jnp.floor(half_turns / 2))
    cosine, sine = (_horner(c, t * t) for c in _coefficients(terms))
    return sign * cosine, sign * t * sine


@cos_sin.defjvp
def _cos_sin_jvp(primals, tangents):
    cosine, sine = cos_sin(*primals)
    change = 2 * np.pi * tangents[0]
    return (cosine, sine), (-sine * change, cosine * change)
