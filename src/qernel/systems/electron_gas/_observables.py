"""The structure factor of a gas, and what its finite cell leaves out of the energy."""

import functools
from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float
from scipy.special import gamma

from qernel.lattice import Lattice, shells
from qernel.observables import AbstractObservable, Estimate, Measured, Measurement, density_waves, walker_means

from ._bulk import bulk_energy, bulk_kinetic
from ._family import gas_inverse_mass, gas_strength
from ._filling import plane_wave_filling

# Plasmons: at long waves S(q) goes as q² in space and as q^{3/2} in the plane, v(q) S(q) and q²/S(q) as this power.
_POWER = {2: 0.5, 3: 0.0}


class BraggPeak(AbstractObservable):
    """S(G) of a gas at the shortest reciprocal vectors of its Wigner crystal, mean over them: `bragg_peak`.

    **Arguments:** `vectors`, G.
    """

    vectors: tuple[tuple[float, ...], ...] = eqx.field(static=True)

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        vectors = np.array(self.vectors)
        text = "structure factor at the shortest reciprocal vectors of the Wigner crystal"
        return {"bragg_peak": Measured(_structure(measurement, vectors), "1", text, "S(G)")}


class FiniteSizeCorrections(AbstractObservable):
    r"""Corrections of the energy per electron for the finite cell, in Hartree: the infinite gas has so much more.

    - `potential_correction`, $\frac1{2\Omega}\,v(q)\,S(q)\,q^{-\alpha} Z$, and `kinetic_correction`,
      $\frac1{8N}\,q^2\,[1/S(q) - 1/S_0(q)]\,q^{-\alpha} Z$, from the measured structure factor S and that of the
      determinant, S₀, at the shortest wave vectors q of the cell: sums over q stand for integrals, and miss what is
      singular at q = 0, where both integrands go as $q^\alpha$, α = 0 in space and ½ in the plane;
      $Z = \lim\,[\frac\Omega{(2\pi)^d}\int d^dq - \sum_{q\ne0}]\,q^\alpha$.
    - `shell_correction`: the kinetic energy of free electrons in the infinite gas less that in the cell.
    - `bulk_fit`: the published energy of the infinite gas,
      [`bulk_energy`][qernel.systems.electron_gas.bulk_energy].

    The energy with the three corrections is an estimate of `bulk_fit`, the better the more electrons there are.

    **Source:** S. Chiesa et al., Phys. Rev. Lett. 97, 076404 (2006); N. D. Drummond et al., Phys. Rev. B 78, 125106
    (2008).
    """

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        hamiltonian, parameters = measurement.hamiltonian, measurement.parameters
        cell, n, dim = hamiltonian.cell, hamiltonian.n_electrons, hamiltonian.dim
        assert cell is not None
        filling = plane_wave_filling(cell, hamiltonian.electrons, _turns(parameters, dim))
        vectors = shells(cell, 1)
        q = float(np.linalg.norm(vectors[0]))
        found = _structure(measurement, vectors)
        measured, error = float(found.value), float(found.error)
        integers = np.round(vectors @ cell.matrix.T / (2 * np.pi)).astype(np.int64)
        free = float(np.mean(filling.structure_factor(integers)))
        singular = _missing(cell) * q ** -_POWER[dim]
        kernel = 4 * np.pi / q**2 if dim == 3 else 2 * np.pi / q
        potential = float(gas_strength(parameters)) * kernel * singular / (2 * cell.volume)
        kinetic = float(gas_inverse_mass(parameters)) * q**2 * singular / (8 * n)
        r_s = float(parameters["r_s"])
        polarisation = (hamiltonian.electrons[0] - hamiltonian.electrons[1]) / n
        scale, unit = measurement.units.hartree, measurement.units.per_electron
        estimates = {
            "potential_correction": (potential * measured, potential * error, "of the potential energy"),
            "kinetic_correction": (
                kinetic * (1 / measured - 1 / free),
                kinetic * error / measured**2,
                "of the kinetic energy",
            ),
            "shell_correction": (
                bulk_kinetic(r_s, polarisation, dim) - filling.kinetic / r_s**2 / n,
                0.0,
                "of the kinetic energy of free electrons",
            ),
        }
        measured_corrections = {
            name: Measured(Estimate(value * scale, error * scale), unit, f"finite-size correction {what}")
            for name, (value, error, what) in estimates.items()
        }
        bulk = Estimate(bulk_energy(r_s, polarisation, dim) * scale, 0.0)
        return measured_corrections | {
            "bulk_fit": Measured(bulk, unit, "published fit of the energy of the infinite gas")
        }


def _turns(parameters: Mapping[str, Float[Array, ""]], dim: int) -> tuple[float, ...]:
    """The twist of one Hamiltonian in turns, without the rounding of its way through angles."""
    return tuple(round(float(parameters[f"twist_{k + 1}"]), 12) for k in range(dim))


def _structure(measurement: Measurement, vectors: Float[np.ndarray, "vectors dim"]) -> Estimate:
    """S(q), mean over the vectors."""
    return walker_means(Partial(_mean, vectors), np.asarray(measurement.samples, np.float64)).estimate()


@functools.lru_cache(maxsize=32)
def _missing(cell: Lattice) -> float:
    r"""Weight of the singular point.

    $$ Z = \lim_{\epsilon\to0}\,\Bigl[\frac\Omega{(2\pi)^d}\int d^dq - \sum_{q\ne0}\Bigr]\,q^\alpha e^{-\epsilon q^2} $$
    """
    if cell.dim == 3:
        return 1.0
    power = _POWER[2]
    widest = 40 * Lattice(cell.reciprocal).shortest_translation()
    squares = np.sum(cell.reciprocal_vectors(widest) ** 2, axis=1)

    def difference(epsilon: float) -> float:
        integral = cell.volume / (4 * np.pi) * gamma(1 + power / 2) * epsilon ** (-1 - power / 2)
        return float(integral - np.sum(squares ** (power / 2) * np.exp(-epsilon * squares)))

    # What is left is linear in ε.
    epsilon = 36 / widest**2
    return 2 * difference(epsilon) - difference(2 * epsilon)


def _mean(vectors: Float[Array, "vectors dim"], r: Float[Array, "electrons dim"]) -> Float[Array, ""]:
    return jnp.mean(jnp.sum(density_waves(r, jnp.asarray(vectors, r.dtype)) ** 2, axis=0)) / r.shape[0]
