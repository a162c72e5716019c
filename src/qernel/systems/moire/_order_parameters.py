"""Observables that tell a crystal of electrons in a moiré potential from a liquid."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from qernel.hamiltonian import Hamiltonian
from qernel.lattice import Lattice
from qernel.observables import (
    AbstractObservable,
    Estimate,
    Grid,
    Measured,
    Measurement,
    default_wave_vectors,
    density_waves,
    walker_means,
    zone_corners,
)
from qernel.systems import OrderParameter

from ._crystal_order import crystal_order


class CornerStructureFactor(AbstractObservable):
    r"""S(K), the mean of $S(q) = \langle|\rho_q|^2\rangle/N$ over the corners K, K' of the moiré Brillouin zone.

    `structure_factor_K_peak` is 1 where S(K) exceeds 1 and S(q) everywhere else but at the potential's own Bragg
    vectors, 0 elsewhere. NaN if the periodic cell does not hold the waves of the corners.
    """

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        hamiltonian = measurement.hamiltonian
        text, symbol = "S(q) at the corners of the moiré Brillouin zone", "S(K)"
        if not holds_corners(hamiltonian):
            missing = Estimate(np.array(np.nan), np.array(np.nan))
            return {"structure_factor_K": Measured(missing, "1", text, symbol)}
        assert hamiltonian.primitive is not None
        samples = np.asarray(measurement.samples, np.float64)
        corners = zone_corners(hamiltonian.primitive)
        order = walker_means(Partial(_mean_structure, corners), samples).estimate()
        others = _others(hamiltonian.primitive, default_wave_vectors(hamiltonian))
        elsewhere = walker_means(Partial(_structure, others), samples).estimate().value
        peak = float(order.value > 1 and order.value > np.max(elsewhere, initial=0.0))
        what = "whether S(q) has its peak at the corners"
        return {
            "structure_factor_K": Measured(order, "1", text, symbol),
            "structure_factor_K_peak": Measured(Estimate(np.array(peak), np.array(0.0)), "1", what),
        }


class CrystalOrders(AbstractObservable):
    """Order, Binder ratio and registries of the √3 x √3 crystal: see
    [`crystal_order`][qernel.systems.moire.crystal_order].

    Nothing is measured if the periodic cell does not hold the waves of the crystal.
    """

    def measure(self, measurement: Measurement) -> dict[str, Measured]:
        if not holds_corners(measurement.hamiltonian):
            return {}
        found = crystal_order(measurement.samples, measurement.hamiltonian)
        measured = {
            "crystal_order": Measured(
                found.order, "1", "mean of |rho_K|/N at the corners of the moiré Brillouin zone", "crystal order"
            ),
            "crystal_order_squared": Measured(found.squared, "1", "<|rho_K|^2>/N^2", "squared crystal order"),
            "binder_ratio": Measured(
                found.binder, "1", "2 - <m^4>/<m^2>^2 of m = |rho_K|/N: 1 in a crystal, 0 if Gaussian", "Binder ratio"
            ),
        }
        if found.registries is not None:
            text = "share of samples in each registry of the sqrt3 crystal"
            grid = {"registry": Grid(np.arange(3))}
            measured["registry_share"] = Measured(found.registries, "1", text, "share", ("registry",), grid)
        return measured


def order_parameters() -> tuple[OrderParameter, ...]:
    """S(K): 0.2 more or less is no change of phase."""
    signature = "structure_factor_K_peak"
    what = "a peak at K"
    return (OrderParameter(CornerStructureFactor(), "structure_factor_K", "liquid", "crystal", 0.2, signature, what),)


def holds_corners(hamiltonian: Hamiltonian) -> bool:
    """Whether the periodic cell holds the waves of the √3 x √3 crystal."""
    cell = hamiltonian.supercell
    corners: Any = () if cell is None else zone_corners(cell.primitive)
    return cell is not None and len(corners) > 0 and cell.contains(corners[0])


def _others(primitive: Lattice, vectors: Float[np.ndarray, "vectors dim"]) -> Float[np.ndarray, "others dim"]:
    """Wave vectors that are neither the potential's Bragg vectors nor equivalent to a corner of its zone."""
    whole = lambda q: np.all(np.abs(q - np.round(q)) < 1e-6, axis=-1)
    turns = vectors @ primitive.matrix.T / (2 * np.pi)
    corners = zone_corners(primitive) @ primitive.matrix.T / (2 * np.pi)
    at_corner = whole(turns[:, None] - corners[None]).any(axis=1)
    return vectors[~whole(turns) & ~at_corner]


def _structure(vectors: Array, r: Float[Array, "electrons dim"]) -> Array:
    return jnp.sum(density_waves(r, vectors) ** 2, axis=0) / len(r)


def _mean_structure(vectors: Array, r: Float[Array, "electrons dim"]) -> Array:
    return jnp.mean(_structure(vectors, r))
