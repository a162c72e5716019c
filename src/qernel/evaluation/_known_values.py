"""Energies and phase boundaries known from other methods, beside the results of a wavefunction."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ._axes import axes_of, coordinates_of, positions_on, rows_of, same_points

if TYPE_CHECKING:
    import xarray

_COLUMNS = ("exact", "exact_error", "upper_bound", "mean_field")


class KnownValues(eqx.Module):
    """Reference values at points of a family, per electron in the unit of the results; NaN where one is not known.

    - `names`: of the coordinates; `points`: their values.
    - `exact`, uncertain by `exact_error`: an estimate, where that is not 0; `upper_bound`: a variational value of the
      same calculation; the exact energy lies below it.
    - `terms`: expectation values of terms of the Hamiltonian in the exact state.
    - `mean_field`: the best known energy of one determinant, an upper bound.
    - `method`, `mean_field_method`: what they come from; `remark`: what a reader of figures should know of them.
    - `boundaries`: lines (or places, with one coordinate) where the exact ground state changes its phase, each as
      points in the order of `names`.
    """

    names: tuple[str, ...] = eqx.field(static=True)
    points: Float[np.ndarray, "known coordinates"]
    exact: Float[np.ndarray, " known"]
    exact_error: Float[np.ndarray, " known"]
    upper_bound: Float[np.ndarray, " known"]
    mean_field: Float[np.ndarray, " known"]
    terms: dict[str, Float[np.ndarray, " known"]]
    method: str = eqx.field(static=True, default="exact")
    mean_field_method: str = eqx.field(static=True, default="Hartree-Fock")
    remark: str = eqx.field(static=True, default="")
    boundaries: tuple[Float[np.ndarray, "_ coordinates"], ...] = ()

    @property
    def has_exact(self) -> bool:
        """Whether any exact energy is known."""
        return bool(np.isfinite(self.exact).any())

    def coordinate(self, name: str) -> Float[np.ndarray, " known"]:
        """One coordinate of the points."""
        return self.points[:, self.names.index(name)]

    def at(self, values: Float[np.ndarray, " known"], points: Float[np.ndarray, "rows coordinates"]):
        """The entry of one column (`exact`, `mean_field` ...) at each of the given points, NaN where there is none."""
        if not self.names:
            # Members without coordinates are told apart by their numbers.
            return values if len(values) == len(points) else np.full(len(points), np.nan)
        same = same_points(points, self.points) & np.isfinite(values)
        picked = values[np.argmax(same, axis=1)] if len(values) else np.zeros(len(points))
        return np.where(same.any(axis=1), picked, np.nan)


def add_known_values(dataset: "xarray.Dataset", known: KnownValues | None) -> "xarray.Dataset":
    """The table with reference values along the dimension `known`, from which figures and verdicts read them.

    **Raises:** `ValueError` if they have other coordinates.
    """
    if known is None:
        return dataset
    unit = {"units": str(dataset["energy"].attrs["units"])}
    names = [axis.name for axis in coordinates_of(dataset)]
    if sorted(names) != sorted(known.names):
        raise ValueError(
            f"known values need the coordinates of the table, {', '.join(names) or 'none'}, got "
            f"{', '.join(known.names) or 'none'}"
        )
    columns: dict[str, Any] = {f"known_{name}": ("known", getattr(known, name), unit) for name in _COLUMNS}
    columns |= {f"known_term_{name}": ("known", values, unit) for name, values in known.terms.items()}
    columns |= {f"known_at_{name}": ("known", values) for name, values in zip(known.names, known.points.T, strict=True)}
    if known.boundaries:
        gap = np.full((1, len(known.names)), np.nan)
        joined = np.concatenate([part for line in known.boundaries for part in (line, gap)])
        # In the table's order of coordinates, in which they are read again.
        joined = joined[:, [known.names.index(name) for name in names]]
        columns["known_boundary"] = (("boundary", "coordinate"), joined)
    dataset = dataset.assign(columns)
    dataset.attrs.update(
        known_method=known.method, known_mean_field_method=known.mean_field_method, known_remark=known.remark
    )
    return dataset


def known_values(dataset: "xarray.Dataset") -> KnownValues | None:
    """The reference values that a table carries, None if it carries none."""
    if "known_exact" not in dataset:
        return None
    names = tuple(axis.name for axis in coordinates_of(dataset))
    boundaries = ()
    if "known_boundary" in dataset:
        lines = np.asarray(dataset["known_boundary"].values)
        ends = np.flatnonzero(np.isnan(lines).any(axis=1))
        parts = (part[np.isfinite(part).all(axis=1)] for part in np.split(lines, ends))
        # With one coordinate a boundary is a single place.
        boundaries = tuple(part for part in parts if len(part))
    term = "known_term_"
    return KnownValues(
        names=names,
        points=_columns([dataset[f"known_at_{name}"].values for name in names], dataset.sizes["known"]),
        **{name: dataset[f"known_{name}"].values for name in _COLUMNS},
        terms={str(n).removeprefix(term): dataset[n].values for n in dataset.data_vars if str(n).startswith(term)},
        method=str(dataset.attrs["known_method"]),
        mean_field_method=str(dataset.attrs["known_mean_field_method"]),
        remark=str(dataset.attrs["known_remark"]),
        boundaries=boundaries,
    )


def known_at_rows(dataset: "xarray.Dataset", column: str) -> Float[np.ndarray, " rows"]:
    """A column of the reference values (`exact`, `exact_error`, `upper_bound`, `mean_field`) at the rows of a table."""
    known = known_values(dataset)
    axes = coordinates_of(dataset) or axes_of(dataset)
    rows = _columns([positions_on(dataset, axis) for axis in axes], dataset.sizes[rows_of(dataset)])
    if known is None:
        return np.full(len(rows), np.nan)
    return known.at(getattr(known, column), rows)


def _columns(values: list[Float[np.ndarray, " points"]], count: int) -> Float[np.ndarray, "points coordinates"]:
    """Coordinates of points side by side; a family without coordinates has none."""
    return np.stack(values, axis=1) if values else np.zeros((count, 0))
