"""Names that a system gives to points of its Brillouin zone."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from qernel.hamiltonian import Hamiltonian

if TYPE_CHECKING:
    import xarray


def check_zone_points(hamiltonian: Hamiltonian, points: Mapping[str, Float[np.ndarray, "points dim"]]) -> None:
    """Check that named points of the Brillouin zone are vectors.

    **Raises:** `ValueError` for other shapes, or without a potential that has a lattice.
    """
    if points and hamiltonian.supercell is None:
        raise ValueError(f"the zone points {', '.join(points)} need a periodic cell of a potential that has a lattice")
    for name, vectors in points.items():
        if np.ndim(vectors) != 2 or np.shape(vectors)[1] != hamiltonian.dim:
            raise ValueError(
                f"the zone point '{name}' needs vectors of the shape (points, {hamiltonian.dim}), got "
                f"{np.shape(vectors)}"
            )


def label_momenta(
    dataset: "xarray.Dataset", hamiltonian: Hamiltonian, points: Mapping[str, Float[np.ndarray, "points dim"]]
) -> None:
    """Label the total momenta of a table with the names of the points that they are equivalent to."""
    cell, primitive = hamiltonian.cell, hamiltonian.primitive
    if "total_momentum" not in dataset or cell is None or primitive is None:
        return
    vectors = dataset["momentum_vector"].values @ cell.reciprocal
    names = [""] * len(vectors)
    for name, of_name in points.items():
        turns = (vectors[:, None] - of_name) @ primitive.matrix.T / (2 * np.pi)
        equivalent = np.all(np.abs(turns - np.round(turns)) < 1e-6, axis=-1).any(axis=1)
        names = [name if same else old for same, old in zip(equivalent, names, strict=True)]
    dataset["total_momentum"].attrs["names"] = names
