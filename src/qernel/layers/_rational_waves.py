import jax.numpy as jnp
from jaxtyping import Array, Float


def rational_waves(
    x: Float[Array, "*batch dim"], harmonics: int
) -> tuple[Float[Array, "*batch harmonics dim"], Float[Array, "*batch harmonics dim"]]:
    r"""Waves $\cos n\theta$ and $\sin n\theta$ with $\theta = \arctan x$, n = 1, ..., `harmonics`.

    Rational functions of x and $\sqrt{1 + x^2}$, smooth and bounded on the whole line: those of a plane wave on a
    circle of which the line is a projection. Even and odd in x. They are a complete set.

    **Source:** J. P. Boyd, J. Comput. Phys. 69, 112 (1987).
    """
    cosine = 1 / jnp.sqrt(1 + x**2)
    sine = x * cosine
    cosines, sines = [cosine], [sine]
    for _ in range(harmonics - 1):
        # The angles add up.
        c, s = cosines[-1], sines[-1]
        cosines.append(c * cosine - s * sine)
        sines.append(s * cosine + c * sine)
    return jnp.stack(cosines, axis=-2), jnp.stack(sines, axis=-2)
