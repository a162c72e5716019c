"""Densities of a dot along the radius, and around one of its electrons."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from qernel.observables import AbstractObservable, Estimate, Grid, Measured, Measurement, walker_means

from ._family import dot_frequency

# Lengths 1/√ω: a family is seen at one size, whatever its frequencies.
_LENGTH = "1/√ω"


class RadialDensity(AbstractObservable):
    r"""The density of a dot along its radius, mean over all directions,

    $$ n(\rho) = \Bigl\langle\sum_i \frac{\delta(\rho - r_i\sqrt\omega)}{\Omega_d\,\rho^{d-1}}\Bigr\rangle , $$

    with $\Omega_2 = 2\pi$ and $\Omega_3 = 4\pi$, in the trap's lengths $1/\sqrt\omega$, on equal bins.

    **Arguments:** `reach`, the radius of the last bin in these lengths, beyond which electrons are not counted; `bins`.
    """

    reach: float = eqx.field(static=True)
    bins: int = eqx.field(static=True, default=40)

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        dim = measurement.hamiltonian.dim
        found = walker_means(Partial(_radii, self.reach, self.bins), _scaled(measurement)).estimate()
        edges = np.linspace(0, self.reach, self.bins + 1)
        volumes = np.diff(edges**dim) * {2: np.pi, 3: 4 * np.pi / 3}[dim]
        grid = Grid((edges[1:] + edges[:-1]) / 2, _LENGTH, "distance from the centre")
        density = Estimate(found.value / volumes, found.error / volumes)
        text = "electron density along the radius"
        return {
            "radial_density": Measured(
                density, "ω" if dim == 2 else "ω^{3/2}", text, "n(r)", ("radius",), {"radius": grid}
            )
        }


class PairDensity(AbstractObservable):
    r"""The density of the other electrons of a two-dimensional dot, in a frame that turns with one of them:

    $$ n(x, y) = \frac1N\Bigl\langle\sum_i\sum_{j\ne i} \delta\bigl((x, y) - R_i\,r_j\sqrt\omega\bigr)\Bigr\rangle , $$

    where the rotation $R_i$ puts electron i on the positive x axis. So the order of the electrons in angle shows, which
    the density, round as it is, does not have. In three dimensions nothing is measured.

    **Arguments:** `reach`, half the length of the box in the trap's lengths $1/\sqrt\omega$; `bins` along an axis.
    """

    reach: float = eqx.field(static=True)
    bins: int = eqx.field(static=True, default=40)

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        if measurement.hamiltonian.dim != 2 or measurement.hamiltonian.n_electrons == 1:
            return {}
        found = walker_means(Partial(_others, self.reach, self.bins), _scaled(measurement)).estimate()
        edges = np.linspace(-self.reach, self.reach, self.bins + 1)
        area = (edges[1] - edges[0]) ** 2
        centres = (edges[1:] + edges[:-1]) / 2
        grids = {
            "along": Grid(centres, _LENGTH, "x"),
            "across": Grid(centres, _LENGTH, "y"),
        }
        density = Estimate(found.value / area, found.error / area)
        text = "density of the other electrons around one on the positive x axis"
        return {"pair_density": Measured(density, "ω", text, "n(x, y)", ("along", "across"), grids)}


def _scaled(measurement: Measurement) -> Float[np.ndarray, "walkers records electrons dim"]:
    omega = float(dot_frequency(measurement.parameters))
    return np.asarray(measurement.samples, np.float64) * np.sqrt(omega)


def _radii(reach: float, bins: int, r: Float[Array, "electrons dim"]) -> Array:
    places = jnp.sqrt(jnp.sum(r**2, axis=1)) / reach * bins
    return jnp.zeros(bins, r.dtype).at[places.astype(jnp.int32)].add(1.0, mode="drop")


def _others(reach: float, bins: int, r: Float[Array, "electrons 2"]) -> Array:
    n = len(r)
    unit = r / jnp.sqrt(jnp.sum(r**2, axis=1, keepdims=True))
    # Electron j as seen from i, along i and across it.
    along = jnp.matmul(unit, r.T, precision="highest")
    across = unit[:, :1] * r[None, :, 1] - unit[:, 1:] * r[None, :, 0]
    seen = jnp.stack([along, across], axis=-1)
    places = jnp.floor((seen / reach + 1) / 2 * bins).astype(jnp.int32)
    inside = jnp.all((places >= 0) & (places < bins), axis=-1) & ~jnp.eye(n, dtype=bool)
    places = jnp.where(inside[..., None], places, bins)
    return jnp.zeros((bins, bins), r.dtype).at[places[..., 0], places[..., 1]].add(1.0 / n, mode="drop")
