"""Observables of recorded samples, as labelled arrays."""

import warnings
from typing import TYPE_CHECKING

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from qernel.ansatz import Ansatz
from qernel.hamiltonian import Family
from qernel.lattice import Supercell
from qernel.systems.moire import Material

from qernel.systems.moire import crystal_order
from qernel.observables import Estimate
from ._evaluation import Evaluation
from qernel.observables import localisation_length
from qernel.observables import momentum_distribution
from qernel.observables import pair_correlation
from qernel.observables import moire_supercell, zone_corners

if TYPE_CHECKING:
    import xarray


def add_sample_observables(
    dataset: "xarray.Dataset", evaluation: Evaluation, family: Family, material: Material | None, dimension: str
) -> "xarray.Dataset":
    """g(r), crystal order with its Binder ratio, localisation length; none without samples or a periodic cell.

    Lengths are those of the reference lattice, as in the density.
    """
    hamiltonian = family.hamiltonian
    if evaluation.samples is None or hamiltonian.cell is None:
        return dataset
    length, unit = (1.0, "effective Bohr radii") if material is None else (material.bohr_nm, "nm")
    with warnings.catch_warnings():
        # Errors of fewer than eight walkers are NaN, which says it in the table.
        warnings.filterwarnings("ignore", "an error bar needs")
        pairs = [pair_correlation(samples, hamiltonian) for samples in evaluation.samples]
        clouds = [localisation_length(samples, hamiltonian) for samples in evaluation.samples]
        orders = (
            [crystal_order(samples, hamiltonian) for samples in evaluation.samples]
            if _has_corners(moire_supercell(hamiltonian))
            else []
        )
    separation = (pairs[0].displacement * length, {"units": unit, "long_name": "distance of two electrons"})
    dataset = dataset.assign_coords(r=("r", *separation))
    over_r = (dimension, "r")
    _add(dataset, "pair_correlation", over_r, [p.total for p in pairs], "pair correlation function")
    if pairs[0].antiparallel is not None:
        for name in ("parallel", "antiparallel"):
            text = f"pair correlation function of {name} spins"
            _add(dataset, f"pair_correlation_{name}", over_r, [getattr(p, name) for p in pairs], text)
    text = "localisation length; a lower bound where polarisation_modulus is not above its error"
    _add(dataset, "localisation_length", (dimension,), [c.length for c in clouds], text, unit, length)
    text = "|<exp(ib.sum r)>| at the shortest reciprocal vectors of the periodic cell"
    _add(dataset, "polarisation_modulus", (dimension,), [c.modulus for c in clouds], text)
    if orders:
        for name, field, text in (
            ("crystal_order", "order", "<|rho_K|>/N at the corners of the moiré Brillouin zone"),
            ("crystal_order_squared", "squared", "<|rho_K|^2>/N^2"),
            ("binder_ratio", "binder", "2 - <m^4>/<m^2>^2 of m = |rho_K|/N: 1 in a crystal, 0 if Gaussian"),
        ):
            _add(dataset, name, (dimension,), [getattr(order, field) for order in orders], text)
        text = "share of samples in each registry of the sqrt3 crystal"
        _add(dataset, "registry_share", (dimension, "registry"), [order.registries for order in orders], text)
    return dataset


def add_momentum_distribution(
    dataset: "xarray.Dataset",
    evaluation: Evaluation,
    family: Family,
    ansatz: Ansatz,
    material: Material | None = None,
    *,
    key: PRNGKeyArray,
) -> "xarray.Dataset":
    """n(k) of every Hamiltonian in a table of [`results`][qernel.observables.results], and of each spin if both occur.

    For every recorded sample the wavefunction is evaluated N + 1 times. Unchanged without samples or a periodic cell;
    the arguments are those of [`evaluate`][qernel.observables.evaluate].
    """
    hamiltonian = family.hamiltonian
    if evaluation.samples is None or hamiltonian.cell is None:
        return dataset
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "an error bar needs")
        found = [
            momentum_distribution(samples, hamiltonian, ansatz, family.select(row), key=jax.random.fold_in(key, row))
            for row, samples in enumerate(evaluation.samples)
        ]
    length, unit = (1.0, "inverse effective Bohr radii") if material is None else (material.bohr_nm, "1/nm")
    dataset["momentum"] = (("k", "component"), found[0].wave_vectors / length, {"units": unit})
    over_k = (str(dataset["energy"].dims[0]), "k")
    text = "occupation of plane waves"
    _add(dataset, "momentum_distribution", over_k, [n.total for n in found], text)
    if all(hamiltonian.electrons):
        for spin, name in enumerate(("up", "down")):
            of_spin = [Estimate(n.of_spins.value[spin], n.of_spins.error[spin]) for n in found]
            _add(dataset, f"momentum_distribution_{name}", over_k, of_spin, f"{text}, spin {name}")
    return dataset


def _add(dataset, name, dimensions, estimates, text, units="1", scale=1.0) -> None:
    for suffix, field in (("", "value"), ("_error", "error")):
        values = scale * np.stack([getattr(estimate, field) for estimate in estimates])
        dataset[name + suffix] = (dimensions, values, {"units": units, "long_name": text})


def _has_corners(moire: Supercell | None) -> bool:
    """Whether the periodic cell holds the waves of the √3 x √3 crystal."""
    corners = () if moire is None else zone_corners(moire.primitive)
    return moire is not None and len(corners) > 0 and moire.contains(corners[0])
