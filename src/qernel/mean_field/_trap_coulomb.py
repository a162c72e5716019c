"""Coulomb integrals between the functions of an isotropic oscillator."""

import numpy as np
from jaxtyping import Float, Int
from numpy.polynomial.hermite import hermgauss
from numpy.polynomial.legendre import leggauss

# Points of the integral over Gaussians beside those that the polynomials need.
_POINTS = 24


class TrapCoulomb:
    r"""$(ab|cd) = \iint \phi_a\phi_b(x)\,|x - y|^{-1}\,\phi_c\phi_d(y)$ of oscillator functions of frequency 1.

    With $1/r = \frac{2}{\sqrt\pi}\int_0^\infty e^{-u^2r^2}\,du$ every integral is one over u of products of integrals
    along one axis, which Gauss quadrature in the mean and relative coordinate of two electrons does exactly; u is
    $\cos\theta/(\sqrt2\sin\theta)$, of which what is left is a polynomial in $\sin\theta$. At the frequency Ω an
    integral is $\sqrt\Omega$ times as large.

    **Arguments:** `levels`, quantum numbers of the functions in two or three dimensions. Memory grows as the fourth
    power of their number: 27 MB for 36 functions, 160 MB for 56.
    """

    def __init__(self, levels: Int[np.ndarray, "functions dim"]):
        count, dim = levels.shape
        highest = int(levels.max())
        theta, weights = leggauss(_POINTS + 2 * highest * dim)
        theta, weights = np.pi / 4 * (theta + 1), np.pi / 4 * weights
        weights = weights * np.sqrt(2 / np.pi) / np.sin(theta) ** 2
        # Of two functions in either order there is one product.
        first, second = np.triu_indices(count)
        of_pairs = np.zeros((len(first), len(first)))
        for angle, weight in zip(theta, weights, strict=True):
            along = _along_one_axis(highest + 1, np.sin(angle))
            product: np.ndarray | float = weight
            for axis in range(dim):
                pair = levels[first, axis] * (highest + 1) + levels[second, axis]
                product = product * along[pair[:, None], pair[None]]
            of_pairs += product
        number = np.zeros((count, count), dtype=np.int64)
        number[first, second] = number[second, first] = np.arange(len(first))
        table = of_pairs[number.ravel()[:, None], number.ravel()[None]]
        self._integrals = table
        self._exchange = table.reshape((count,) * 4).transpose(0, 2, 1, 3).reshape(count**2, count**2)
        self._count = count

    def fields(
        self, density: Float[np.ndarray, "functions functions"]
    ) -> tuple[Float[np.ndarray, "functions functions"], Float[np.ndarray, "functions functions"]]:
        """Hartree and exchange matrices of a density matrix, $J_{ab} = \\sum (ab|cd) D_{cd}$ and
        $K_{ab} = \\sum (ac|bd) D_{cd}$."""
        shape = (self._count, self._count)
        return (self._integrals @ density.ravel()).reshape(shape), (self._exchange @ density.ravel()).reshape(shape)


def _along_one_axis(functions: int, sine: float) -> Float[np.ndarray, "pairs pairs"]:
    r"""$\iint h_a h_b(x)\,e^{-u^2(x-y)^2}\,h_c h_d(y)$ with $1 + 2u^2 = 1/\sin^2\theta$, for all pairs ab and cd."""
    nodes, weights = hermgauss(2 * functions)
    mean, relative = (grid.ravel() for grid in np.meshgrid(nodes, nodes * sine, indexing="ij"))
    weight = sine * np.outer(weights, weights).ravel()
    pairs = []
    for x in ((mean + relative) / np.sqrt(2), (mean - relative) / np.sqrt(2)):
        # Orthonormal Hermite polynomials: the Gaussians are in the weights.
        table = [np.full_like(x, np.pi**-0.25)]
        for n in range(functions - 1):
            below = np.sqrt(n / (n + 1)) * table[n - 1] if n else 0.0
            table.append(np.sqrt(2 / (n + 1)) * x * table[n] - below)
        h = np.stack(table)
        pairs.append((h[:, None] * h[None]).reshape(functions**2, -1))
    return (pairs[0] * weight) @ pairs[1].T
