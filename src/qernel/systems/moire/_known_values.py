"""Energies known from exact diagonalisation and Hartree-Fock, for the systems that have them."""

import importlib.resources
import json
from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    import xarray

_DATA = importlib.resources.files("qernel.observables") / "data" / "moire.json"


class KnownValues(eqx.Module):
    """Reference energies of one moiré system against its depth, in meV per electron.

    - `exact`: exact diagonalisation, extrapolated to all bands, uncertain by `exact_error`: an estimate,
      not a bound.
    - `upper_bound`: the variational value of the same calculation; the exact energy lies below.
    - `kinetic`, `moire`, `interaction`: terms of the exact state (six electrons: to about 0.1 meV).
    - `momentum`: name of the exact ground state's crystal momentum; where it changes, levels cross.
    - `hartree_fock` at `hartree_fock_depth`: an upper bound.
    """

    depth: Float[np.ndarray, " depths"]
    exact: Float[np.ndarray, " depths"]
    exact_error: Float[np.ndarray, " depths"]
    upper_bound: Float[np.ndarray, " depths"]
    kinetic: Float[np.ndarray, " depths"]
    moire: Float[np.ndarray, " depths"]
    interaction: Float[np.ndarray, " depths"]
    momentum: tuple[str, ...]
    hartree_fock_depth: Float[np.ndarray, " more"]
    hartree_fock: Float[np.ndarray, " more"]

    def exact_at(
        self, depths: Float[np.ndarray, " rows"]
    ) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
        """Exact energies and their uncertainties at the given depths, NaN where none is known."""
        return _at(self.depth, self.exact, depths), _at(self.depth, self.exact_error, depths)

    def hartree_fock_at(self, depths: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Hartree-Fock energies at the given depths, NaN where none is known."""
        return _at(self.hartree_fock_depth, self.hartree_fock, depths)


def _at(known, values, depths):
    close = np.abs(np.asarray(depths)[:, None] - known[None]) < 1e-6
    found = close.any(axis=1)
    picked = values[np.argmax(close, axis=1)] if len(known) else np.zeros(len(close))
    return np.where(found, picked, np.nan)


def known_values(dataset: "xarray.Dataset") -> KnownValues | None:
    """Reference energies of a data set's system, or None.

    The number of electrons, the periodic cell, the material and the phase of every row must agree.
    """
    table = json.loads(_DATA.read_text("utf-8"))
    if not _same_system(dataset, table["material"]):
        return None
    electrons = int(dataset.attrs["electrons_up"])
    index = np.reshape(dataset.attrs["supercell_index"], (2, 2))

    def matches(case):
        return case["electrons"] == electrons and _same_cell(index, case["cells"])

    exact = sorted(filter(matches, table["exact"]["cases"]), key=lambda case: case["depth_meV"])
    mean_field = sorted(filter(matches, table["hartree_fock"]["cases"]), key=lambda case: case["depth_meV"])
    if not exact and not mean_field:
        return None

    def column(cases, name):
        return np.array([case[name] for case in cases], np.float64)

    return KnownValues(
        depth=column(exact, "depth_meV"),
        exact=column(exact, "estimate"),
        exact_error=column(exact, "estimate_error"),
        upper_bound=column(exact, "upper_bound"),
        kinetic=column(exact, "kinetic"),
        moire=column(exact, "moire"),
        interaction=column(exact, "interaction"),
        momentum=tuple(case["momentum"] for case in exact),
        hartree_fock_depth=column(mean_field, "depth_meV"),
        hartree_fock=column(mean_field, "energy"),
    )


def _same_system(dataset, material: dict[str, float]) -> bool:
    if sorted(np.atleast_1d(dataset.attrs["potentials"]).tolist()) != ["interaction", "moire"]:
        return False
    if int(dataset.attrs["electrons_down"]) or "supercell_index" not in dataset.attrs:
        return False
    return all(
        name in dataset.coords and bool(np.allclose(dataset[name].values, value, rtol=1e-6))
        for name, value in material.items()
    )


def _same_cell(index, cells) -> bool:
    """Whether two supercells are the same lattice: their vectors are whole combinations of each other's."""
    if index.shape != (2, 2):
        return False
    change = index @ np.linalg.inv(np.diag(cells))
    return bool(np.allclose(change, np.round(change)) and np.isclose(abs(np.linalg.det(change)), 1))
